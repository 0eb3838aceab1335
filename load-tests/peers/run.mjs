// The run: every subject prices the same carts, one subject at a time, several rounds in turn; then the hot code. Prints
// a table in Markdown. See README.md for what is compared; scripts/bench-peers.sh makes all of it ready and calls this.
//
//     node run.mjs [--seconds 4] [--rounds 3] [--sizes 20,100] [--hot 1000]

import { fork } from "node:child_process";
import os from "node:os";
import { parseArgs } from "node:util";

import { adal } from "./adal.mjs";
import { measure, race, summary } from "./measure.mjs";
import { check, expected, offers } from "./scenario.mjs";
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
  return (call, argument) =>
    new Promise((resolve, reject) => {
      open.set(++next, { resolve, reject });
      child.send({ id: next, call, argument });
    });
}

const here = (subject) => async (clients, argument) => {
  subject.rest();
  return measure(clients, seconds, (client) => subject.price(argument, client));
};
const inside = (ask) => (clients, argument) => ask("measure", { clients, seconds, call: "price", argument });

const vendure = await start("vendure");
const medusa = await start("medusa");
const server = adal(process.env.ADAL_URL, { key: process.env.ADAL_KEY, adminKey: process.env.ADAL_ADMIN_KEY });
for (const load of [server.load(), vendure("load"), medusa("load")]) await load;
const storefront = shop(`http://127.0.0.1:${process.env.VENDURE_PORT}`, await vendure("variants"), Math.max(...CLIENTS));

const subjects = [
  { name: "Adal: quote over HTTP", prepare: server.prepare, measure: here(server) },
  { name: "Vendure: calculation in process", prepare: (of) => vendure("prepare", of), measure: inside(vendure) },
  { name: "Vendure: `adjustOrderLine` over HTTP", prepare: storefront.prepare, measure: here(storefront) },
  { name: "Medusa: `computeActions` in process", prepare: (of) => medusa("prepare", of), measure: inside(medusa) },
];

for (const size of sizes) {
  for (const { name, prepare } of subjects) check(name, size, await prepare({ size, clients: Math.max(...CLIENTS) }));
  const { subtotal, discount } = expected(size);
  say(`${size} lines: all give ${discount} of ${subtotal}, by every offer the same`);
}

const results = new Map();
const load = [os.loadavg()[0]];
for (let round = 0; round <= rounds; round++) {
  for (const size of sizes) {
    for (const subject of subjects) {
      for (const clients of CLIENTS) {
        const result = await subject.measure(clients, { size });
        // The first round warms them all up.
        if (round === 0) continue;
        const key = `${size} ${clients} ${subject.name}`;
        results.set(key, [...(results.get(key) ?? []), result]);
      }
    }
  }
  load.push(os.loadavg()[0]);
  say(`round ${round} of ${rounds} done, load ${load.at(-1).toFixed(1)}`);
}

server.rest();
const hotResults = [];
const lots = { code: "HOTFORALL", limit: 1_000_000 };
const few = { code: "HOTFORSOME", limit: Math.ceil(hot / 2) };
hotResults.push(
  await hotCode(
    "Adal: hold of a cart over HTTP",
    server.limit,
    (code) => race(HOT_CLIENTS, hot, () => server.use({ code })),
    null,
  ),
  await hotCode(
    "Medusa: `registerUsage` in process",
    (of) => medusa("limit", of),
    (code) => medusa("race", { clients: HOT_CLIENTS, count: hot, call: "use", argument: { code } }),
    (code) => medusa("used", { code }),
  ),
);
load.push(os.loadavg()[0]);

async function hotCode(name, limit, run, used) {
  await limit(lots);
  await limit(few);
  const all = await run(lots.code);
  const some = await run(few.code);
  return { name, all, some, used: used && (await used(few.code)) };
}

const versions = [
  process.env.ADAL_VERSION,
  ...(await vendure("about")),
  ...(await medusa("about")),
  process.env.POSTGRES_VERSION,
  `Node ${process.version}`,
];
console.log(`
${versions.join("; ")}.
${os.cpus().length} cores (${os.cpus()[0].model.trim()}), ${Math.round(os.totalmem() / 2 ** 30)} GB; load average ${load.map((one) => one.toFixed(1)).join(", ")}.
${offers.length} offers, ${offers.filter((offer) => offer.code).length} of them with a code; 10 apply. ${rounds} rounds of ${seconds} s or more.

| lines | subject | p50, 1 client | p99 | per second (calls) | p50, 8 clients | p99 | per second (calls) |
|---|---|---|---|---|---|---|---|`);
for (const size of sizes) {
  for (const { name } of subjects) {
    const cells = CLIENTS.flatMap((clients) => {
      const result = summary(results.get(`${size} ${clients} ${name}`));
      return [ms(result.p50), ms(result.p99), `${rate(result.rate)} (${result.calls.toLocaleString("en")})`];
    });
    console.log(`| ${[size, name, ...cells].join(" | ")} |`);
  }
}
console.log(`
| one code, ${HOT_CLIENTS} clients | uses per second | p50 | p99 | ${hot} tries at a limit of ${few.limit} |
|---|---|---|---|---|`);
for (const { name, all, some, used } of hotResults) {
  const { rate: perSecond, p50, p99 } = summary([all]);
  // Only where all were granted is the rate one of uses.
  const uses = all.answers.granted === hot ? rate(perSecond) : JSON.stringify(all.answers);
  const end = `${JSON.stringify(some.answers)}${used === null ? "" : `, counted ${used}`}`;
  console.log(`| ${[name, uses, ms(p50), ms(p99), end].join(" | ")} |`);
}
for (const child of children) child.send({ call: "stop" });

function ms(value) {
  return `${value >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3)} ms`;
}

function rate(value) {
  return value >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
}

function say(text) {
  console.error(`bench-peers: ${text}`);
}
