// The peers' packages, from where scripts/bench-peers.sh installed them: outside the project's own folders, so that
// nothing of theirs lies beside what is written here.

import { createRequire } from "node:module";
import { join } from "node:path";

const folder = process.env.PEERS_PACKAGES;
if (!folder) throw new Error("PEERS_PACKAGES is not set: run this by scripts/bench-peers.sh");

/** `require`, as a file beside those packages would call it. */
export const require = createRequire(join(folder, "package.json"));

/** The version of an installed package. */
export const version = (name) => require(join(folder, "node_modules", name, "package.json")).version;
