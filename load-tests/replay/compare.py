"""Compares every household's card and trust with the second calculation, to the point; exits 1 on any difference."""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from client import ApiError, add_server_options, check_key
from convert import today_in_shop
from expected import Year, read_policy, read_year
from expected_coupons import read_coupons
from reading import Reading, print_cards, read_all
from trials import cancelled_orders, plan

SHOWN = 20


@dataclass(frozen=True)
class Difference:
    """One field of one customer that is not as expected."""

    customer: str
    field: str
    expected: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.customer} {self.field}: expected {self.expected}, found {self.found}"


def differences(reading: Reading, year: Year, cancelled: Mapping[str, int]) -> list[Difference]:
    """What differs between a reading and the state expected at its instant; `cancelled`: orders that the trials of
    holds have cancelled, by customer, which trust counts in all."""
    state = year.state(int(reading.customer.removeprefix("h")), reading.instant)
    ended = state.completed_orders + cancelled.get(reading.customer, 0)
    pairs = [
        ("card.balance", state.balance, reading.card.get("balance")),
        ("card.available", state.balance, reading.card.get("available")),
        ("card.held", 0, reading.card.get("held")),
        ("card.pending", state.pending, reading.card.get("pending")),
        ("card.under_review", state.under_review, reading.card.get("under_review")),
        ("card.tier", state.tier, reading.card.get("tier")),
        ("trust.score", state.score, reading.trust.get("score")),
        ("trust.total_orders", ended, reading.trust.get("total_orders")),
        ("trust.completed_orders", state.completed_orders, reading.trust.get("completed_orders")),
    ]
    return [Difference(reading.customer, name, want, have) for name, want, have in pairs if want != have]


def report(readings: Sequence[Reading], year: Year, cancelled: Mapping[str, int]) -> int:
    """Prints the differences; how many households have any."""
    found = [difference for reading in readings for difference in differences(reading, year, cancelled)]
    households = len({difference.customer for difference in found})
    print(f"compared {len(readings):,} households: {households:,} differ, in {len(found):,} fields")
    for name, count in Counter(difference.field for difference in found).most_common():
        print(f"  {name}: {count:,}")
    for difference in found[:SHOWN]:
        print(f"  {difference}")
    if len(found) > SHOWN:
        print(f"  ... and {len(found) - SHOWN:,} more")
    return households


def main() -> int:
    """Reads and compares; the replay must have been sent."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_server_options(parser)
    parser.add_argument("--policy", type=Path, default=None, help="default: policy.json beside this script")
    parser.add_argument("--today", type=date.fromisoformat, default=None, help="as given to send.py")
    parser.add_argument("--households", type=int, default=None, metavar="N")
    parser.add_argument("--clock", choices=("new-york", "as-stored"), default="new-york")
    parser.add_argument("--orders-only", action="store_true", help="the campaigns were not replayed on this server")
    args = parser.parse_args()
    check_key(parser, args)
    policy, today = read_policy(args.policy), args.today or today_in_shop()
    year = read_year(policy, today, args.households, args.clock)
    cancelled = Counter()
    if not args.orders_only:
        cancelled = cancelled_orders(plan(read_coupons(policy, today, year.orders, args.clock)))
    try:
        customers = [f"h{household}" for household in year.orders]
        readings = read_all(args.url, args.key, customers, args.connections)
    except ApiError as error:
        print(f"replay: {error}", file=sys.stderr)
        return 1
    print_cards(readings)
    return 1 if report(readings, year, cancelled) else 0


if __name__ == "__main__":
    sys.exit(main())
