"""Coupons on hand-made baskets: the second calculation's prices and reasons; what is loaded, tried and compared."""

import contextlib
import io
import random
import statistics
import unittest
from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

import coupons
import redeem
import trials
from client import ApiError
from compare import differences as card_differences
from compare_coupons import answered, applied_orders, quote_differences
from expected import Year, read_policy
from expected_coupons import (
    NO_LINES,
    SEGMENT_UNMET,
    Basket,
    Coupons,
    Line,
    Redeemed,
    Verdict,
    best,
    largest_remainder,
    lower_median,
    settle_redemptions,
)
from reading import Reading

DAY = date(2017, 12, 16)
SOAP, TEA, MILK = 1, 2, 3


def basket(*lines: tuple[int, int], number: int = 7, day: date = DAY, hour: int = 12, ghosts: tuple = ()) -> Basket:
    """A basket of (product, tiyn) of household 5."""
    wall = datetime(day.year, day.month, day.day, hour)
    found = [Line(str(i + 1), product, minor) for i, (product, minor) in enumerate(lines)]
    return Basket(number, 2, 5, day, wall, found, set(ghosts))


def journey(*baskets: Basket, redeemed: tuple[tuple[int, int], ...] = (), **values: int) -> Coupons:
    """Coupon 10 is for soap, 20 for tea, 30 for both; each campaign runs from the 10th to the 16th of December."""
    products = {10: {SOAP}, 20: {TEA}, 30: {SOAP, TEA}}
    by_day: dict[tuple[int, date], list[Basket]] = {}
    for one in baskets:
        by_day.setdefault((5, one.day), []).append(one)
    listed = {(campaign, upc): found for campaign in (1, 9, 10) for upc, found in products.items()}
    return Coupons(
        zone=ZoneInfo("Asia/Almaty"),
        shift=timedelta(weeks=464),
        windows={campaign: (date(2017, 12, 10), DAY) for campaign in (1, 9, 10)},
        audience={(5, 1), (5, 9), (5, 10)},
        products=listed,
        values={(campaign, upc): values.get(f"v{upc}", 500) for campaign, upc in listed},
        seen={(1, 10)},
        redeemed=[Redeemed(5, campaign, upc, one.day) for one in baskets[:1] for campaign, upc in redeemed],
        baskets=by_day,
        restricted=set(),
    )


def price(of: Coupons, one: Basket, *found: tuple[int, int]) -> Any:
    """The basket with coupons (campaign, upc), at its own time."""
    return of.price(one, found, of.at(one), 5)


class Prices(unittest.TestCase):
    """What coupons take off a basket."""

    def test_a_sum_is_shared_by_largest_remainder_and_ties_go_to_the_first(self):
        self.assertEqual(largest_remainder(500, [300, 700]), [150, 350])
        self.assertEqual(largest_remainder(100, [1, 1, 1]), [34, 33, 33])
        self.assertEqual(largest_remainder(5, [0, 2, 1]), [0, 3, 2])
        for seed in range(200):
            rng = random.Random(seed)
            weights = [rng.randrange(1, 90) for _ in range(rng.randrange(1, 9))]
            total = rng.randrange(sum(weights) + 1)
            shares = largest_remainder(total, weights)
            self.assertEqual(sum(shares), total)
            for share, weight in zip(shares, weights, strict=True):
                self.assertLess(abs(share * sum(weights) - total * weight), sum(weights))

    def test_it_is_never_more_than_what_is_left_and_nothing_left_is_no_effect(self):
        one = basket((SOAP, 300), (MILK, 900))
        found = price(journey(one), one, (1, 10), (9, 10))
        self.assertEqual(found.verdicts, {"10-1": Verdict(300, ""), "10-9": Verdict(0, "no_effect")})
        self.assertEqual((found.lines, found.total), ({"1": 300, "2": 0}, 900))

    def test_offers_apply_by_id_as_text(self):
        one = basket((SOAP, 700))
        found = price(journey(one), one, (9, 10), (10, 10))
        self.assertEqual(found.verdicts, {"10-10": Verdict(500, ""), "10-9": Verdict(200, "")})

    def test_line_ids_tie_as_text(self):
        one = basket(*[(MILK, 5)] * 1, *[(SOAP, 100)] * 10)
        found = price(journey(one, v10=1), one, (1, 10))
        self.assertEqual([line_id for line_id, minor in found.lines.items() if minor], ["10"])

    def test_a_window_is_from_included_until_excluded_and_its_last_day_counts_whole(self):
        one = basket((SOAP, 900))
        of = journey(one)
        starts, ends = of.window(1)
        self.assertEqual(ends - starts, timedelta(days=7))
        second = timedelta(seconds=1)
        reasons = [of.price(one, [(1, 10)], at, 5).verdicts["10-1"].reason
                   for at in (starts - second, starts, ends - second, ends)]
        self.assertEqual(reasons, ["not_started starts_at", "", "", "ended"])

    def test_only_the_audience_and_only_its_products(self):
        one = basket((SOAP, 900))
        of = journey(one)
        self.assertEqual(of.price(one, [(1, 10)], of.at(one), 6).verdicts["10-1"], Verdict(0, SEGMENT_UNMET))
        self.assertEqual(price(of, one, (1, 20)).verdicts["20-1"], Verdict(0, NO_LINES))
        of.restricted.add(SOAP)
        self.assertEqual(price(of, one, (1, 10)).verdicts["10-1"], Verdict(0, NO_LINES))

    def test_the_median_is_the_lower_one(self):
        for values in ([3], [1, 2], [5, 1, 9], [4, 4, 1, 7]):
            self.assertEqual(lower_median(values), statistics.median_low(values))


class Redemptions(unittest.TestCase):
    """What a redemption comes to, and why."""

    def test_any_basket_of_the_day_will_do(self):
        of = journey(basket((MILK, 100)), basket((SOAP, 900), number=8), redeemed=((1, 10), (1, 20)))
        priced, verdicts = settle_redemptions(of)
        self.assertEqual(set(priced), {"b7", "b8"})
        self.assertEqual([verdict.reason for verdict in verdicts.values()], ["", NO_LINES])
        self.assertEqual(set(applied_orders(of, priced).values()), {"b8"})

    def test_a_discount_counts_before_a_reason(self):
        self.assertEqual(best([Verdict(0, NO_LINES), Verdict(0, "no_effect"), Verdict(5, "")]), Verdict(5, ""))
        self.assertEqual(best([Verdict(0, NO_LINES), Verdict(0, "no_effect")]), Verdict(0, "no_effect"))
        self.assertEqual(best([]).reason, "no cart")

    def test_the_data_says_why(self):
        def why(*baskets: Basket, reason: str = NO_LINES) -> str:
            return journey(*baskets).why(Redeemed(5, 1, 10, DAY), reason)

        self.assertIn("bought nothing", why())
        self.assertIn("none of its products", why(basket((TEA, 1))))
        self.assertIn("lines of quantity 0 and value 0 alone", why(basket(ghosts=(TEA,))))
        self.assertIn("its product stands on a line of quantity 0", why(basket((TEA, 1), ghosts=(SOAP,))))
        self.assertIn("cost nothing", why(basket((SOAP, 0)), reason="no_effect"))
        self.assertIn("other coupons", why(basket((SOAP, 9)), reason="no_effect"))


class Loaded(unittest.TestCase):
    """What is sent to the catalogue."""

    campaign = coupons.Campaign(26, "Type B", "2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z", 118, [5])

    def test_a_coupon_is_a_promo_for_its_segment(self):
        document = coupons.Coupon(self.campaign, 51380041013, ["1", "2"], 50_000, was_seen=False).document()
        self.assertEqual(document["codes"], ["51380041013-26"])
        self.assertEqual(document["conditions"], {"segments": ["campaign-26"]})
        self.assertEqual(document["limits"], {"per_customer": 2, "total": 236})
        self.assertEqual(document["ends_at"], "2025-02-01T00:00:00Z")

    def test_a_copy_differs_in_code_and_window_alone(self):
        coupon = coupons.Coupon(self.campaign, 51380041013, ["1"], 50_000, was_seen=False)
        document, copy = coupon.document(), coupon.copy()
        self.assertEqual(copy.pop("codes"), ["51380041013-26-T"])
        self.assertEqual(copy, {k: v for k, v in document.items() if k not in ("codes", "starts_at", "ends_at")})

    def test_a_value_is_seen_on_the_products_of_the_redeemers_day_alone(self):
        days = pd.Series(pd.to_datetime(["2017-12-16"] * 3 + ["2017-12-17"]))
        data = {
            "transactions": pd.DataFrame(
                {
                    "household_id": [5, 5, 6, 5],
                    "product_id": [SOAP, MILK, SOAP, SOAP],
                    "coupon_disc": [0.5, 2.0, 3.0, 4.0],
                }
            ),
            "coupons": pd.DataFrame({"coupon_upc": [10, 10], "product_id": [SOAP, SOAP], "campaign_id": [1, 1]}),
            "coupon_redemptions": pd.DataFrame(
                {"household_id": [5], "coupon_upc": [10], "campaign_id": [1], "redemption_date": days[:1]}
            ),
        }
        self.assertEqual(coupons.seen_values(data, days), {(1, 10): [25_000]})

    def test_lists_of_changes_are_bounded_in_number_and_bytes(self):
        puts = [{"id": str(i)} for i in range(redeem.MAX_CHANGES + 1)]
        self.assertEqual([len(changes) for changes in redeem.change_lists(puts)], [redeem.MAX_CHANGES, 1])
        large = [{"id": "x" * (redeem.MAX_BODY_BYTES // 2)}] * 3
        self.assertEqual([len(changes) for changes in redeem.change_lists(large)], [1, 1, 1])
        self.assertEqual(redeem.change_lists([]), [])


QUOTE = {
    "quote_id": "q",
    "applied": [{"code": "10-1", "discount_minor": 300}],
    "rejected": [
        {"code": "20-1", "reason": "no_matching_lines", "condition": "selector"},
        {"code": "x", "reason": "ended"},
    ],
    "lines": [{"line_id": "1", "discount_minor": 300}],
    "total_minor": 600,
}


class Compared(unittest.TestCase):
    """A difference is seen."""

    def test_a_quote_is_read(self):
        found = redeem.read_quote(QUOTE)
        self.assertEqual(found.verdicts, {"10-1": (300, ""), "20-1": (0, NO_LINES), "x": (0, "ended")})

    def test_each_field_of_a_quote_is_compared(self):
        one = basket((SOAP, 900))
        expected = price(journey(one), one, (1, 10), (1, 20))
        right = redeem.Tried({"10-1": (500, ""), "20-1": (0, NO_LINES)}, {"1": 500}, 400)
        self.assertEqual(quote_differences("b7", expected, right), [])
        for wrong in (
            redeem.Tried({"10-1": (499, ""), "20-1": (0, NO_LINES)}, {"1": 500}, 400),
            redeem.Tried({"10-1": (500, ""), "20-1": (0, "ended")}, {"1": 500}, 400),
            redeem.Tried({"10-1": (500, "")}, {"1": 500}, 400),
            redeem.Tried(right.verdicts, {"1": 499}, 400),
            redeem.Tried(right.verdicts, {"1": 500}, 401),
        ):
            self.assertEqual(len(quote_differences("b7", expected, wrong)), 1)
        self.assertEqual(quote_differences("b7", expected, None), ["b7: not tried"])
        self.assertEqual(quote_differences("b7", None, right), ["b7: not expected"])

    def test_trust_counts_the_orders_that_trials_cancelled(self):
        noon = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
        zeros = dict.fromkeys(("balance", "available", "held", "pending", "under_review"), 0)
        trust = {"score": 50, "total_orders": 1, "completed_orders": 0}
        reading = Reading("h5", noon, zeros | {"tier": "bronze"}, trust)
        year = Year(read_policy(), noon - timedelta(days=9), {5: []})
        self.assertEqual(card_differences(reading, year, {"h5": 1}), [])
        self.assertEqual([d.field for d in card_differences(reading, year, {"h6": 1})], ["trust.total_orders"])

    def test_what_the_server_answered_is_what_is_summed_up(self):
        of = journey(basket((SOAP, 900)), redeemed=((1, 10),))
        tries = redeem.Tries(quotes={"b7": redeem.Tried({"10-1": (123, "")}, {}, 0)})
        self.assertEqual(list(answered(of, tries).values()), [Verdict(123, "")])


class Server:
    """Holds, captures and usage of one promo, as a server would answer them, or one with a fault: `lost` uses are
    not counted, `limitless` ones are never refused, `silent` ones are not said to be held."""

    def __init__(self, price_of: dict[str, int], *faults: str) -> None:
        self.price_of, self.faults = price_of, faults
        self.holds: dict[str, list] = {}
        self.cancelled: set[str] = set()

    def get(self, path: str) -> Any:
        """Usage, or a hold's state."""
        if path.endswith("/usage"):
            taken = [h for h in self.holds.values() if h[0] == "captured" and h[1] not in self.cancelled]
            if "lost" in self.faults:
                taken = []
            held = sum(h[0] == "held" for h in self.holds.values() if "silent" not in self.faults)
            return {"taken": len(taken), "held": held, "discount_minor": sum(self.price_of.values()) * len(taken)}
        return {"state": self.holds[path.rsplit("/", 1)[1]][0]}

    def answer(self, path: str, body: Any) -> Any:
        """A change."""
        if path.endswith("/changes"):
            return {"changed": body["changes"]}
        if path.endswith("/events"):
            self.cancelled.add(body["order_id"])
            return {"results": [{"outcome": "applied"}]}
        if path.endswith("/holds"):
            uses = sum(h[0] != "released" and h[1] not in self.cancelled for h in self.holds.values())
            if uses >= coupons.USES_PER_HOUSEHOLD and "limitless" not in self.faults:
                raise ApiError(path, 422, "promo_not_applicable", "")
            name = f"hold{len(self.holds)}"
            self.holds[name] = ["held", ""]
            applied = [{"code": code, "discount_minor": minor} for code, minor in self.price_of.items()]
            return QUOTE | {"applied": applied, "rejected": [], "hold": {"hold_id": name}}
        name, verb = path.rsplit("/", 2)[1:]
        self.holds[name] = ["released" if verb == "release" else "captured", body.get("order_id", "")]
        return {"total_minor": 400, "uncovered": []}


def made(server: Server, fate: str) -> list[str]:
    """The differences of one trial with that fate."""
    one = basket((SOAP, 900))
    of = journey(one)
    trial = trials.Trial(one, ((1, 10),), price(of, one, (1, 10)), fate)
    campaign = coupons.Campaign(1, "Type A", "", "", 1, [5])
    data = coupons.Journey(of.shift, {1: campaign}, {(1, 10): coupons.Coupon(campaign, 10, ["1"], 500, True)}, [], {})
    placed = {"b7": {"customer_id": "h5", "shop_id": "s2", "at": "2026-11-07T07:00:00Z", "lines": []}}
    before = trials.post_new, trials.load_promos, trials.SETTLING_S
    trials.post_new = lambda client, path, body: client.answer(path, body)
    trials.load_promos, trials.SETTLING_S = (lambda client, promos: 1), 0.0
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return trials.run(server, server, data, placed, [trial])
    finally:
        trials.post_new, trials.load_promos, trials.SETTLING_S = before


class Trials(unittest.TestCase):
    """Real holds of the last month."""

    def test_the_last_month_on_the_first_basket_that_it_applies_to(self):
        first, second = basket((MILK, 1)), basket((SOAP, 900), number=8, hour=13)
        third = basket((SOAP, 900), number=9, hour=14)
        old = basket((SOAP, 900), number=6, day=date(2017, 11, 30))
        of = journey(first, second, third, old, redeemed=((1, 10),))
        of.redeemed.append(Redeemed(5, 1, 10, old.day))
        planned = trials.plan(of)
        self.assertEqual([(t.basket.number, t.coupons, t.priced.total) for t in planned], [(8, ((1, 10),), 400)])

    def test_a_coupon_to_which_the_others_leave_nothing_is_not_held(self):
        of = journey(basket((SOAP, 300)), redeemed=((1, 10), (9, 10)))
        self.assertEqual([trial.coupons for trial in trials.plan(of)], [((1, 10),)])

    def test_only_what_stays_captured_counts(self):
        one = basket((SOAP, 900))
        priced = price(journey(one), one, (1, 10))
        planned = [trials.Trial(one, ((1, 10),), priced, fate)
                   for fate in (trials.KEPT, trials.KEPT, trials.RELEASED, trials.CANCELLED)]
        self.assertEqual(trials.expected_usage(planned), {"t1-10": trials.Use(2, 0, 1_000)})
        self.assertEqual(trials.cancelled_orders(planned), {"h5": 1})

    def test_every_fate_ends_as_planned_and_a_third_use_is_refused(self):
        ends = {
            trials.KEPT: [["captured", "b7"], ["released", ""]],  # the second use, held while a third was refused
            trials.RELEASED: [["released", ""]],
            trials.CANCELLED: [["captured", "b7-t"]],
        }
        for fate, holds in ends.items():
            server = Server({"10-1-T": 500})
            self.assertEqual(made(server, fate), [], fate)
            self.assertEqual(list(server.holds.values()), holds)
            self.assertEqual(server.cancelled, {"b7-t"} if fate == trials.CANCELLED else set())

    def test_what_was_made_before_is_not_made_again(self):
        server = Server({"10-1-T": 500})
        made(server, trials.KEPT)
        before = dict(server.holds)
        self.assertEqual(made(server, trials.KEPT), [])
        self.assertEqual(server.holds, before)

    def test_a_fault_of_the_server_is_seen(self):
        for fault, told in (("lost", "usage of t1-10"), ("limitless", "a third use"), ("silent", "held by a second")):
            found = made(Server({"10-1-T": 500}, fault), trials.KEPT)
            self.assertTrue(any(told in one for one in found), (fault, found))
        self.assertTrue(any("hold's offers" in one for one in made(Server({"10-1-T": 499}), trials.KEPT)))


if __name__ == "__main__":
    unittest.main()
