// What the TypeScript programs share: the command line, and the one line that each prints.
//
//   node PROGRAM URL --tool NAME [--args JSON] [--key KEY] [--era legacy|modern] [--answer accept|decline]
//
// Without --answer the client does not say that it can ask anybody.
import { parseArgs } from 'node:util';

/** Runs `call(options)` and prints what became of it, as one JSON object. */
export async function run(call) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      tool: { type: 'string' },
      args: { type: 'string', default: '{}' },
      key: { type: 'string' },
      era: { type: 'string', default: 'legacy' },
      answer: { type: 'string' },
    },
  });
  const options = {
    ...values,
    url: new URL(positionals[0]),
    args: JSON.parse(values.args),
    headers: values.key ? { Authorization: `Bearer ${values.key}` } : {},
    asked: [],
  };
  const report = { asked: options.asked };
  try {
    Object.assign(report, await call(options));
  } catch (error) {
    report.error = describe(error);
  }
  console.log(JSON.stringify(report));
  process.exit(0);
}

/** Answers a question of the server's as the command line says: everything ticked, or nothing. */
export function answerTo(options, params) {
  options.asked.push(params.message);
  if (options.answer !== 'accept') return { action: options.answer };
  const fields = Object.entries(params.requestedSchema.properties);
  return {
    action: 'accept',
    content: Object.fromEntries(fields.map(([name, schema]) => [name, schema.type === 'boolean' ? true : 'text'])),
  };
}

/** What a result says. */
export function describeResult(result) {
  const text = (result.content ?? []).filter((part) => part.type === 'text').map((part) => part.text).join('\n');
  return { isError: result.isError === true, text };
}

function describe(error) {
  return {
    class: error.constructor.name,
    code: error.code ?? null,
    status: error.status ?? error.statusCode ?? (typeof error.code === 'number' && error.code > 0 ? error.code : null),
    message: String(error.message),
    scope: error.requiredScope ?? error.scope ?? error.data?.requiredScope ?? null,
  };
}
