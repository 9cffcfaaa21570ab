// A client under test for the `client` scenarios of the conformance suite: the official TypeScript client, told by the
// suite's environment what to do.
//
//   node client.mjs URL
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const url = new URL(process.argv[2]);
const scenario = process.env.MCP_CONFORMANCE_SCENARIO;
const modern = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION >= '2026-07-28';
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');

const capabilities = { elicitation: { form: { applyDefaults: true } }, sampling: {}, roots: {} };
const client = new Client(
  { name: 'sallyport-conformance', version: '1.0.0' },
  { capabilities, versionNegotiation: { mode: modern ? 'auto' : 'legacy' } },
);
client.setRequestHandler('elicitation/create', async () => ({
  action: 'accept',
  content: scenario.startsWith('sep-2322') ? { confirmed: true } : {},
}));
client.setRequestHandler('sampling/createMessage', async () => {
  throw new Error('there is no model here');
});
client.setRequestHandler('roots/list', async () => ({ roots: [] }));

/** Arguments that fit any schema of the scenarios: required members only, numbers and words. */
function argumentsFor(tool) {
  const given = (context.toolCalls ?? []).find((call) => call.name === tool.name);
  if (given) return given.arguments;
  if (scenario === 'json-schema-2020-12-preservation') return {};
  const sample = { string: 'text', number: 1, integer: 1, boolean: true };
  const properties = Object.entries(tool.inputSchema.properties ?? {});
  return Object.fromEntries(properties.map(([name, schema]) => [name, sample[schema.type] ?? null]));
}

async function callTools() {
  const { tools } = await client.listTools();
  if (scenario === 'json-schema-ref-no-deref') return;
  if (scenario === 'json-schema-2020-12-preservation') {
    const focal = tools.find((tool) => tool.name === 'json_schema_2020_12_tool') ?? tools[0];
    const echo = tools.find((tool) => tool.name !== focal.name);
    await client.callTool({ name: echo.name, arguments: { schema: focal.inputSchema } });
    return;
  }
  for (const tool of tools) {
    const calls = (context.toolCalls ?? []).filter((call) => call.name === tool.name);
    for (const { arguments: given } of calls.length ? calls : [{ arguments: argumentsFor(tool) }]) {
      // This scenario's last tool answers without resultType; this client rightly takes it for no result.
      const strict = tool.name === 'test_mrtr_no_result_type';
      await client.callTool({ name: tool.name, arguments: given }).catch((error) => {
        if (!strict || error.code !== 'INVALID_RESULT') throw error;
      });
    }
  }
}

async function readAll() {
  const { resources } = await client.listResources();
  for (const { uri } of resources) await client.readResource({ uri });
  const { prompts } = await client.listPrompts();
  for (const { name } of prompts) await client.getPrompt({ name });
}

await client.connect(new StreamableHTTPClientTransport(url));
if (scenario !== 'initialize') await callTools();
if (scenario === 'http-standard-headers') await readAll();
await client.close();
