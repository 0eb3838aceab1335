"""The rules by which odd lines and baskets become events."""

import unittest
from collections import Counter
from datetime import date, datetime, timedelta
from types import SimpleNamespace

import pandas as pd

import convert
import expected


def row(quantity: int, minor: int, product: int = 7, category: object = "rolls") -> SimpleNamespace:
    """A source line of one basket."""
    wall = pd.Timestamp(datetime(2017, 12, 31, 23, 1, 20))
    return SimpleNamespace(
        household_id=1, store_id=2, basket_id=3, product_id=product, quantity=quantity, minor=minor, wall=wall,
        category=category, brand="national",
    )


def events(*rows: SimpleNamespace) -> tuple[list[dict], Counter]:
    """The basket's events and counts."""
    counts: Counter[str] = Counter()
    return list(convert.events_of(list(rows), timedelta(0), counts)), counts


class Baskets(unittest.TestCase):
    """What is sent for a basket."""

    def test_placed_and_completed_at_the_same_shop_time(self):
        found, _ = events(row(2, 1_000), row(3, 1_000))
        self.assertEqual([event["event_id"] for event in found], ["b3-p", "b3-c"])
        self.assertEqual({event["at"] for event in found}, {"2017-12-31T17:01:20Z"})  # Almaty was at +6 then
        self.assertEqual(found[0]["lines"][0]["unit_price_minor"], 500)
        self.assertEqual(found[0]["lines"][1]["line_total_minor"], 1_000)
        self.assertEqual(found[1]["paid_minor"], 2_000)

    def test_quantity_0_is_skipped_without_value_and_one_piece_with(self):
        found, counts = events(row(0, 0), row(0, 700))
        self.assertEqual([(line["line_id"], line["quantity"]) for line in found[0]["lines"]], [("1", 1)])
        self.assertEqual(counts["lines_quantity_0"], 2)

    def test_a_basket_worth_nothing_is_kept_with_lines_and_skipped_without(self):
        self.assertEqual(events(row(1, 0))[0][1]["paid_minor"], 0)
        self.assertEqual(events(row(0, 0))[0], [])

    def test_a_missing_category_is_left_out(self):
        self.assertNotIn("category", events(row(1, 500, category=float("nan")))[0][0]["lines"][0])


class Values(unittest.TestCase):
    """Money, categories, weeks: exact, and the same as the second calculation's."""

    def test_money_is_exact(self):
        self.assertEqual([convert.minor_units(v) for v in (0.29, 1.776357e-15, 840.0)], [14_500, 0, 42_000_000])
        with self.assertRaises(ValueError):
            convert.minor_units(0.295)

    def test_categories_agree(self):
        for name in ("CIGARETTES", "CHRISTMAS  SEASONAL", "DINNER MXS:DRY", "FLORAL- HARD GOODS", "MEAT - MISC"):
            self.assertEqual(convert.category_id(name), expected.category(name))
        self.assertEqual(convert.category_id("DELI SPECIALTIES (RETAIL PK)"), "deli-specialties-retail-pk")

    def test_weeks_agree(self):
        for last in (date(2017, 12, 31), date(2018, 1, 1)):
            for offset in range(800):
                today = date(2025, 1, 1) + timedelta(days=offset)
                self.assertEqual(convert.week_shift(last, today), expected.whole_weeks(last, today))


if __name__ == "__main__":
    unittest.main()
