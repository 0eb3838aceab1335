// The run: every subject prices the same carts, one subject at a time, several rounds in turn; then the hot code. Prints a
// table in Markdown. See README.md for what is compared; scripts/bench-peers.sh makes all of it ready and calls this.
//
//     node run.mjs [--seconds 4] [--rounds 3] [--sizes 20,100] [--hot 1000]

import { fork } from "node:child_process";
import os from "node:os";
import { parseArgs } from "node:util";

import { adal } from "./adal.mjs";
import { measure, race } from "./measure.mjs";
import { processor } from "./processor.mjs";
import { machine, prices, uses } from "./report.mjs";
import { check, expected } from "./scenario.mjs";
import { shop } from "./shop.mjs";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "4" },
    rounds: { type: "string", default: "3" },
    sizes: { type: "string", default: "20,100" },
    hot: { type: "string", default: "1000" },
  },
});
const positive = (name) => {
  const value = Number(values[name]);
  if (!Number.isInteger(value) || value < 1 || value > 100_000) fail(2, `--${name}: a whole number from 1 to 100000`);
  return value;
};
const seconds = positive("seconds");
const rounds = positive("rounds");
const hot = positive("hot");
const sizes = values.sizes.split(",").map(Number);
if (!sizes.every((size) => [20, 100].includes(size))) fail(2, "--sizes: 20, 100 or 20,100");

const CLIENTS = [1, 8];
const HOT_CLIENTS = 64;
const children = [];

function fail(code, message) {
  console.error(`error: ${message}`);
  for (const child of children) child.kill("SIGKILL");
  process.exit(code);
}
// Nothing here waits for ever; a peer that hangs must not make the run do so.
setTimeout(() => fail(1, "not done after 40 minutes"), 40 * 60_000).unref();
process.on("SIGTERM", () => fail(143, "stopped"));
process.on("SIGINT", () => fail(130, "stopped"));
process.on("uncaughtException", (error) => fail(1, error.message));

/** A peer in a process of its own; gives a function that asks it. Its errors go to stderr. */
async function start(name) {
  const child = fork(new URL(`./${name}.mjs`, import.meta.url), { stdio: ["ignore", "ignore", 2, "ipc"] });
  children.push(child);
  const open = new Map();
  let next = 0;
  let ready;
  const up = new Promise((resolve) => (ready = resolve));
  child.on("message", ({ id, result, error, ready: isUp }) => {
    if (isUp) return ready();
    const { resolve, reject } = open.get(id);
    open.delete(id);
    if (error) reject(new Error(`${name}: ${error}`));
    else resolve(result);
  });
  child.on("exit", (code) => code !== 0 && fail(1, `${name} ended with ${code}`));
  await up;
  const ask = (call, argument) =>
    new Promise((resolve, reject) => {
      open.set(++next, { resolve, reject });
      child.send({ id: next, call, argument });
    });
  return Object.assign(ask, { pid: child.pid });
}

const here = (subject) => async (how, argument) => {
  subject.rest();
  return measure(how, (client) => subject.price(argument, client));
};
const inside = (ask) => (how, argument) => ask("measure", { how, call: "price", argument });

const vendure = await start("vendure");
const medusa = await start("medusa");
const server = adal(process.env.ADAL_URL, { key: process.env.ADAL_KEY, adminKey: process.env.ADAL_ADMIN_KEY });
await Promise.all([server.load(), vendure("load"), medusa("load")]);
const clients = Math.max(...CLIENTS);
const storefront = shop(`http://127.0.0.1:${process.env.VENDURE_PORT}`, await vendure("variants"), clients);

const own = (pid) => () => processor(Number(pid));
const subjects = [
  {
    name: "Adal: quote over HTTP",
    prepare: server.prepare,
    measure: here(server),
    processor: own(process.env.ADAL_PID),
  },
  {
    name: "Vendure: calculation in process",
    prepare: (of) => vendure("prepare", of),
    measure: inside(vendure),
    processor: own(vendure.pid),
  },
  {
    name: "Vendure: `adjustOrderLine` over HTTP",
    prepare: storefront.prepare,
    measure: here(storefront),
    processor: own(vendure.pid),
  },
  {
    name: "Medusa: `computeActions` in process",
    prepare: (of) => medusa("prepare", of),
    measure: inside(medusa),
    // A query is answered by a process of its own, below PostgreSQL's.
    processor: () => processor(medusa.pid) + processor(Number(process.env.POSTGRES_PID), true),
  },
];

for (const size of sizes) {
  for (const { name, prepare } of subjects) check(name, size, await prepare({ size, clients }));
  const { subtotal, discount } = expected(size);
  say(`${size} lines: all give ${discount} of ${subtotal}, by every offer the same`);
}

const results = new Map();
const load = [os.loadavg()[0]];
for (let round = 0; round <= rounds; round++) {
  for (const size of sizes) {
    for (const subject of subjects) {
      for (const clients of CLIENTS) {
        // The first round warms them all up.
        const how = round === 0 ? { clients, seconds: 1, calls: 1 } : { clients, seconds };
        const before = subject.processor();
        const result = await subject.measure(how, { size });
        if (round === 0) continue;
        result.used = subject.processor() - before;
        const key = `${size} ${clients} ${subject.name}`;
        results.set(key, [...(results.get(key) ?? []), result]);
      }
    }
  }
  load.push(os.loadavg()[0]);
  say(`round ${round} of ${rounds} done, load ${load.at(-1).toFixed(1)}`);
}

// Printed before the hot code, which may take long: what is measured is not lost with it.
const versions = [
  process.env.ADAL_VERSION,
  ...(await vendure("about")),
  ...(await medusa("about")),
  process.env.POSTGRES_VERSION,
  `Node ${process.version}`,
];
console.log(machine({ versions, load, rounds, seconds }));
console.log(prices({ sizes, counts: CLIENTS, names: subjects.map((subject) => subject.name), results }));

server.rest();
const limits = { all: 1_000_000, some: Math.ceil(hot / 2) };
const hotResults = [
  await hotCode(
    "Adal: hold of a cart over HTTP",
    server.limit,
    (code) => race(HOT_CLIENTS, hot, () => server.use({ code })),
  ),
  await hotCode(
    "Medusa: `registerUsage` in process",
    (of) => medusa("limit", of),
    (code) => medusa("race", { clients: HOT_CLIENTS, count: hot, call: "use", argument: { code } }),
    (code) => medusa("used", { code }),
  ),
];
say(`hot code done, load ${os.loadavg()[0].toFixed(1)}`);
const exact = hotResults[0].some.answers.granted === limits.some;

/** First with a limit that is never reached, for the rate; then with half of what is asked for, for the count. */
async function hotCode(name, limit, run, used) {
  await limit({ code: "HOTFORALL", limit: limits.all });
  await limit({ code: "HOTFORSOME", limit: limits.some });
  const all = await run("HOTFORALL");
  const some = await run("HOTFORSOME");
  return { name, all, some, used: await used?.("HOTFORSOME") };
}

console.log(uses({ clients: HOT_CLIENTS, hot, limit: limits.some, hotResults }));
if (!exact) fail(1, `Adal did not grant ${limits.some} uses: ${JSON.stringify(hotResults[0].some.answers)}`);
for (const child of children) child.send({ call: "stop" });

function say(text) {
  console.error(`bench-peers: ${text}`);
}
