// Makes one call to an MCP server with the official client and prints one JSON object about it.
//
//   node call.mjs URL [--tool NAME [--args JSON]] [--list] [--header NAME=VALUE]... [--era auto|legacy] [--timeout SECONDS]
//
// Without --tool and --list it only connects. Exit status: 0 the call succeeded; 1 the command line is wrong; 3 no
// connection, no answer in time, or refused by an HTTP status; 5 the answer is an error (of the tool or of JSON-RPC).

import { parseArgs } from 'node:util';
import { Client, ProtocolError, SdkHttpError, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const EXIT = { ok: 0, usage: 1, refused: 3, toolError: 5 };

/** Reads the command line; throws with a message for the user. */
function parseCommandLine(argv) {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      tool: { type: 'string' },
      args: { type: 'string', default: '{}' },
      list: { type: 'boolean', default: false },
      header: { type: 'string', multiple: true, default: [] },
      era: { type: 'string', default: 'auto' },
      timeout: { type: 'string', default: '15' },
    },
  });
  if (positionals.length !== 1) throw new Error('name exactly one URL');
  if (!['auto', 'legacy'].includes(values.era)) throw new Error('--era is auto or legacy');
  return {
    url: new URL(positionals[0]),
    tool: values.tool,
    args: JSON.parse(values.args),
    list: values.list,
    headers: Object.fromEntries(values.header.map(splitHeader)),
    era: values.era,
    timeoutMs: Number(values.timeout) * 1000,
  };
}

function splitHeader(header) {
  const at = header.indexOf('=');
  if (at < 1) throw new Error(`--header ${header}: write NAME=VALUE`);
  return [header.slice(0, at), header.slice(at + 1)];
}

/** Connects, makes the call, and gives what is printed; `report` is filled as far as it got. */
async function call(options, report) {
  const client = new Client({ name: 'sallyport-e2e', version: '1.0.0' }, { versionNegotiation: { mode: options.era } });
  const transport = new StreamableHTTPClientTransport(options.url, { requestInit: { headers: options.headers } });
  await client.connect(transport, { timeout: options.timeoutMs });
  report.protocolVersion = client.getNegotiatedProtocolVersion();
  report.sessionId = transport.sessionId;
  report.server = client.getServerVersion();
  if (options.list) {
    const { tools } = await client.listTools(undefined, { timeout: options.timeoutMs });
    report.tools = tools.map((tool) => tool.name);
  }
  if (options.tool) {
    report.result = await client.callTool({ name: options.tool, arguments: options.args }, { timeout: options.timeoutMs });
  }
  await client.close();
}

/** The innermost cause that says something: fetch hides ECONNREFUSED two levels deep. */
function rootCause(error) {
  while (error.cause instanceof Error) error = error.cause;
  return error instanceof AggregateError && error.errors.length > 0 ? error.errors[0] : error;
}

function describe(error) {
  const cause = rootCause(error);
  const description = { name: error.name, message: error.message };
  if (error.code !== undefined) description.code = error.code;
  if (error instanceof SdkHttpError) description.httpStatus = error.status;
  if (cause !== error) description.cause = [cause.code, cause.message].filter(Boolean).join(' ');
  return description;
}

async function main() {
  let options;
  try {
    options = parseCommandLine(process.argv.slice(2));
  } catch (error) {
    console.error(`call.mjs: ${error.message}`);
    return EXIT.usage;
  }
  const started = performance.now();
  const report = { ok: false, url: options.url.href };
  let exit = EXIT.refused;
  try {
    const late = AbortSignal.timeout(options.timeoutMs);
    const lateness = new Promise((_, reject) => {
      late.onabort = () => reject(new Error(`no answer within ${options.timeoutMs} ms`));
    });
    await Promise.race([call(options, report), lateness]);
    report.ok = report.result?.isError !== true;
    exit = report.ok ? EXIT.ok : EXIT.toolError;
  } catch (error) {
    report.error = describe(error);
    if (error instanceof ProtocolError) exit = EXIT.toolError;
  }
  report.elapsedMs = Math.round(performance.now() - started);
  console.log(JSON.stringify(report));
  return exit;
}

process.exit(await main());
