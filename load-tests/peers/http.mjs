// The client of those who are asked over HTTP: kept connections, one request at a time on each, the body as text.

import http from "node:http";

/**
 * A function that posts `body` to a path of `base` and gives status, headers and text. `post.rest()` ends what is idle:
 * a server ends connections that were idle for seconds, and a request sent at that moment would be lost.
 */
export function poster(base, connections) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  const post = (path, headers, body) =>
    new Promise((resolve, reject) => {
      const options = {
        method: "POST",
        agent,
        timeout: 300_000,
        headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body), ...headers },
      };
      const request = http.request(base + path, options, (answer) => {
        const parts = [];
        answer.on("data", (part) => parts.push(part));
        answer.on("error", reject);
        answer.on("end", () =>
          resolve({ status: answer.statusCode, headers: answer.headers, text: Buffer.concat(parts).toString() }),
        );
      });
      request.on("timeout", () => request.destroy(new Error(`no answer from ${path} within five minutes`)));
      request.on("error", reject);
      request.end(body);
    });
  post.rest = () => agent.destroy();
  return post;
}

/** The parsed body of an answer, or an error that says what came instead. */
export function parsed(what, { status, text }) {
  if (status < 200 || status > 299) throw new Error(`${what}: ${status} ${text.slice(0, 500)}`);
  return JSON.parse(text);
}
