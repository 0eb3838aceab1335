"""What every redemption of a coupon should come to: a second calculation, straight from the parquet files.

Shares nothing with coupons.py but the data: reads by pyarrow, takes medians and windows anew, and prices by the rules'
own sentences: offers apply by id; an amount is shared out over the selected lines by largest remainder, weighed
by what is left of each, ties by line_id, and is never more than what is left.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import NamedTuple
from zoneinfo import ZoneInfo

from expected import restricted_products, shop_time, table, tiyn, whole_weeks
from rules import Policy

UNSEEN_VALUE = 50_000
SEGMENT_UNMET = "condition_not_met conditions.segments"
NO_LINES = "no_matching_lines selector"


class Line(NamedTuple):
    """A line that a till would have printed."""

    line_id: str
    product: int
    minor: int


@dataclass
class Basket:
    """A basket of a day with a redemption."""

    number: int
    store: int
    household: int
    day: date
    wall: datetime
    lines: list[Line] = field(default_factory=list)
    ghosts: set[int] = field(default_factory=set)
    """Products of lines that are none: quantity 0 and value 0."""


class Redeemed(NamedTuple):
    """A row of the redemptions."""

    household: int
    campaign: int
    upc: int
    day: date


class Verdict(NamedTuple):
    """What a code does to a basket: the discount, or why there is none."""

    minor: int
    reason: str


@dataclass(frozen=True)
class Priced:
    """A basket with codes."""

    verdicts: dict[str, Verdict]
    lines: dict[str, int]
    total: int


@dataclass(frozen=True)
class Coupons:
    """All that the data says of coupons, moved to the replayed year."""

    zone: ZoneInfo
    shift: timedelta
    windows: dict[int, tuple[date, date]]
    audience: set[tuple[int, int]]
    """(household, campaign), of all households."""
    products: dict[tuple[int, int], set[int]]
    values: dict[tuple[int, int], int]
    seen: set[tuple[int, int]]
    redeemed: list[Redeemed]
    baskets: dict[tuple[int, date], list[Basket]]
    restricted: set[int]

    def at(self, basket: Basket) -> datetime:
        """When the basket was bought, in the replayed year."""
        return (basket.wall + self.shift).replace(tzinfo=self.zone).astimezone(timezone.utc)

    def window(self, campaign: int) -> tuple[datetime, datetime]:
        """The first moment of a campaign, and the first that is no longer in it."""
        first, last = self.windows[campaign]
        starts, ends = first + self.shift, last + self.shift + timedelta(days=1)
        midnights = (datetime(day.year, day.month, day.day, tzinfo=self.zone) for day in (starts, ends))
        starts_at, ends_at = (midnight.astimezone(timezone.utc) for midnight in midnights)
        return starts_at, ends_at

    def price(self, basket: Basket, coupons: Iterable[tuple[int, int]], at: datetime | None, household: int) -> Priced:
        """The basket with these coupons (campaign, upc) in it. No `at`: the windows are not looked at."""
        left = {line.line_id: line.minor for line in basket.lines}
        verdicts = {}
        for campaign, upc in sorted(set(coupons), key=lambda one: f"c{one[0]}-{one[1]}"):
            verdict = self._circumstances(campaign, at, household) or self._give(basket, (campaign, upc), left)
            verdicts[f"{upc}-{campaign}"] = verdict
        lines = {line.line_id: line.minor - left[line.line_id] for line in basket.lines}
        return Priced(verdicts, lines, sum(left.values()))

    def _circumstances(self, campaign: int, at: datetime | None, household: int) -> Verdict | None:
        starts, ends = self.window(campaign)
        if at is not None and at < starts:
            return Verdict(0, "not_started starts_at")
        if at is not None and at >= ends:
            return Verdict(0, "ended")
        return None if (household, campaign) in self.audience else Verdict(0, SEGMENT_UNMET)

    def _give(self, basket: Basket, coupon: tuple[int, int], left: dict[str, int]) -> Verdict:
        """Takes the coupon's value off what is left of the lines with its products."""
        products = self.products[coupon] - self.restricted
        matching = sorted(line.line_id for line in basket.lines if line.product in products)
        if not matching:
            return Verdict(0, NO_LINES)
        weights = [left[line_id] for line_id in matching]
        given = min(self.values[coupon], sum(weights))
        if given == 0:
            return Verdict(0, "no_effect")
        for line_id, share in zip(matching, largest_remainder(given, weights), strict=True):
            left[line_id] -= share
        return Verdict(given, "")

    def why(self, redeemed: Redeemed, reason: str) -> str:
        """What the data has to say on a redemption that does not apply."""
        products = self.products[redeemed.campaign, redeemed.upc]
        baskets = self.baskets.get((redeemed.household, redeemed.day), [])
        if reason == "no_effect":
            worth = sum(line.minor for basket in baskets for line in basket.lines if line.product in products)
            return "other coupons of the day leave nothing of its lines" if worth else "its lines cost nothing"
        if any(products & basket.ghosts for basket in baskets):
            return "its product stands on a line of quantity 0 and value 0 only, which is none"
        if not baskets:
            return "the household bought nothing on that day"
        if not any(basket.lines for basket in baskets):
            return "the day's baskets have lines of quantity 0 and value 0 alone"
        return "none of its products was bought on that day"


def largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in parts as the weights are; what the floors leave goes to the greatest remainders, then to the first."""
    whole = sum(weights)
    shares = [total * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in order[: total - sum(shares)]:
        shares[i] += 1
    return shares


def lower_median(values: Sequence[int]) -> int:
    """The middle one, of two the lesser: always a value that was seen."""
    return sorted(values)[(len(values) - 1) // 2]


def read_products() -> dict[tuple[int, int], set[int]]:
    """By (campaign, upc) the products."""
    products = defaultdict(set)
    for upc, product, campaign in table("coupons", "coupon_upc", "product_id", "campaign_id"):
        products[campaign, upc].add(product)
    return dict(products)


def read_days(clock: str, redeemed: Sequence[Redeemed]) -> tuple[dict, dict, date]:
    """The baskets of days with a redemption, the coupon discounts on their lines, and the year's last day."""
    wanted = {(one.household, one.day) for one in redeemed}
    households = {one.household for one in redeemed}
    baskets: dict[int, Basket] = {}
    discounts: dict[tuple[int, date], list[tuple[int, int]]] = defaultdict(list)
    walls: dict[datetime, datetime] = {}
    newest = datetime.min
    columns = ("household_id", "store_id", "basket_id", "product_id", "quantity", "sales_value", "coupon_disc",
               "transaction_timestamp")
    for household, store, number, product, quantity, value, coupon, stamp in table("transactions", *columns):
        newest = max(newest, stamp)
        if household not in households:
            continue
        if (wall := walls.get(stamp)) is None:
            wall = walls[stamp] = shop_time(stamp, clock)
        key = (household, wall.date())
        if key not in wanted:
            continue
        basket = baskets.get(number)
        if basket is None:
            basket = baskets[number] = Basket(number, store, household, key[1], wall)
        money = tiyn(value)
        if quantity == 0 and money == 0:
            basket.ghosts.add(product)
        else:
            basket.lines.append(Line(str(len(basket.lines) + 1), product, money))
        if coupon > 0:
            discounts[key].append((product, tiyn(coupon)))
    by_day: dict[tuple[int, date], list[Basket]] = defaultdict(list)
    for basket in sorted(baskets.values(), key=lambda basket: (basket.wall, basket.number)):
        by_day[basket.household, basket.day].append(basket)
    return dict(by_day), dict(discounts), shop_time(newest, clock).date()


def read_coupons(policy: Policy, today: date, households: Iterable[int], clock: str = "new-york") -> Coupons:
    """The coupons of the replayed households; values from all."""
    rows = table("coupon_redemptions", "household_id", "campaign_id", "coupon_upc", "redemption_date")
    everybody = [Redeemed(household, campaign, upc, day.date()) for household, campaign, upc, day in rows]
    baskets, discounts, last = read_days(clock, everybody)
    products = read_products()
    seen = defaultdict(list)
    for one in everybody:
        listed = products[one.campaign, one.upc]
        found = [minor for product, minor in discounts.get((one.household, one.day), []) if product in listed]
        seen[one.campaign, one.upc] += found
    values = {coupon: lower_median(seen[coupon]) if seen.get(coupon) else UNSEEN_VALUE for coupon in products}
    dates = table("campaign_descriptions", "campaign_id", "start_date", "end_date")
    chosen = set(households)
    return Coupons(
        zone=ZoneInfo(policy.zone),
        shift=whole_weeks(last, today),
        windows={campaign: (first.date(), end.date()) for campaign, first, end in dates},
        audience=set(table("campaigns", "household_id", "campaign_id")),
        products=products,
        values=values,
        seen={coupon for coupon, found in seen.items() if found},
        redeemed=[one for one in everybody if one.household in chosen],
        baskets={key: found for key, found in baskets.items() if key[0] in chosen},
        restricted=restricted_products(policy),
    )


def settle_redemptions(coupons: Coupons) -> tuple[dict[str, Priced], dict[Redeemed, Verdict]]:
    """Each basket with all coupons of its household's day, by order id; and what each redemption comes to at best."""
    priced: dict[str, Priced] = {}
    verdicts: dict[Redeemed, Verdict] = {}
    by_day = defaultdict(list)
    for one in coupons.redeemed:
        by_day[one.household, one.day].append(one)
    for key, redeemed in by_day.items():
        baskets = [basket for basket in coupons.baskets.get(key, []) if basket.lines]
        for basket in baskets:
            found = [(one.campaign, one.upc) for one in redeemed]
            priced[f"b{basket.number}"] = coupons.price(basket, found, coupons.at(basket), key[0])
        for one in redeemed:
            code = f"{one.upc}-{one.campaign}"
            each = [priced[f"b{basket.number}"].verdicts[code] for basket in baskets]
            verdicts[one] = best(each)
    return priced, verdicts


def best(verdicts: Sequence[Verdict]) -> Verdict:
    """Of a redemption's baskets the one that counts: a discount before a reason, `no_effect` before no line at all."""
    order = {"": 0, "no_effect": 1}
    found = min(verdicts, key=lambda verdict: order.get(verdict.reason, 2), default=Verdict(0, "no cart"))
    return found


def reasons(verdicts: dict[Redeemed, Verdict]) -> Counter[str]:
    """How many apply (the empty reason), and why the others do not."""
    return Counter(verdict.reason for verdict in verdicts.values())
