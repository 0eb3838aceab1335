"""Hand-made households against rules.py, and the tier clock against a naive day-by-day reading of the rules.

Run: python -m unittest discover load-tests/replay
"""

import random
import unittest
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import expected
from rules import DailyLimit, Order, State, TierClock, TrustCounter, settle

POLICY = expected.read_policy()
ALMATY = ZoneInfo("Asia/Almaty")
SINCE = datetime(2025, 1, 1, tzinfo=ALMATY)
TENGE = 100


def at(day: int, hour: int = 12, minute: int = 0) -> datetime:
    """A time on the n-th day of membership."""
    local = (SINCE + timedelta(days=day)).replace(hour=hour, minute=minute)
    return local.astimezone(timezone.utc)


def bought(day: int, tenge: int, hour: int = 12, minute: int = 0, restricted: int = 0) -> Order:
    """An order of so many tenge, some of them for restricted goods."""
    return Order(at(day, hour, minute), tenge * TENGE, (tenge - restricted) * TENGE)


def state(orders: Sequence[Order], when: datetime) -> State:
    """The household's state."""
    return settle(orders, POLICY, SINCE, when)


class Points(unittest.TestCase):
    """Earning, activation and expiry."""

    def test_cashback_is_pending_until_the_next_midnight(self):
        orders = [bought(3, 10_050)]
        before = state(orders, at(4, 0) - timedelta(seconds=1))
        after = state(orders, at(4, 0))
        self.assertEqual((before.balance, before.pending), (0, 100))
        self.assertEqual((after.balance, after.pending), (100, 0))

    def test_points_expire_365_days_after_activation(self):
        orders = [bought(3, 10_000)]
        self.assertEqual(state(orders, at(369, 0) - timedelta(seconds=1)).balance, 100)
        self.assertEqual(state(orders, at(369, 0)).balance, 0)

    def test_cashback_is_floored_per_order(self):
        orders = [bought(1, 199), bought(1, 199, 13)]
        self.assertEqual(state(orders, at(2)).balance, 2)

    def test_restricted_goods_earn_nothing_and_count_for_tier_and_trust(self):
        orders = [bought(1, 100_000, restricted=100_000), bought(2, 1_000)]
        found = state(orders, at(3))
        self.assertEqual((found.balance, found.tier), (20, "silver"))
        self.assertEqual(found.score, 100 * 60 // 110)

    def test_an_order_of_nothing_is_completed_and_earns_nothing(self):
        found = state([bought(1, 0)], at(2))
        self.assertEqual(found, State(0, 0, 0, "bronze", 50, 1))

    def test_orders_after_the_instant_are_not_known(self):
        self.assertEqual(state([bought(5, 5_000)], at(4)), State(0, 0, 0, "bronze", 50, 0))

    def test_a_day_is_the_shops(self):
        late = Order(datetime(2025, 1, 1, 19, 0, tzinfo=timezone.utc), 10_000 * TENGE, 10_000 * TENGE)
        self.assertEqual(state([late], datetime(2025, 1, 2, 18, 59, tzinfo=timezone.utc)).pending, 100)
        self.assertEqual(state([late], datetime(2025, 1, 2, 19, 0, tzinfo=timezone.utc)).balance, 100)


class Tiers(unittest.TestCase):
    """Up at once, held, grace, one step down."""

    def test_the_order_that_crosses_a_line_earns_at_the_old_rate(self):
        found = state([bought(1, 100_000), bought(1, 10_000, 13)], at(2))
        self.assertEqual(found.balance, 1_000 + 200)

    def test_one_order_may_lift_several_tiers(self):
        self.assertEqual(state([bought(1, 1_000_000)], at(1, 13)).tier, "platinum")

    def test_one_tenge_less_is_not_enough(self):
        self.assertEqual(state([bought(1, 99_999)], at(2)).tier, "bronze")
        self.assertEqual(state([bought(1, 99_999), bought(364, 1)], at(365)).tier, "silver")
        self.assertEqual(state([bought(1, 99_999), bought(366, 1)], at(366, 13)).tier, "bronze")

    def test_hold_then_grace_then_one_step_down_which_holds(self):
        orders = [bought(1, 300_000)]
        last_moment = at(1 + 365 + 30, 0) - timedelta(seconds=1)
        self.assertEqual(state(orders, last_moment).tier, "gold")
        self.assertEqual(state(orders, at(1 + 365 + 30, 0)).tier, "silver")
        self.assertEqual(state(orders, at(396 + 365 + 30, 0) - timedelta(seconds=1)).tier, "silver")
        self.assertEqual(state(orders, at(396 + 365 + 30, 0)).tier, "bronze")

    def test_money_regained_within_the_grace_ends_it_and_the_next_midnight_tests_anew(self):
        orders = [bought(1, 100_000), bought(200, 60_000), bought(380, 40_000)]
        # Grace from day 366; 100,000 again on day 380; on day 565 the 60,000 leave: grace anew, lost on day 595.
        self.assertEqual(state(orders, at(594)).tier, "silver")
        self.assertEqual(state(orders, at(595, 0)).tier, "bronze")

    def test_money_on_the_graces_last_day_counts_and_at_its_end_is_late(self):
        self.assertEqual(state([bought(1, 100_000), bought(395, 100_000, 23, 59)], at(396)).tier, "silver")
        late = state([bought(1, 100_000), bought(396, 50_000, 0)], at(396))
        self.assertEqual((late.tier, late.pending), ("bronze", 500))

    def test_the_clock_agrees_with_a_naive_reading(self):
        for seed in range(60):
            rng = random.Random(seed)
            busy = rng.choice([3, 10, 40])
            days = sorted(rng.randrange(1600) for _ in range(busy * 4))
            pays = [(day, rng.choice([5, 20, 60, 110, 320]) * 1_000 * TENGE // rng.choice([1, 4])) for day in days]
            clock, levels = TierClock(POLICY), {}
            for day in range(1650):
                for minor in [minor for paid_on, minor in pays if paid_on == day]:
                    clock.walk_to(day)
                    clock.pay(minor)
                if day % 7 == 0 or day > 1600:  # reading must not change what comes
                    clock.walk_to(day)
                    levels[day] = clock.level
            naive = naive_levels(pays, 1650)
            for day, level in levels.items():
                self.assertEqual(level, naive[day], f"seed {seed}, day {day}")


def naive_levels(pays: list[tuple[int, int]], days: int) -> list[int]:
    """The level at each day's end, by the rule's sentences, every midnight looked at, sums taken afresh."""
    lines = [tier.threshold_minor for tier in POLICY.tiers]
    level, hold_ends, grace_ends, levels = 0, 0, None, []
    for day in range(days):
        known = [pay for pay in pays if day - 364 <= pay[0] < day]
        if level > 0 and day >= hold_ends:
            if grace_ends == day:
                level, hold_ends, grace_ends = level - 1, day + 365, None
            elif grace_ends is None and sum(minor for _, minor in known) < lines[level]:
                grace_ends = day + 30
        for pay in [pay for pay in pays if pay[0] == day]:
            known.append(pay)
            total = sum(minor for _, minor in known)
            while level + 1 < len(lines) and total >= lines[level + 1]:
                level, hold_ends, grace_ends = level + 1, day + 365, None
            if total >= lines[level]:
                grace_ends = None
        levels.append(level)
    return levels


class Trust(unittest.TestCase):
    """The score and the bands."""

    def test_two_orders_a_day_count_and_small_ones_do_not(self):
        orders = [bought(1, 1_000), bought(1, 1_000, 13), bought(1, 1_000, 14), bought(2, 999)]
        self.assertEqual(state(orders, at(3)).score, 100 * 60 // 110)

    def test_fifteen_clean_orders_lead_above_70_and_forty_are_the_most(self):
        orders = [bought(day, 1_000) for day in range(60)]
        self.assertEqual(state(orders[:14], at(70)).score, 70)
        self.assertEqual(state(orders[:15], at(70)).score, 71)
        self.assertEqual(state(orders[:40], at(70)).score, 83)
        self.assertEqual(state(orders, at(70)).score, 83)

    def test_priority_needs_age_money_and_days(self):
        trust = TrustCounter(POLICY)
        for day in range(15):
            trust.complete(day + 1, 1_000 * TENGE)
        month = timedelta(days=30)
        self.assertEqual(trust.limit_factor(month), 1)
        trust.complete(16, 5_000 * TENGE)
        self.assertEqual(trust.limit_factor(month), 2)
        self.assertEqual(trust.limit_factor(month - timedelta(seconds=1)), 1)


class Limits(unittest.TestCase):
    """The day's limits, and what is kept under review."""

    def test_the_sixth_earning_of_a_day_is_reviewed_and_a_new_day_starts_anew(self):
        orders = [bought(1, 1_000, hour) for hour in range(10, 16)] + [bought(2, 1_000)]
        found = state(orders, at(3))
        self.assertEqual((found.balance, found.under_review), (60, 10))

    def test_an_earning_of_nothing_is_no_operation(self):
        orders = [bought(1, 99, hour) for hour in range(8, 14)] + [bought(1, 1_000, hour) for hour in range(14, 19)]
        self.assertEqual(state(orders, at(2)).under_review, 0)

    def test_what_is_under_review_does_not_count_so_a_lesser_earning_passes(self):
        limit = DailyLimit(POLICY)
        self.assertTrue(limit.grant(1, 19_000, 1))
        self.assertFalse(limit.grant(1, 1_001, 1))
        self.assertTrue(limit.grant(1, 1_000, 1))
        self.assertTrue(limit.grant(2, 1_001, 1))

    def test_priority_doubles_the_limits(self):
        clean = [bought(day, 2_000) for day in range(15)]
        seven = [bought(40, 1_000, hour) for hour in range(8, 19)]
        self.assertEqual(state(clean + seven, at(41)).under_review, 10)
        early = [bought(20, 1_000, hour) for hour in range(8, 19)]
        self.assertEqual(state(clean + early, at(41)).under_review, 60)


class Reading(unittest.TestCase):
    """The source's own oddities."""

    def test_money_is_exact_and_float_leftovers_are_nothing(self):
        self.assertEqual(expected.tiyn(0.29), 14_500)
        self.assertEqual(expected.tiyn(1.776357e-15), 0)

    def test_smoking_goods_are_tobacco_and_giving_up_is_not(self):
        found = [expected.category(name) for name in ("CIGARETTES", "CIGARS", "TOBACCO OTHER")]
        self.assertEqual(found, ["tobacco"] * 3)
        self.assertEqual(expected.category("SMOKING CESSATIONS"), "smoking-cessations")

    def test_the_last_day_falls_in_the_week_before_todays(self):
        last = date(2017, 12, 31)
        for today, falls in [("2026-11-23", "2026-11-22"), ("2026-11-29", "2026-11-22"), ("2026-11-30", "2026-11-29")]:
            moved = last + expected.whole_weeks(last, date.fromisoformat(today))
            self.assertEqual(moved, date.fromisoformat(falls))


if __name__ == "__main__":
    unittest.main()
