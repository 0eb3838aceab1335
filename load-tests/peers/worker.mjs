// A peer in a process of its own, asked by `run.mjs` over the channel between parent and child.
//
// A peer is an object of functions of an argument that can be sent: `about` (the versions), `load` (the offers), `prepare`
// ({size, clients}: makes their carts ready, prices one, and answers what is compared), `price` ({size}, client: prices
// that client's again, and throws where the answer is another), and what else it can. Two more come with this file:
// `measure` and `race` run one of the peer's functions by several clients at once, here, so that no channel is in the
// figure.

import { measure, race } from "./measure.mjs";

/** Serves until it is told to stop or its parent is gone. */
export async function serve(peer) {
  const asked = {
    ...peer,
    measure: ({ how, call, argument }) => measure(how, (client) => peer[call](argument, client)),
    race: ({ clients, count, call, argument }) => race(clients, count, () => peer[call](argument)),
  };
  const stop = async () => {
    await peer.stop?.();
    process.exit(0);
  };
  process.on("disconnect", stop);
  process.on("message", async ({ id, call, argument }) => {
    if (call === "stop") return stop();
    try {
      const result = await asked[call](argument ?? {});
      process.send({ id, result });
    } catch (error) {
      process.send({ id, error: error.stack });
    }
  });
  process.send({ ready: true });
}
