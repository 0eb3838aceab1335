// Latencies of something done by several clients at once.

// So many times at least, so that a p99 of what takes a second is not that of three calls; but for so many times as long
// as was asked at most.
const CALLS = 40;
const LONGER = 15;

/** Runs `act(client)` in a loop per client for so many seconds, and `calls` times at least. What fails ends it all. */
export async function measure({ clients, seconds, calls = CALLS }, act) {
  const took = [];
  const from = now();
  const goesOn = () => {
    const gone = now() - from;
    return gone < seconds || (took.length < calls && gone < seconds * LONGER);
  };
  await each(clients, async (client) => {
    while (goesOn()) took.push(await timed(() => act(client)));
  });
  return { took, seconds: now() - from };
}

/** Hands `count` calls out to so many clients. Whatever `act` answers is counted. */
export async function race(clients, count, act) {
  const took = [];
  const answers = {};
  const from = now();
  let next = 0;
  await each(clients, async () => {
    while (next < count) {
      next += 1;
      let answer;
      took.push(await timed(async () => (answer = await act())));
      answers[answer] = (answers[answer] ?? 0) + 1;
    }
  });
  return { took, seconds: now() - from, answers };
}

/**
 * Several measurements of one thing as one: p50 and p99 in milliseconds of all its calls, the rate, and the seconds of
 * processor `used` by a call where the parts say what they used.
 */
export function summary(parts) {
  const took = parts.flatMap((part) => part.took).sort((a, b) => a - b);
  const seconds = parts.reduce((sum, part) => sum + part.seconds, 0);
  const used = parts.reduce((sum, part) => sum + part.used, 0);
  const at = (share) => took[Math.ceil(took.length * share) - 1];
  return { calls: took.length, rate: took.length / seconds, p50: at(0.5), p99: at(0.99), used: used / took.length };
}

const now = () => performance.now() / 1e3;

const each = (clients, run) => Promise.all(Array.from({ length: clients }, (_, client) => run(client)));

async function timed(act) {
  const from = performance.now();
  await act();
  return performance.now() - from;
}
