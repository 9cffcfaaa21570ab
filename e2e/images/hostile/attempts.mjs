// The attempts to escape, each a function of its arguments. An attempt resolves with {detail, content?} when it
// succeeded and rejects when it was refused. Nothing here knows of MCP.

import { createHash } from 'node:crypto';
import { Resolver } from 'node:dns/promises';
import { createSocket } from 'node:dgram';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { connect as tlsConnect, rootCertificates } from 'node:tls';
import { siege } from './siege.mjs';

/** No attempt lasts longer, whatever the network does. */
const LIMIT_MS = 15_000;
/** How much of an answer or of a file is reported. */
const REPORTED_BYTES = 4096;

/** What is sent or written where the caller does not care. */
const CANARY = 'sallyport-canary';
/** A folder of the image that anyone may write to, so that only a read-only root file system refuses it. */
const DROP_PATH = '/app/state/dropped';

/** What is sent out: the content of `file` if that is named, else `data`. */
async function payload({ file, data = CANARY }) {
  return file === undefined ? Buffer.from(data) : readFile(file);
}

/** Sends over a raw TCP connection and waits a moment for an answer. */
async function tcp(args, signal) {
  const content = await payload(args);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: args.host, port: args.port, signal });
    let answer = Buffer.alloc(0);
    let sent = false;
    const finish = () => resolve({ detail: `sent ${content.length} bytes, answer: ${printable(answer)}` });
    socket.on('connect', () => socket.end(content, () => {
      sent = true;
      setTimeout(finish, 1000);
    }));
    socket.on('data', (chunk) => { answer = Buffer.concat([answer, chunk]); });
    socket.on('close', () => { if (sent) finish(); });
    socket.on('error', (error) => (sent ? finish() : reject(error)));
  });
}

/**
 * Sends one datagram. Sending alone proves nothing, because a datagram that is dropped on the way looks the same: the
 * attempt succeeds when an answer comes. What a silent receiver got, its own log says.
 */
async function udp(args, signal) {
  const content = await payload(args);
  return new Promise((resolve, reject) => {
    const socket = createSocket({ type: args.host.includes(':') ? 'udp6' : 'udp4', signal });
    socket.on('error', reject);
    socket.on('message', (answer) => {
      resolve({ detail: `sent ${content.length} bytes, answer: ${printable(answer)}` });
      socket.close();
    });
    // Only a connected socket is told of an ICMP refusal.
    socket.connect(args.port, args.host, () => socket.send(content));
  });
}

/** Asks for a name, which can carry data out in its labels. Any answer of a name server counts, a refusal too. */
async function dns({ name, server }) {
  const resolver = new Resolver({ timeout: 5000, tries: 2 });
  if (server !== undefined) resolver.setServers([server]);
  const via = resolver.getServers().join(', ');
  try {
    const addresses = await resolver.resolve4(name);
    return { detail: `${name} is ${addresses.join(', ')}, says ${via}` };
  } catch (error) {
    if (['ENOTFOUND', 'ENODATA', 'ESERVFAIL', 'EREFUSED'].includes(error.code)) {
      return { detail: `the query reached ${via}, which answered ${error.code}` };
    }
    throw error;
  }
}

/** Makes an HTTP request past any proxy setting and without checking certificates. Any status counts. */
async function http({ url, data, file, headers }, signal) {
  const body = data === undefined && file === undefined ? undefined : await payload({ data, file });
  const request = new URL(url).protocol === 'https:' ? httpsRequest : httpRequest;
  const method = body === undefined ? 'GET' : 'POST';
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers, signal, rejectUnauthorized: false, agent: false }, async (response) => {
      try {
        const chunks = await response.toArray();
        const content = Buffer.concat(chunks);
        resolve({ detail: `HTTP ${response.statusCode}: ${printable(content)}`, content: clip(content) });
      } catch (error) {
        reject(error);
      }
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

/** Fetches a page through the proxy that the environment names, as a well-behaved client does. 2xx counts. */
async function proxy({ url }, signal) {
  const { hostname, port } = new URL(process.env.HTTP_PROXY ?? 'http://127.0.0.1:9');
  const headers = { host: new URL(url).host };
  return page((answered) => httpRequest({ host: hostname, port, path: url, headers, signal, agent: false }, answered));
}

/** Sends a request without a body and tells what page comes back; anything but 2xx is a refusal. */
async function page(request) {
  const { status, content } = await new Promise((resolve, reject) => {
    const sent = request(async (response) => {
      try {
        resolve({ status: response.statusCode, content: Buffer.concat(await response.toArray()) });
      } catch (error) {
        reject(error);
      }
    });
    sent.on('error', reject);
    sent.end();
  });
  if (status < 200 || status > 299) throw new Error(`HTTP ${status}: ${printable(content)}`);
  return { detail: `HTTP ${status}: ${printable(content)}`, content: clip(content) };
}

/**
 * Fetches a page over TLS through a tunnel of the proxy that the environment names, or `direct`ly from the host that the
 * name stands for, trusting what the process trusts and the authority `ca`, if given. 2xx counts.
 */
async function tunnel({ url, headers, ca, direct }, signal) {
  const { hostname, port, host } = new URL(url);
  const socket = direct ? undefined : await connectThroughProxy(`${hostname}:${port || 443}`, signal);
  const trusted = ca === undefined ? undefined : [...rootCertificates, ca];
  const agent = new HttpsAgent();
  if (socket !== undefined) agent.createConnection = () => tlsConnect({ socket, servername: hostname, ca: trusted });
  const options = { headers: { host, ...headers }, signal, agent, ca: trusted };
  return page((answered) => httpsRequest(url, options, answered));
}

/** Has the proxy open a tunnel to `target`; resolves with its socket. */
async function connectThroughProxy(target, signal) {
  const { hostname, port } = new URL(process.env.HTTPS_PROXY ?? 'http://127.0.0.1:9');
  return new Promise((resolve, reject) => {
    const headers = { host: target };
    const asked = httpRequest({ host: hostname, port, method: 'CONNECT', path: target, headers, signal, agent: false });
    asked.on('connect', (response, socket) => {
      if (response.statusCode === 200) resolve(socket);
      else reject(new Error(`the proxy answered ${response.statusCode}`));
    });
    asked.on('response', (response) => reject(new Error(`the proxy answered ${response.statusCode}`)));
    asked.on('error', reject);
    asked.end();
  });
}

async function writeRoot({ path, data = CANARY }) {
  await writeFile(path, data);
  return { detail: `wrote ${data.length} bytes to ${path}` };
}

async function readFileAttempt({ path }) {
  const content = await readFile(path);
  const hash = createHash('sha256').update(content).digest('hex');
  return { detail: `read ${content.length} bytes of ${path}, SHA-256 ${hash.slice(0, 12)}`, content: clip(content) };
}

async function listDir({ path }) {
  const names = await readdir(path);
  return { detail: `${path} holds ${names.length} entries`, content: names };
}

async function env() {
  return { detail: `${Object.keys(process.env).length} variables`, content: process.env };
}

/** Reports the identity and the confinement that the kernel sees. */
async function whoami() {
  const status = await readFile('/proc/self/status', 'utf8');
  const field = (name) => status.match(new RegExp(`^${name}:\\s*(.*)$`, 'm'))?.[1].trim();
  const content = {
    uid: process.getuid(),
    gid: process.getgid(),
    groups: process.getgroups(),
    capabilities: Object.fromEntries(['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map((name) => [name, field(name)])),
    seccomp: Number(field('Seccomp')),
    noNewPrivs: Number(field('NoNewPrivs')),
    uidMap: (await readFile('/proc/self/uid_map', 'utf8')).trim().replace(/\s+/g, ' '),
    hostname: (await readFile('/proc/sys/kernel/hostname', 'utf8')).trim(),
  };
  const { uid, gid, capabilities, seccomp, noNewPrivs } = content;
  return { detail: `uid ${uid}, gid ${gid}, effective capabilities ${capabilities.CapEff}, seccomp ${seccomp}, no_new_privs ${noNewPrivs}`, content };
}

/** Tells how it goes with the ports of others: succeeds when one was taken. */
async function takePorts() {
  const { refused, taken } = siege;
  if (taken.length === 0) throw new Error(`EADDRINUSE ${refused} times`);
  return { detail: `took ${taken.join(', ')}` };
}

/** Every attempt by name. */
export const ATTEMPTS = {
  tcp, udp, dns, http, proxy, tunnel, write_root: writeRoot, read_file: readFileAttempt, list_dir: listDir, env, whoami, take_ports: takePorts,
};

/** Makes one attempt and tells how it went; never rejects, and takes no longer than LIMIT_MS. */
export async function attempt(name, given) {
  const args = name === 'write_root' ? { path: DROP_PATH, ...given } : given;
  const started = performance.now();
  const report = { attempt: name, target: target(args), succeeded: false, detail: '' };
  const abort = new AbortController();
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`ETIMEDOUT no answer within ${LIMIT_MS} ms`)), LIMIT_MS);
  });
  try {
    Object.assign(report, await Promise.race([ATTEMPTS[name](args, abort.signal), limit]), { succeeded: true });
  } catch (error) {
    report.detail = reason(error);
  }
  clearTimeout(timer);
  abort.abort();
  report.elapsedMs = Math.round(performance.now() - started);
  return report;
}

/** What was aimed at, in short. */
function target({ host, port, name, server, url, path }) {
  if (host !== undefined) return `${host}:${port}`;
  if (name !== undefined) return server === undefined ? name : `${name} by ${server}`;
  return url ?? path ?? '';
}

/** The error's code first, so that ECONNREFUSED and EROFS can be read without knowing the rest. */
function reason(error) {
  const inner = error instanceof AggregateError ? error.errors[0] : error;
  if (inner.code === undefined || inner.message.startsWith(inner.code)) return inner.message;
  return `${inner.code} ${inner.message}`;
}

function clip(content) {
  return content.subarray(0, REPORTED_BYTES).toString('utf8');
}

function printable(content) {
  const text = content.subarray(0, 120).toString('latin1').replace(/[^\x21-\x7e]+/g, ' ').trim();
  return text === '' ? 'none' : text;
}
