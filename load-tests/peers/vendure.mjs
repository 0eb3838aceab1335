// Vendure, with SQLite in memory. See `worker.mjs` for what it is asked.
//
// Vendure has no quote: a cart is an order, and is priced again whenever it changes. Two things are measured. `price`,
// in this process, is its calculation alone (`OrderCalculator` on an order and promotions that are loaded already: no
// database, nothing saved). Over the Shop API, which `shop.mjs` calls, it is what a storefront does: a line is
// adjusted, the order is loaded, priced, saved and answered.

import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";

import { require, version } from "./packages.mjs";
import { absent, cart, codes, offers } from "./scenario.mjs";
import { serve } from "./worker.mjs";

const {
  DefaultLogger,
  FacetValueService,
  Importer,
  LogLevel,
  OrderCalculator,
  OrderService,
  Populator,
  ProductVariantService,
  PromotionService,
  RequestContextService,
  bootstrap,
} = require("@vendure/core");

const app = await bootstrap({
  // What is refused is an answer; only what breaks is worth a line.
  logger: new DefaultLogger({ level: LogLevel.Error }),
  apiOptions: { hostname: "127.0.0.1", port: Number(process.env.VENDURE_PORT), introspection: false },
  // Nobody signs in here; in production Vendure refuses the password of its documentation.
  authOptions: { tokenMethod: "bearer", superadminCredentials: { identifier: "nobody", password: randomUUID() } },
  dbConnectionOptions: { type: "better-sqlite3", database: ":memory:", synchronize: true, logging: false },
  paymentOptions: { paymentMethodHandlers: [] },
});

// Node's server ends a connection that was idle for 5 s by its own clock, and a calculation that keeps its one thread for
// longer makes it end one on which a request waits. Longer, as behind a balancer.
app.getHttpServer().keepAliveTimeout = 120_000;

const context = () => app.get(RequestContextService).create({ apiType: "admin" });
const variants = new Map();
const facets = new Map();

async function loadProducts() {
  await app.get(Populator).populateInitialData({
    defaultLanguage: "en",
    defaultZone: "Everywhere",
    countries: [{ code: "KZ", name: "Kazakhstan", zone: "Everywhere" }],
    taxRates: [{ name: "None", percentage: 0 }],
    shippingMethods: [],
    paymentMethods: [],
    collections: [],
  });
  const columns = [
    "name",
    "slug",
    "description",
    "assets",
    "facets",
    "optionGroups",
    "optionValues",
    "sku",
    "price",
    "taxCategory",
    "stockOnHand",
    "trackInventory",
    "variantAssets",
    "variantFacets",
  ];
  const rows = [...cart(100), ...absent].map(({ sku, category, unitPrice }) =>
    [sku, sku, "", "", `category:${category}`, "", "", sku, unitPrice / 100, "None", 100, "false", "", ""].join(","),
  );
  const csv = [columns.join(","), ...rows].join("\n");
  const ctx = await context();
  await new Promise((resolve, reject) =>
    app
      .get(Importer)
      .parseAndImport(Readable.from([csv]), ctx)
      .subscribe({
        next: ({ errors }) => errors?.length && reject(new Error(errors.join("; "))),
        error: reject,
        complete: resolve,
      }),
  );
  for (const variant of (await app.get(ProductVariantService).findAll(ctx, { take: 1000 })).items) {
    variants.set(variant.sku, variant.id);
  }
  for (const value of await app.get(FacetValueService).findAll(ctx, "en")) facets.set(value.name, value.id);
}

const operation = (code, values = {}) => ({
  code,
  arguments: Object.entries(values).map(([name, value]) => ({ name, value: JSON.stringify(value) })),
});

const ids = (skus) => skus.map((sku) => variants.get(sku));

// An automatic promotion needs a condition here: that there is something for its action.
function rules({ give, minimum }) {
  if (give.percentOfOrder) {
    return { conditions: [], actions: [operation("order_percentage_discount", { discount: give.percentOfOrder })] };
  }
  if (give.amountOfOrder) {
    const conditions = minimum ? [operation("minimum_order_amount", { amount: minimum, taxInclusive: false })] : [];
    return { conditions, actions: [operation("order_fixed_discount", { discount: give.amountOfOrder })] };
  }
  if (give.free) {
    const of = ids([give.sku]);
    const values = { amountX: give.buy, variantIdsX: of, amountY: give.free, variantIdsY: of };
    return { conditions: [operation("buy_x_get_y_free", values)], actions: [operation("buy_x_get_y_free")] };
  }
  if (give.category) {
    const of = [facets.get(give.category)];
    return {
      conditions: [operation("at_least_n_with_facets", { minimum: 1, facets: of })],
      actions: [operation("facet_based_discount", { discount: give.percentOfLines, facets: of })],
    };
  }
  const of = ids(give.skus);
  return {
    conditions: [operation("contains_products", { minimum: 1, productVariantIds: of })],
    actions: [operation("products_percentage_discount", { discount: give.percentOfLines, productVariantIds: of })],
  };
}

// Of each size, the order as loaded once for each client: a calculation writes into it, and awaits on the way.
const orders = new Map();
const totals = new Map();

async function price(size, client) {
  const { ctx, order, promotions } = orders.get(size)[client];
  return app.get(OrderCalculator).applyPriceAdjustments(ctx, order, promotions, order.lines);
}

await serve({
  about: async () => [`@vendure/core ${version("@vendure/core")}`, `better-sqlite3 ${version("better-sqlite3")}`],

  load: async () => {
    await loadProducts();
    const ctx = await context();
    for (const offer of offers) {
      const made = await app.get(PromotionService).createPromotion(ctx, {
        enabled: true,
        couponCode: offer.code,
        ...rules(offer),
        translations: [{ languageCode: "en", name: offer.id, description: "" }],
      });
      if (!made.id) throw new Error(`${offer.id}: ${made.message}`);
    }
  },

  variants: async () => Object.fromEntries(variants),

  prepare: async ({ size, clients }) => {
    const ctx = await context();
    const service = app.get(OrderService);
    const { id } = await service.create(ctx);
    const lines = cart(size).map(({ sku, quantity }) => ({ productVariantId: variants.get(sku), quantity }));
    const added = await service.addItemsToOrder(ctx, id, lines);
    if (added.errorResults.length > 0) throw new Error(JSON.stringify(added.errorResults));
    for (const code of codes) {
      const applied = await service.applyCouponCode(ctx, id, code);
      if (!applied.id) throw new Error(`${code}: ${applied.message}`);
    }
    orders.set(size, []);
    for (let client = 0; client < clients; client++) {
      const ctx = await context();
      const promotions = await app.get(PromotionService).getActivePromotionsInChannel(ctx);
      orders.get(size).push({ ctx, promotions, order: await service.findOne(ctx, id) });
    }
    const order = await price(size, 0);
    totals.set(size, order.subTotal);
    const given = {};
    for (const { description, amount } of order.discounts) given[description] = (given[description] ?? 0) - amount;
    const subtotal = order.lines.reduce((sum, line) => sum + line.linePrice, 0);
    return { subtotal, discount: subtotal - order.subTotal, total: order.subTotal, given };
  },

  price: async ({ size }, client) => {
    const { subTotal } = await price(size, client);
    if (subTotal !== totals.get(size)) throw new Error(`not that total: ${subTotal}`);
  },

  stop: () => app.close(),
});
