// One call by the official TypeScript SDK, first generation: the legacy era.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { answerTo, describeResult, run } from './client.mjs';

await run(async (options) => {
  const capabilities = options.answer ? { elicitation: {} } : {};
  const client = new Client({ name: 'typescript1', version: '1.0.0' }, { capabilities });
  if (options.answer) client.setRequestHandler(ElicitRequestSchema, async ({ params }) => answerTo(options, params));
  const transport = new StreamableHTTPClientTransport(options.url, { requestInit: { headers: options.headers } });
  await client.connect(transport);
  const tools = (await client.listTools()).tools.map((tool) => tool.name);
  const result = await client.callTool({ name: options.tool, arguments: options.args });
  return { protocol: transport.protocolVersion, tools, ...describeResult(result) };
});
