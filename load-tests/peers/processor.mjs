// Processor time of other processes, from /proc: what a busy machine changes least.

import { readFileSync, readdirSync } from "node:fs";

// Linux counts in hundredths of a second for everybody who asks, whatever the kernel's own tick is.
const TICKS = 100;

/** Seconds of processor that a process has used; with `family`, also those that its children, which run now, have. */
export function processor(pid, family = false) {
  const own = stat(pid).ticks / TICKS;
  if (!family) return own;
  const children = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && parent(name) === pid);
  return children.reduce((sum, child) => sum + processor(child), own);
}

function parent(pid) {
  try {
    return stat(pid).parent;
  } catch {
    return undefined; // it ended between the list and the look
  }
}

function stat(pid) {
  // The name in brackets may hold anything; the fields after it are numbers.
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
  return { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
}
