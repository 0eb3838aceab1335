// A storefront at Vendure's Shop API: carts of guests, one for each client, whose line is adjusted again and again.

import { parsed, poster } from "./http.mjs";
import { cart, codes } from "./scenario.mjs";

// What a cart's page shows: the totals, what was given, and each line with what it costs now.
const ORDER = `... on Order { id subTotal total discounts { description amount }
  lines { id quantity linePrice discountedLinePrice } }
  ... on ErrorResult { errorCode message }`;
const ADD = `mutation Add($inputs: [AddItemInput!]!) { added: addItemsToOrder(inputs: $inputs) {
  order { id } errorResults { ... on ErrorResult { errorCode message } } } }`;
const CODE = `mutation Code($code: String!) { order: applyCouponCode(couponCode: $code) { ${ORDER} } }`;
const ADJUST = `mutation Adjust($id: ID!, $quantity: Int!) {
  order: adjustOrderLine(orderLineId: $id, quantity: $quantity) { ${ORDER} } }`;

const answerOf = (order) => {
  const given = {};
  for (const { description, amount } of order.discounts) given[description] = (given[description] ?? 0) - amount;
  const subtotal = order.lines.reduce((sum, line) => sum + line.linePrice, 0);
  return { subtotal, discount: subtotal - order.subTotal, total: order.total, given };
};

/** The Shop API at `base`; `variants` says the id of each product. */
export function shop(base, variants, clients) {
  const post = poster(base, clients);
  const carts = new Map();
  const ask = async (token, query, variables) => {
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    const answer = await post("/shop-api", headers, JSON.stringify({ query, variables }));
    const { data, errors } = parsed("shop-api", answer);
    if (errors || data.added?.errorResults.length || data.order?.errorCode) throw new Error(`shop-api: ${answer.text}`);
    return { order: data.order, token: answer.headers["vendure-auth-token"] ?? token };
  };
  const fill = async (size) => {
    const inputs = cart(size).map(({ sku, quantity }) => ({ productVariantId: variants[sku], quantity }));
    const { token } = await ask(undefined, ADD, { inputs });
    let order;
    for (const code of codes) ({ order } = await ask(token, CODE, { code }));
    // The last line is given the quantity that it has: nothing changes but that all is priced again.
    const { id, quantity } = order.lines.at(-1);
    const text = JSON.stringify({ query: ADJUST, variables: { id, quantity } });
    return { token, order, text, total: `"total":${order.total},` };
  };
  return {
    rest: post.rest,

    async prepare({ size }) {
      post.rest();
      carts.set(size, []);
      for (let client = 0; client < clients; client++) carts.get(size).push(await fill(size));
      return answerOf(carts.get(size)[0].order);
    },

    async price({ size }, client) {
      const { token, text, total } = carts.get(size)[client];
      const answer = await post("/shop-api", { authorization: `Bearer ${token}` }, text);
      if (answer.status !== 200 || !answer.text.includes(total)) throw new Error(`not that order: ${answer.text}`);
    },
  };
}
