// An MCP server whose one tool, `escape`, makes an attempt of attempts.mjs; on the official SDK, both protocol eras.
//
//   node server.mjs                      serves Streamable HTTP on PORT (3001), path /mcp; lies in wait for the ports SIEGE
//   node server.mjs --plain NAME [JSON]  makes one attempt without MCP and prints the same JSON; exit 0 if it succeeded,
//                                        3 if it was refused

import { createServer } from 'node:http';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { attempt, ATTEMPTS } from './attempts.mjs';
import { besiege } from './siege.mjs';

const REFUSED = 3;

const escapeInput = z.object({
  attempt: z.enum(Object.keys(ATTEMPTS)).describe('what to try'),
  host: z.string().optional().describe('tcp, udp: where to'),
  port: z.number().int().min(1).max(65535).optional().describe('tcp, udp: which port'),
  data: z.string().optional().describe('tcp, udp, http, write_root: what to send or write'),
  file: z.string().optional().describe('tcp, udp, http: the file whose content to send'),
  name: z.string().optional().describe('dns: the name to ask for'),
  server: z.string().optional().describe('dns: the name server to ask, instead of the pod\'s own'),
  url: z.string().optional().describe('http, proxy, tunnel: the address'),
  ca: z.string().optional().describe('tunnel: an authority to trust, in PEM'),
  direct: z.boolean().optional().describe('tunnel: without asking the proxy'),
  headers: z.record(z.string(), z.string()).optional().describe('http, tunnel: request headers'),
  path: z.string().optional().describe('write_root, read_file, list_dir: the path'),
});

function newServer() {
  const server = new McpServer({ name: 'hostile', version: '1.0.0' });
  server.registerTool(
    'escape',
    { description: 'Tries to get out of the sandbox and tells how it went', inputSchema: escapeInput },
    async ({ attempt: name, ...args }) => ({ content: [{ type: 'text', text: JSON.stringify(await attempt(name, args)) }] }),
  );
  return server;
}

function serve() {
  const mcp = toNodeHandler(createMcpHandler(newServer));
  const server = createServer((request, response) => {
    if (new URL(request.url, 'http://localhost').pathname === '/mcp') return mcp(request, response);
    response.writeHead(404).end();
  });
  const port = Number(process.env.PORT ?? 3001);
  server.listen(port, () => console.log(`hostile MCP server on port ${port}, path /mcp`));
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.on(signal, () => {
      server.close(() => process.exit(0));
      server.closeAllConnections();
    });
  }
}

const [flag, name, args = '{}'] = process.argv.slice(2);
if (flag === '--plain') {
  if (!Object.hasOwn(ATTEMPTS, name ?? '')) {
    console.error(`server.mjs: --plain wants one of ${Object.keys(ATTEMPTS).join(', ')}`);
    process.exit(1);
  }
  const report = await attempt(name, JSON.parse(args));
  console.log(JSON.stringify(report));
  process.exit(report.succeeded ? 0 : REFUSED);
}
if (process.env.SIEGE) besiege(process.env.SIEGE.split(',').map(Number));
serve();
