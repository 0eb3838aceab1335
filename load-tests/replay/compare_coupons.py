"""Compares the coupons in the catalogue, every redemption's quote and the probes with the second calculation, and says
how many redemptions apply, and why the others do not."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from client import Client
from expected_coupons import Coupons, Priced, Redeemed, Verdict, best, settle_redemptions
from redeem import Tried, Tries, try_probe

SHOWN = 10


def catalogue_differences(admin: Client, coupons: Coupons) -> list[str]:
    """What the catalogue's promos say otherwise than the data: value, products, audience, window."""
    found: dict[str, Any] = {}
    path = "/v1/promos?limit=200"
    while path:
        page = admin.get(path)
        found |= {item["id"]: item["offer"] for item in page["items"] if item["id"].startswith("c")}
        cursor = page.get("next_cursor")
        path = f"/v1/promos?limit=200&cursor={cursor}" if cursor else ""
    expected = {}
    mailed = Counter(campaign for _, campaign in coupons.audience)
    for (campaign, upc), products in coupons.products.items():
        starts, ends = (moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in coupons.window(campaign))
        skus = {str(product) for product in products}
        limits = {"total": 2 * mailed[campaign], "per_customer": 2}
        segments = [f"campaign-{campaign}"]
        expected[f"c{campaign}-{upc}"] = (coupons.values[campaign, upc], segments, limits, starts, ends, skus)
    differences = [f"{name}: expected in the catalogue, not there" for name in expected.keys() - found.keys()]
    differences += [f"{name}: in the catalogue, not expected" for name in found.keys() - expected.keys()]
    for name in sorted(expected.keys() & found.keys()):
        offer = found[name]
        skus = set(offer["selector"]["include"][0]["skus"])
        read = (
            offer["discount"]["minor"],
            offer["conditions"]["segments"],
            offer["limits"],
            offer["starts_at"],
            offer["ends_at"],
            skus,
        )
        if read[:-1] != expected[name][:-1]:
            differences.append(f"{name}: expected {expected[name][:-1]}, found {read[:-1]}")
        if odd := skus ^ expected[name][-1]:
            differences.append(f"{name}: {len(odd):,} products are only here or only there, e.g. {min(odd)}")
    return differences


def quote_differences(name: str, expected: Priced | None, found: Tried | None) -> list[str]:
    """What differs between a quote and the one expected."""
    if expected is None or found is None:
        return [f"{name}: {'not expected' if expected is None else 'not tried'}"]
    differences = []
    for code in sorted(expected.verdicts.keys() | found.verdicts.keys()):
        want, have = expected.verdicts.get(code), found.verdicts.get(code)
        if want is None or have is None or tuple(want) != have:
            differences.append(f"{name} {code}: expected {want and tuple(want)}, found {have}")
    pairs = [("discount by line", expected.lines, found.lines), ("total_minor", expected.total, found.total)]
    return differences + [f"{name} {what}: expected {a}, found {b}" for what, a, b in pairs if a != b]


def probe(
    admin: Client, coupons: Coupons, placed: dict[str, dict[str, Any]], applied: dict[Redeemed, str]
) -> list[str]:
    """One redemption of each campaign that applies, once more: in the seconds around the campaign's start and end, and
    by a household that was not mailed it."""
    differences, tried = [], 0
    households = sorted({one.household for one in coupons.redeemed})
    first = {one.campaign: (one, order) for one, order in reversed(applied.items())}
    for campaign, (one, order) in sorted(first.items()):
        basket = next(b for b in coupons.baskets[one.household, one.day] if f"b{b.number}" == order)
        starts, ends = coupons.window(campaign)
        stranger = next((h for h in households if (h, campaign) not in coupons.audience), None)
        asked = [("a second before", starts - timedelta(seconds=1), one.household), ("at its end", ends, one.household)]
        last = ends - timedelta(seconds=1)
        asked += [("at its start", starts, one.household), ("a second before its end", last, one.household)]
        if stranger is not None:
            asked.append(("by a household not mailed", coupons.at(basket), stranger))
        for what, at, household in asked:
            expected = coupons.price(basket, [(campaign, one.upc)], at, household)
            moment = at.strftime("%Y-%m-%dT%H:%M:%SZ")
            found = try_probe(admin, placed[order], [f"{one.upc}-{campaign}"], moment, f"h{household}")
            differences += quote_differences(f"{order} {what}", expected, found)
            tried += 1
    print(f"probes: {tried:,} quotes at the edges of {len(first)} campaigns and by others' households")
    return differences


def applied_orders(coupons: Coupons, priced: dict[str, Priced]) -> dict[Redeemed, str]:
    """By redemption that applies: the first order on which it does, alone at its time."""
    orders = {}
    for one in coupons.redeemed:
        for basket in coupons.baskets.get((one.household, one.day), []):
            order = f"b{basket.number}"
            if order in priced and priced[order].verdicts[f"{one.upc}-{one.campaign}"].minor:
                orders.setdefault(one, order)
    return orders


def answered(coupons: Coupons, tries: Tries) -> dict[Redeemed, Verdict]:
    """What every redemption came to at the server, at best."""
    verdicts = {}
    for one in coupons.redeemed:
        orders = (f"b{basket.number}" for basket in coupons.baskets.get((one.household, one.day), []))
        quotes = (tries.quotes[order] for order in orders if order in tries.quotes)
        each = (quote.verdicts.get(f"{one.upc}-{one.campaign}") for quote in quotes)
        verdicts[one] = best([Verdict(*verdict) for verdict in each if verdict])
    return verdicts


def print_redemptions(coupons: Coupons, verdicts: dict[Redeemed, Verdict]) -> None:
    """How many apply, with what sums, and why each other does not, by the reason and by what the data says."""
    applied = [one for one, verdict in verdicts.items() if verdict.minor]
    from_seen = sum((one.campaign, one.upc) in coupons.seen for one in applied)
    minor = sum(verdicts[one].minor for one in applied)
    bought = sum((one.household, one.day) in coupons.baskets for one in verdicts)
    print(f"redemptions: {len(verdicts):,}; {bought:,} have a basket of that day")
    print(f"  {len(applied):,} apply: {minor / 100:,.2f} tenge")
    print(f"  {from_seen:,} of them with a discount seen, {len(applied) - from_seen:,} with 500 tenge")
    refused = Counter((v.reason, coupons.why(one, v.reason)) for one, v in verdicts.items() if not v.minor)
    for (reason, why), count in refused.most_common():
        print(f"  {count:,} do not: {reason}: {why}")


def report(differences: Sequence[str], what: str) -> None:
    """The first of them."""
    print(f"{what}: {len(differences):,} differences")
    for difference in differences[:SHOWN]:
        print(f"  {difference}")
    if len(differences) > SHOWN:
        print(f"  ... and {len(differences) - SHOWN:,} more")


def compare(admin: Client, coupons: Coupons, tries: Tries, placed: dict[str, dict[str, Any]]) -> list[str]:
    """Everything that was tried against the second calculation."""
    priced, verdicts = settle_redemptions(coupons)
    found = answered(coupons, tries)
    print_redemptions(coupons, found)
    differences = catalogue_differences(admin, coupons)
    for one, verdict in verdicts.items():
        if found[one] != verdict:
            differences.append(f"{one}: expected {tuple(verdict)}, found {tuple(found[one])}")
    for order in sorted(priced.keys() | tries.quotes.keys()):
        differences += quote_differences(order, priced.get(order), tries.quotes.get(order))
    differences += [f"{order}: asked twice, answered differently" for order in tries.not_repeated]
    differences += probe(admin, coupons, placed, applied_orders(coupons, priced))
    report(differences, f"compared {len(coupons.products):,} coupons and {len(priced):,} quotes")
    return differences
