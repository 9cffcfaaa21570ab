-- Health of an McpEndpoint. The conditions follow kstatus: Reconciling and Stalled are absent when false.
local health = {status = "Progressing", message = "Waiting for the operator"}
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions or {}) do
  if condition.status == "True" or condition.type == "Ready" then
    conditions[condition.type] = condition
  end
end

if conditions.Reconciling ~= nil then
  health.message = conditions.Reconciling.message
elseif conditions.Stalled ~= nil then
  health = {status = "Degraded", message = conditions.Stalled.message}
elseif conditions.Ready ~= nil then
  if conditions.Ready.status == "True" then
    health.status = "Healthy"
  end
  health.message = conditions.Ready.message
end
return health
