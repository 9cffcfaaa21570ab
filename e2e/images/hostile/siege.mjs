// Waits for the ports that the environment variable SIEGE names, such as 15080,15090, to be free for a moment, takes them,
// and answers in place of whoever had them.

import { createServer } from 'node:http';

/** Pause between two attempts at a port. */
const PAUSE_MS = 5;

/** What came of it: attempts that were refused, and ports that were taken. */
export const siege = { refused: 0, taken: [] };

export function besiege(ports) {
  for (const port of ports) tryFor(port);
}

function tryFor(port) {
  const impostor = createServer((_, response) => response.end('an impostor\n'));
  impostor.on('error', () => {
    siege.refused += 1;
    setTimeout(() => tryFor(port), PAUSE_MS);
  });
  impostor.listen(port, () => {
    siege.taken.push(port);
    console.log(`took port ${port} after ${siege.refused} attempts`);
  });
}
