// Medusa's promotion module, in this process, with PostgreSQL behind it. See `worker.mjs` for what it is asked.
//
// A cart is priced by `computeActions`, which Medusa's own cart workflows call with the same shape of context; it
// answers the adjustments of each line. Nothing of Medusa stands above it here: no HTTP, no workflow, no saved cart.

import { require, version } from "./packages.mjs";
import { cart, codes, offers } from "./scenario.mjs";
import { serve } from "./worker.mjs";

const { MedusaApp } = require("@medusajs/framework/modules-sdk");
const { ContainerRegistrationKeys, Modules } = require("@medusajs/framework/utils");

// A small pool: of 4, 10 and 64 connections, 4 gave the highest rates on 2 cores (more wait for each other's row lock).
const database = {
  clientUrl: process.env.POSTGRES_URL,
  driverOptions: { connection: { ssl: false } },
  pool: { min: 2, max: 4 },
};
const quiet = () => {};
const logger = {
  panic: console.error,
  error: console.error,
  warn: console.error,
  info: quiet,
  debug: quiet,
  log: quiet,
  progress: quiet,
  success: quiet,
  failure: quiet,
  activity: quiet,
  shouldLog: () => false,
  setLogLevel: quiet,
  unsetLogLevel: quiet,
};

// One module alone has nothing to link to.
const nothing = async () => undefined;

const app = await MedusaApp({
  modulesConfig: {
    promotion: { resolve: require.resolve("@medusajs/promotion"), options: { database } },
    [Modules.LINK]: { initialize: nothing, getMigrationPlanner: nothing },
  },
  sharedResourcesConfig: { database },
  injectedDependencies: { [ContainerRegistrationKeys.LOGGER]: logger },
});
await app.runMigrations();
await app.onApplicationStart();
const promotions = app.modules.promotion;

// Amounts are in the currency's own unit here, the scenario's in its hundredths.
const units = (minor) => minor / 100;
const minor = (amount) => Math.round(Number(amount) * 100);
const rule = (attribute, ...values) => ({ attribute, operator: "in", values });

function method(give) {
  if (give.percentOfOrder) return { type: "percentage", target_type: "order", value: give.percentOfOrder };
  if (give.amountOfOrder) {
    return { type: "fixed", target_type: "order", value: units(give.amountOfOrder), currency_code: "eur" };
  }
  if (give.free) {
    return {
      type: "percentage",
      target_type: "items",
      allocation: "each",
      value: 100,
      buy_rules_min_quantity: give.buy,
      buy_rules: [rule("items.sku", give.sku)],
      apply_to_quantity: give.free,
      max_quantity: give.free,
      target_rules: [rule("items.sku", give.sku)],
    };
  }
  const target = give.category ? rule("items.category", give.category) : rule("items.sku", ...give.skus);
  return {
    type: "percentage",
    target_type: "items",
    allocation: "across",
    value: give.percentOfLines,
    target_rules: [target],
  };
}

const promotion = (offer) => ({
  // An automatic promotion has a code here too; nobody types it.
  code: offer.code ?? offer.id,
  is_automatic: !offer.code,
  type: offer.give.free ? "buyget" : "standard",
  status: "active",
  application_method: method(offer.give),
  rules: offer.minimum
    ? [{ attribute: "item_total", operator: "gte", values: [String(units(offer.minimum))] }]
    : [],
});

const idOf = new Map(offers.map((offer) => [offer.code ?? offer.id, offer.id]));
const carts = new Map();
const discounts = new Map();

function context(size) {
  const lines = cart(size);
  const subtotal = (line) => units(line.quantity * line.unitPrice);
  return {
    currency_code: "eur",
    item_total: lines.reduce((sum, line) => sum + subtotal(line), 0),
    items: lines.map((line) => ({
      id: line.id,
      sku: line.sku,
      category: line.category,
      quantity: line.quantity,
      subtotal: subtotal(line),
      original_total: subtotal(line),
      is_discountable: true,
    })),
    shipping_methods: [],
  };
}

const price = (size) => promotions.computeActions(codes, carts.get(size));
// Shares of a line are not rounded here; what they add up to is whole.
const discountOf = (actions) => minor(actions.reduce((sum, action) => sum + Number(action.amount), 0));

await serve({
  about: async () => [`@medusajs/promotion ${version("@medusajs/promotion")}`],

  load: async () => {
    await promotions.createPromotions(offers.map(promotion));
  },

  prepare: async ({ size }) => {
    carts.set(size, context(size));
    const given = {};
    for (const action of await price(size)) {
      if (action.action !== "addItemAdjustment") throw new Error(`not expected: ${JSON.stringify(action)}`);
      const id = idOf.get(action.code);
      given[id] = (given[id] ?? 0) + Number(action.amount);
    }
    for (const id of Object.keys(given)) given[id] = minor(given[id]);
    const subtotal = minor(carts.get(size).item_total);
    const discount = Object.values(given).reduce((sum, amount) => sum + amount, 0);
    discounts.set(size, discount);
    return { subtotal, discount, total: subtotal - discount, given };
  },

  price: async ({ size }) => {
    const discount = discountOf(await price(size));
    if (discount !== discounts.get(size)) throw new Error(`not that discount: ${discount}`);
  },

  limit: async ({ code, limit }) => {
    await promotions.createPromotions([{ ...promotion({ give: { percentOfOrder: 5 }, code }), limit }]);
  },

  // What `completeCart` does with the adjustments of the order that it makes.
  use: async ({ code }) => {
    try {
      await promotions.registerUsage([{ code, amount: 1 }], { customer_id: null, customer_email: null });
      return "granted";
    } catch (error) {
      return /exceeds the limit/.test(error.message) ? "refused: limit" : `failed: ${error.message.slice(0, 120)}`;
    }
  },

  used: async ({ code }) => (await promotions.listPromotions({ code }))[0].used,

  stop: async () => {
    await app.onApplicationPrepareShutdown();
    await app.onApplicationShutdown();
  },
});
