// One call by the official TypeScript client, second generation: both eras.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { answerTo, describeResult, run } from './client.mjs';

await run(async (options) => {
  const capabilities = options.answer ? { elicitation: { form: {} } } : {};
  const client = new Client(
    { name: 'typescript2', version: '1.0.0' },
    { capabilities, versionNegotiation: { mode: options.era === 'modern' ? 'auto' : 'legacy' } },
  );
  if (options.answer) client.setRequestHandler('elicitation/create', async ({ params }) => answerTo(options, params));
  await client.connect(new StreamableHTTPClientTransport(options.url, { requestInit: { headers: options.headers } }));
  const protocol = client.getNegotiatedProtocolVersion();
  const tools = (await client.listTools()).tools.map((tool) => tool.name);
  const result = await client.callTool({ name: options.tool, arguments: options.args });
  return { protocol, tools, ...describeResult(result) };
});
