"""Reads cards and trust records back, several at a time, each with the instant it was read at."""

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

from client import Client

SHOP_ZONE = ZoneInfo("Asia/Almaty")


@dataclass(frozen=True)
class Reading:
    """A customer's card and trust, both read on the shop's day of `instant`."""

    customer: str
    instant: datetime
    card: dict[str, Any]
    trust: dict[str, Any]


def shop_day(instant: datetime) -> int:
    """The shop's calendar day."""
    return instant.astimezone(SHOP_ZONE).toordinal()


def read_one(client: Client, customer: str) -> Reading:
    """Reads again where midnight fell between, since points become active, and expire, at midnight."""
    while True:
        before = datetime.now(timezone.utc)
        card = client.get(f"/v1/customers/{customer}/card")
        trust = client.get(f"/v1/customers/{customer}/trust")
        after = datetime.now(timezone.utc)
        if shop_day(before) == shop_day(after):
            return Reading(customer, after, card, trust)


def read_all(url: str, key: str, customers: Sequence[str], connections: int = 4) -> list[Reading]:
    """Every customer's reading, in the order asked for."""

    def part(worker: int) -> list[Reading]:
        client = Client(url, key)
        return [read_one(client, customer) for customer in customers[worker::connections]]

    with ThreadPoolExecutor(connections) as pool:
        parts = list(pool.map(part, range(connections)))
    readings: list[Reading] = [parts[i % connections][i // connections] for i in range(len(customers))]
    return readings


def print_cards(readings: Iterable[Reading]) -> None:
    """What the cards say, summed."""
    cards = [reading.card for reading in readings]
    sums = {name: sum(card[name] for card in cards) for name in ("balance", "pending", "under_review")}
    reviewed = sum(card["under_review"] > 0 for card in cards)
    print(f"points earned and on the cards now: {sums['balance'] + sums['pending']:,} ({sums['pending']:,} pending)")
    print(f"earnings under review: {sums['under_review']:,} points of {reviewed:,} households")
    tiers = Counter(card["tier"] for card in cards)
    print("tiers: " + ", ".join(f"{tier} {count:,}" for tier, count in tiers.most_common()))
