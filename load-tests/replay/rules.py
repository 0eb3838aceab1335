"""The loyalty rules once more, for the replay: points, tiers, trust and daily limits of a customer who only buys.

Written from the rules' text, not from the server's code, so that the two can disagree. Days are ordinals of the
shop's calendar; money is in minor units; everything is an integer. What the replay never does (returns, disputes,
fraud flags, burning) is left out.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo


class Tier(NamedTuple):
    """A tier's name, the money that reaches it, and what it earns."""

    name: str
    threshold_minor: int
    rate_permyriad: int


@dataclass(frozen=True)
class Policy:
    """The policy's numbers; policy.json holds the defaults."""

    zone: str
    point_minor: int
    tiers: tuple[Tier, ...]
    tier_window_days: int
    tier_hold_days: int
    tier_grace_days: int
    expiry_days: int
    restricted_categories: frozenset[str]
    daily_cashback_operations: int
    daily_points_earned: int
    band_priority_above: int
    band_half_below: int
    band_quarter_below: int
    priority_card_days: int
    priority_paid_minor: int
    priority_paid_days: int
    trust_order_minor: int
    trust_orders_per_day: int
    trust_orders_cap: int

    @classmethod
    def from_dict(cls, raw: dict) -> Self:
        """Reads policy.json's shape; an unknown or missing key is an error."""
        tiers = tuple(Tier(**tier) for tier in raw["tiers"])
        return cls(**raw | {"tiers": tiers, "restricted_categories": frozenset(raw["restricted_categories"])})


class Order(NamedTuple):
    """A completed order: when (in UTC: times of one zone subtract by the wall clock), the money paid, and the part of
    it that may earn."""

    at: datetime
    paid_minor: int
    eligible_minor: int


class Lot(NamedTuple):
    """Points of one order, pending before day `active`, gone from day `expires`."""

    points: int
    active: int
    expires: int


@dataclass(frozen=True)
class State:
    """What the card and the trust record should say."""

    balance: int
    pending: int
    under_review: int
    tier: str
    score: int
    completed_orders: int


@dataclass
class TierClock:
    """A tier, moved up by payments and down by midnights. Midnights must be walked before the day's payments."""

    policy: Policy
    level: int = 0
    today: int = 0
    reached: int = 0
    grace: int | None = None
    total: int = 0
    payments: deque[tuple[int, int]] = field(default_factory=deque)

    def walk_to(self, day: int) -> None:
        """Every midnight up to 00:00 of `day`. Those within a hold change nothing and are skipped."""
        while self.today < day:
            held_until = self.reached + self.policy.tier_hold_days
            self.today = max(self.today + 1, held_until) if self.level else day
            if self.today > day:
                self.today = day
            elif self.level:
                self._midnight()

    def pay(self, minor: int) -> None:
        """A payment today: may end a grace, and lifts the tier at once, over several lines if need be."""
        self.payments.append((self.today, minor))
        self.total += minor
        window = self._window()
        level = max(i for i, tier in enumerate(self.policy.tiers) if window >= tier.threshold_minor)
        if level > self.level:
            self.level, self.reached, self.grace = level, self.today, None
        elif level == self.level:
            self.grace = None

    def _window(self) -> int:
        """Money paid today and in the days before it that still count."""
        first = self.today - self.policy.tier_window_days + 1
        while self.payments and self.payments[0][0] < first:
            self.total -= self.payments.popleft()[1]
        return self.total

    def _midnight(self) -> None:
        """00:00 of a day after the hold: a grace that ran out costs a step, money that no longer carries opens one."""
        if self.grace is None:
            if self._window() < self.policy.tiers[self.level].threshold_minor:
                self.grace = self.today
        elif self.today >= self.grace + self.policy.tier_grace_days:
            self.level, self.reached, self.grace = self.level - 1, self.today, None


@dataclass
class TrustCounter:
    """Completed orders as trust counts them, and the money and days that priority asks for."""

    policy: Policy
    clean_today: int = 0
    clean: int = 0
    last_day: int = 0
    last_paid_day: int = 0
    paid_minor: int = 0
    paid_days: int = 0

    def complete(self, day: int, minor: int) -> None:
        """An order of `day`, no earlier than the last one's."""
        if day != self.last_day:
            self.last_day, self.clean_today = day, 0
        if minor >= self.policy.trust_order_minor and self.clean_today < self.policy.trust_orders_per_day:
            self.clean_today += 1
            self.clean += 1
        if minor > 0 and day != self.last_paid_day:
            self.last_paid_day = day
            self.paid_days += 1
        self.paid_minor += minor

    def score(self) -> int:
        """floor(100 (50 + R) / (100 + R + S)), R = 5c + 2 min(5w, 5 + c); nobody disputes or cancels here."""
        won = lost = 0
        clean = min(self.clean, self.policy.trust_orders_cap)
        good = 5 * clean + 2 * min(5 * won, 5 + clean)
        return 100 * (50 + good) // (100 + good + lost)

    def limit_factor(self, card_age: timedelta) -> Fraction:
        """What the trust band multiplies the daily limits by."""
        score, policy = self.score(), self.policy
        if score < policy.band_quarter_below:
            return Fraction(1, 4)
        if score < policy.band_half_below:
            return Fraction(1, 2)
        priority = (
            score > policy.band_priority_above
            and card_age >= timedelta(days=policy.priority_card_days)
            and self.paid_minor >= policy.priority_paid_minor
            and self.paid_days >= policy.priority_paid_days
        )
        return Fraction(2 if priority else 1)


@dataclass
class DailyLimit:
    """What was granted today; an earning that would pass a limit is put under review whole and does not count."""

    policy: Policy
    day: int = 0
    operations: int = 0
    points: int = 0

    def grant(self, day: int, points: int, factor: Fraction) -> bool:
        """Whether the earning stays within the day's limits; if so it counts."""
        if day != self.day:
            self.day, self.operations, self.points = day, 0, 0
        operations_limit = max(1, int(self.policy.daily_cashback_operations * factor))
        points_limit = max(1, int(self.policy.daily_points_earned * factor))
        if self.operations + 1 > operations_limit or self.points + points > points_limit:
            return False
        self.operations += 1
        self.points += points
        return True


def settle(orders: Sequence[Order], policy: Policy, since: datetime, instant: datetime) -> State:
    """A customer's state at `instant`. `orders` in the order they were fed; none may lie before an earlier one."""
    zone = ZoneInfo(policy.zone)
    tier, trust, limit = TierClock(policy), TrustCounter(policy), DailyLimit(policy)
    lots: list[Lot] = []
    under_review = completed = 0
    # An order's rate and band are those of facts with an earlier time, or the same time and an earlier arrival: all
    # the orders before it in the list.
    for order in orders:
        if order.at > instant:
            break
        day = order.at.astimezone(zone).toordinal()
        tier.walk_to(day)
        rate = policy.tiers[tier.level].rate_permyriad
        points = rate * order.eligible_minor // (10_000 * policy.point_minor)
        if points > 0:
            if limit.grant(day, points, trust.limit_factor(order.at - since)):
                lots.append(Lot(points, day + 1, day + 1 + policy.expiry_days))
            else:
                under_review += points
        tier.pay(order.paid_minor)
        trust.complete(day, order.paid_minor)
        completed += 1
    now = instant.astimezone(zone).toordinal()
    tier.walk_to(now)
    return State(
        balance=sum(lot.points for lot in lots if lot.active <= now < lot.expires),
        pending=sum(lot.points for lot in lots if now < lot.active),
        under_review=under_review,
        tier=policy.tiers[tier.level].name,
        score=trust.score(),
        completed_orders=completed,
    )
