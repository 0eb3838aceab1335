// Adal, over HTTP: a running server, asked as a shop's backend asks it.

import { randomUUID } from "node:crypto";

import { parsed, poster } from "./http.mjs";
import { cart, codes, offers } from "./scenario.mjs";

const CLIENTS = 64;

function document({ id, give, code, minimum }) {
  const skus = (list) => ({ include: [{ skus: list }] });
  const rules = {};
  if (give.percentOfLines) {
    const selector = give.category ? { include: [{ categories: [give.category] }] } : skus(give.skus);
    const discount = { type: "percent", permyriad: give.percentOfLines * 100 };
    Object.assign(rules, { discount, target: "lines", selector, stacking: { priority: 2 } });
  } else if (give.free) {
    const discount = { type: "buy_x_get_y", buy: give.buy, get: give.free, max_times: 1 };
    Object.assign(rules, { discount, selector: skus([give.sku]), stacking: { priority: 2 } });
  } else if (give.percentOfOrder) {
    const discount = { type: "percent", permyriad: give.percentOfOrder * 100 };
    Object.assign(rules, { discount, stacking: { priority: 1 } });
  } else {
    Object.assign(rules, { discount: { type: "amount", minor: give.amountOfOrder } });
  }
  if (minimum) rules.conditions = { min_subtotal_minor: minimum, selector: {} };
  if (code) rules.codes = [code];
  return { action: "put", kind: code ? "promo" : "campaign", id, document: { name: id, ...rules } };
}

const body = (lines, typed) =>
  JSON.stringify({
    shop_id: "s1",
    channel: "web",
    codes: typed,
    lines: lines.map(({ id, sku, category, quantity, unitPrice }) => ({
      line_id: id,
      sku,
      category,
      quantity,
      unit: "piece",
      unit_price_minor: unitPrice,
    })),
  });

const answerOf = (quote) => ({
  subtotal: quote.subtotal_minor,
  discount: quote.discount_minor,
  total: quote.total_minor,
  given: Object.fromEntries(quote.applied.map((one) => [one.offer_id, one.discount_minor])),
});

/** The server at `base`, by two of its keys. */
export function adal(base, { key, adminKey }) {
  const post = poster(base, CLIENTS);
  const authorization = { authorization: `Bearer ${key}` };
  const quotes = new Map();
  const put = async (changes) => {
    const headers = { authorization: `Bearer ${adminKey}`, "idempotency-key": randomUUID() };
    parsed("catalogue", await post("/v1/catalogue/changes", headers, JSON.stringify({ changes })));
  };
  return {
    rest: post.rest,

    load: () => put(offers.map(document)),

    async prepare({ size }) {
      post.rest();
      const text = body(cart(size), codes);
      const answer = answerOf(parsed("quote", await post("/v1/checkout/quotes", authorization, text)));
      quotes.set(size, { text, total: `"total_minor":${answer.total},` });
      return answer;
    },

    async price({ size }) {
      const { text, total } = quotes.get(size);
      const answer = await post("/v1/checkout/quotes", authorization, text);
      if (answer.status !== 200 || !answer.text.includes(total)) throw new Error(`not that quote: ${answer.text}`);
    },

    limit({ code, limit }) {
      const change = document({ id: code.toLowerCase(), give: { percentOfOrder: 5 }, code });
      change.document.limits = { total: limit };
      return put([change]);
    },

    /** One hold of a guest's cart with the code: a use is reserved, durably, or refused. */
    async use({ code }) {
      const headers = { ...authorization, "idempotency-key": randomUUID() };
      const { status, text } = await post("/v1/checkout/holds", headers, body(cart(1), [code]));
      const answer = JSON.parse(text);
      if (status === 201 && answer.applied.some((one) => one.code === code)) return "granted";
      if (answer.code === "promo_not_applicable" && answer.detail.includes("limits.total")) return "refused: limit";
      return `failed: ${status} ${answer.code}`;
    },
  };
}
