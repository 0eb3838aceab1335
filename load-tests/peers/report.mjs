// What a run prints: Markdown, as it stands in docs/reference/benchmarks.md.

import os from "node:os";

import { summary } from "./measure.mjs";
import { offers } from "./scenario.mjs";

/** What was measured, on what, and how busy that was. */
export function machine({ versions, load, rounds, seconds }) {
  const cores = os.cpus();
  const memory = Math.round(os.totalmem() / 2 ** 30);
  const coded = offers.filter((offer) => offer.code).length;
  return [
    "",
    `${versions.join("; ")}.`,
    `${cores.length} cores (${cores[0].model.trim()}), ${memory} GB; load average ${load.map((one) => one.toFixed(1)).join(", ")}.`,
    `${offers.length} offers, ${coded} of them with a code; 10 apply. ${rounds} rounds of ${seconds} s or more.`,
    "",
  ].join("\n");
}

/** A row for each cart and subject. `results` has a subject's measurements by size, clients and name. */
export function prices({ sizes, counts, names, results }) {
  const head = ["lines", "subject", "processor a call"];
  for (const clients of counts) {
    head.push(`p50, ${clients} client${clients > 1 ? "s" : ""}`, "p99", "per second (calls)");
  }
  const rows = sizes.flatMap((size) =>
    names.map((name) => {
      const of = (clients) => results.get(`${size} ${clients} ${name}`);
      const cells = counts.flatMap((clients) => {
        const { p50, p99, rate, calls } = summary(of(clients));
        return [ms(p50), ms(p99), `${number(rate)} (${calls.toLocaleString("en")})`];
      });
      return [size, name, ms(summary(counts.flatMap(of)).used * 1e3), ...cells];
    }),
  );
  return table(head, rows);
}

/** A row for each who counted uses of the hot code. */
export function uses({ clients, hot, limit, hotResults }) {
  const head = [`one code, ${clients} clients`, "uses per second", "p50", "p99", `${hot} tries at a limit of ${limit}`];
  const rows = hotResults.map(({ name, all, some, used }) => {
    const { rate, p50, p99 } = summary([all]);
    // Only where all were granted is the rate one of uses.
    const perSecond = all.answers.granted === hot ? number(rate) : answers(all);
    return [name, perSecond, ms(p50), ms(p99), answers(some) + (used === undefined ? "" : `; counted ${used}`)];
  });
  return table(head, rows);
}

const answers = (run) =>
  Object.entries(run.answers)
    .map(([answer, count]) => `${count} ${answer}`)
    .join(", ");

const row = (cells) => `| ${cells.join(" | ")} |`;

const table = (head, rows) =>
  [row(head), `|${"---|".repeat(head.length)}`, ...rows.map(row)].join("\n") + "\n";

const ms = (value) => `${number(value)} ms`;

const number = (value) => (value >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3));
