"""Loads campaigns and coupons through the admin's and the service's routes, and tries the redemptions at checkout.

A redemption is tried on every basket of its household's day, all the day's coupons at once, as at a till; by `dry_run`
with the basket's own time, for a past time counts nowhere else.
"""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from client import ApiError, Client
from coupons import Journey, cart_body, code, offer_id

MAX_MEMBERS = 1000  # customers of one request
MAX_CHANGES = 200  # documents of one request, below the 500 allowed: a list's product lists are its weight
MAX_BODY_BYTES = 4_000_000
EXPLAINED = 300  # quotes that are asked again with `explain`


def post_new(client: Client, path: str, body: Any) -> Any:
    """A change whose key is its own content: the same change again is the same request."""
    data = json.dumps(body, separators=(",", ":")).encode()
    key = "replay-" + hashlib.sha256(path.encode() + b"\n" + data).hexdigest()[:40]
    return client.post(path, data, {"Idempotency-Key": key})


def load_segments(service: Client, journey: Journey) -> int:
    """Every campaign's households as a segment; how many memberships."""
    told = 0
    for campaign in journey.campaigns.values():
        for start in range(0, len(campaign.households), MAX_MEMBERS):
            add = [f"h{household}" for household in campaign.households[start : start + MAX_MEMBERS]]
            answer = post_new(service, f"/v1/segments/{campaign.segment}/customers", {"add": add})
            told += answer["added"]
    return told


def change_lists(puts: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Changes in lists that a request may hold."""
    lists: list[list[dict[str, Any]]] = [[]]
    size = 0
    for put in puts:
        bytes_of = len(json.dumps(put))
        if lists[-1] and (len(lists[-1]) == MAX_CHANGES or size + bytes_of > MAX_BODY_BYTES):
            lists.append([])
            size = 0
        lists[-1].append(put)
        size += bytes_of
    return lists if lists[0] else []


def load_promos(admin: Client, promos: Iterable[tuple[str, dict[str, Any]]]) -> int:
    """Puts promos by (id, document); how many requests it took."""
    puts = ({"action": "put", "kind": "promo", "id": name, "document": document} for name, document in promos)
    lists = change_lists(puts)
    for changes in lists:
        done = post_new(admin, "/v1/catalogue/changes", {"changes": changes})
        if len(done["changed"]) != len(changes):
            raise ApiError("POST /v1/catalogue/changes", 200, "not_all_changed", f"{len(done['changed'])} documents")
    return len(lists)


def load(service: Client, admin: Client, journey: Journey) -> None:
    """Segments and promos, with what the data gave."""
    started = time.monotonic()
    members = load_segments(service, journey)
    requests = load_promos(admin, ((offer_id(*key), coupon.document()) for key, coupon in journey.coupons.items()))
    counts, coupons = journey.counts, len(journey.coupons)
    products = counts["pairs"] - counts["pairs_listed_twice"]
    print(f"campaigns: {len(journey.campaigns)}, audiences of {members:,} households in all")
    print(
        f"coupons: {coupons:,} promos in {requests} requests; {products:,} products listed "
        f"({counts['pairs_listed_twice']:,} pairs stand twice), at most {counts['longest_list']:,} by one; "
        f"{time.monotonic() - started:.1f} s"
    )
    print(f"  values: {counts['values_seen']:,} from discounts seen, {coupons - counts['values_seen']:,} of 500 tenge")


@dataclass(frozen=True)
class Tried:
    """A basket's quote: the discount or the reason by code, the discount by line, the total."""

    verdicts: dict[str, tuple[int, str]]
    lines: dict[str, int]
    total: int


@dataclass
class Tries:
    """All quotes, by order id or by probe, and how long each took, seconds."""

    quotes: dict[str, Tried] = field(default_factory=dict)
    first: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    explained: list[float] = field(default_factory=list)
    not_repeated: list[str] = field(default_factory=list)


def read_quote(quote: dict[str, Any]) -> Tried:
    """What of a quote is compared."""
    verdicts = {applied["code"]: (applied["discount_minor"], "") for applied in quote["applied"]}
    for rejected in quote["rejected"]:
        reason = f"{rejected['reason']} {rejected.get('condition') or ''}".strip()
        verdicts[rejected["code"]] = (0, reason)
    lines = {line["line_id"]: line["discount_minor"] for line in quote["lines"]}
    return Tried(verdicts, lines, quote["total_minor"])


def ask(client: Client, body: dict[str, Any], took: list[float]) -> dict[str, Any]:
    """One quote, timed from the first byte sent to the answer read."""
    data = json.dumps(body, separators=(",", ":")).encode()
    started = time.perf_counter()
    quote = client.post("/v1/checkout/quotes", data)
    took.append(time.perf_counter() - started)
    return quote


def redemption_carts(
    journey: Journey, carts: dict[tuple[int, date], list[dict[str, Any]]]
) -> list[tuple[dict[str, Any], list[str]]]:
    """(placed order, codes) of every basket of a day with a redemption."""
    codes: dict[tuple[int, date], list[str]] = defaultdict(list)
    for one in journey.redemptions:
        codes[one.household, one.day].append(code(one.campaign, one.upc))
    return [(placed, found) for key, found in codes.items() for placed in carts.get(key, [])]


def quote_body(placed: dict[str, Any], codes: list[str]) -> dict[str, Any]:
    """A basket with its day's coupons, as of its own time."""
    return cart_body(placed, codes) | {"dry_run": {"at": placed["at"]}}


def try_redemptions(admin: Client, found: Sequence[tuple[dict[str, Any], list[str]]]) -> Tries:
    """Quotes every basket with its day's coupons, twice: the same question must have the same answer, bit for bit; some
    a third time with `explain`, for which the engine looks at every offer that there is."""
    tries = Tries()
    bodies = [quote_body(placed, codes) for placed, codes in found]
    ids = []
    for (placed, _), body in zip(found, bodies, strict=True):
        quote = ask(admin, body, tries.first)
        ids.append(quote["quote_id"])
        tries.quotes[placed["order_id"]] = read_quote(quote)
    for (placed, _), body, quote_id in zip(found, bodies, ids, strict=True):
        if ask(admin, body, tries.again)["quote_id"] != quote_id:
            tries.not_repeated.append(placed["order_id"])
    for body in bodies[:EXPLAINED]:
        ask(admin, body | {"explain": True}, tries.explained)
    return tries


def print_latency(tries: Tries, lines: int, offers: int) -> None:
    """What a quote took, seen by its one client."""
    mean = lines / max(1, len(tries.first))
    print(f"a quote of a real basket ({mean:.0f} lines) among {offers:,} offers, one client:")
    for name, took in (("first time", tries.first), ("again", tries.again), ("with explain", tries.explained)):
        if took:
            ordered = sorted(took)
            p50, p99 = (1e3 * ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 99))
            rate = len(took) / sum(took)
            print(f"  {name}: {len(took):,} quotes, {rate:,.0f}/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms")


def try_probe(admin: Client, placed: dict[str, Any], codes: list[str], at: str, customer: str) -> Tried:
    """A basket with codes at another time, or by another household."""
    body = cart_body(placed, codes) | {"dry_run": {"at": at}, "customer_id": customer}
    return read_quote(ask(admin, body, []))

