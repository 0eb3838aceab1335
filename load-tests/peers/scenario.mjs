// What every subject is asked: a cart and a set of offers, said once, in no subject's words.
//
// Money is in minor units. The numbers are chosen so that no step has to round: unit prices are multiples of 400, and
// what is left for the order's 5 % is a multiple of 20. No line takes part in two offers that look at lines alone. So
// neither the way of rounding nor the order of such offers can make a difference; what does have an order is the same
// for all: lines, then the order's percentage, then the order's amount.

const CATEGORIES = 10;
const CODE = "WELCOME5";

/** Lines of a cart. The first 20 are the same in every size of at least 20. */
export function cart(size) {
  return Array.from({ length: size }, (_, index) => ({
    id: `line-${index}`,
    sku: `sku-${index}`,
    category: `cat-${index % CATEGORIES}`,
    quantity: 1 + (index % 3),
    unitPrice: 400 * (1 + ((index * 7) % 25)),
  }));
}

/** The codes typed with every cart. */
export const codes = [CODE];

/** Products that are sold and in no cart: what most offers are about. */
export const absent = Array.from({ length: 100 }, (_, index) => ({
  sku: `absent-${index}`,
  category: `absent-cat-${index % 20}`,
  unitPrice: 400 * (1 + (index % 25)),
}));

// `give` is one of:
//   { percentOfLines, category | skus }   of each line selected
//   { buy, free, sku }                    so many free pieces of a product, once, where so many were bought beside them
//   { percentOfOrder } and { amountOfOrder }   of what the offers on lines have left; shared out over all lines
// `minimum`: the cart's price without discounts. `code`: only where it is typed.
const applying = [
  ...[30, 25, 20, 15, 10].map((percentOfLines, index) => ({
    id: `category-${index}`,
    give: { percentOfLines, category: `cat-${index}` },
  })),
  { id: "two-products", give: { percentOfLines: 35, skus: ["sku-6", "sku-16"] } },
  { id: "two-and-one-a", give: { buy: 2, free: 1, sku: "sku-5" } },
  { id: "two-and-one-b", give: { buy: 2, free: 1, sku: "sku-8" } },
  { id: "welcome", give: { percentOfOrder: 5 }, code: CODE },
  { id: "from-ten", give: { amountOfOrder: 400 }, minimum: 1_000 },
];

const five = (from) => absent.slice(from, from + 5).map((product) => product.sku);

const missing = [
  ...range(20, (index) => ({
    id: `absent-category-${index}`,
    give: { percentOfLines: 10 + index, category: `absent-cat-${index}` },
  })),
  ...range(10, (index) => ({ id: `absent-products-${index}`, give: { percentOfLines: 15, skus: five(index * 10) } })),
  ...range(6, (index) => ({ id: `absent-two-and-one-${index}`, give: { buy: 2, free: 1, sku: `absent-${index}` } })),
  ...range(5, (index) => ({
    id: `from-a-million-${index}`,
    give: { amountOfOrder: 300 },
    minimum: 100_000_000 + index,
  })),
  ...range(50, (index) => ({ id: `code-order-${index}`, give: { percentOfOrder: 3 }, code: `NOTTYPED-A${index}` })),
  ...range(25, (index) => ({
    id: `code-products-${index}`,
    give: { percentOfLines: 20, skus: five(index) },
    code: `NOTTYPED-B${index}`,
  })),
  ...range(24, (index) => ({ id: `code-amount-${index}`, give: { amountOfOrder: 200 }, code: `NOTTYPED-C${index}` })),
];

/** 50 offers without a code, 9 of which apply, and 100 with one, of which one is typed and applies. */
export const offers = [...applying, ...missing];

/** What each offer gives on a cart, and in all: worked out here by the rules above, sharing no code with any subject. */
export function expected(size) {
  const lines = cart(size).map((line) => ({ ...line, full: line.quantity * line.unitPrice, off: 0 }));
  const given = {};
  const give = (offer, line, amount) => {
    whole(amount, offer.id);
    line.off += amount;
    given[offer.id] = (given[offer.id] ?? 0) + amount;
  };
  for (const offer of applying) {
    const { percentOfLines, category, skus, free, sku } = offer.give;
    for (const line of lines) {
      if (percentOfLines && (line.category === category || skus?.includes(line.sku))) {
        give(offer, line, (line.full * percentOfLines) / 100);
      }
      if (free && line.sku === sku) give(offer, line, free * line.unitPrice);
    }
  }
  let left = lines.reduce((sum, line) => sum + line.full - line.off, 0);
  for (const offer of applying) {
    const { percentOfOrder, amountOfOrder } = offer.give;
    const amount = percentOfOrder ? (left * percentOfOrder) / 100 : (amountOfOrder ?? 0);
    if (amount === 0) continue;
    whole(amount, offer.id);
    given[offer.id] = amount;
    left -= amount;
  }
  const subtotal = lines.reduce((sum, line) => sum + line.full, 0);
  return { subtotal, discount: subtotal - left, total: left, given };
}

/** Throws where an answer is not the expected one, naming what differs. */
export function check(who, size, answer) {
  const right = expected(size);
  const differs = [];
  for (const key of ["subtotal", "discount", "total"]) {
    if (answer[key] !== right[key]) differs.push(`${key}: ${answer[key]}, expected ${right[key]}`);
  }
  for (const id of new Set([...Object.keys(right.given), ...Object.keys(answer.given)])) {
    if (answer.given[id] !== right.given[id]) differs.push(`${id}: ${answer.given[id]}, expected ${right.given[id]}`);
  }
  if (differs.length > 0) throw new Error(`${who}, ${size} lines, prices another cart: ${differs.join("; ")}`);
}

function range(count, make) {
  return Array.from({ length: count }, (_, index) => make(index));
}

function whole(amount, id) {
  if (!Number.isInteger(amount)) throw new Error(`the scenario rounds at ${id}: ${amount}`);
}
