"""The real campaigns through a running server: loaded, every redemption tried, the last month's held and captured, and
all of it compared with a second calculation. `replay.py` runs it between the orders and the comparison of the cards.
"""

from collections import Counter
from dataclasses import dataclass

from client import Client
from compare_coupons import compare, report
from convert import Converted, Options
from coupons import read_carts, read_journey
from expected_coupons import read_coupons
from redeem import load, print_latency, redemption_carts, try_redemptions
from rules import Policy
from trials import cancelled_orders, plan, run


@dataclass(frozen=True)
class Outcome:
    """What came of it: how much differs, and by customer the orders that trust counts beside the replayed ones."""

    differences: int
    cancelled: Counter[str]


def replay_campaigns(service: Client, admin: Client, options: Options, converted: Converted, policy: Policy) -> Outcome:
    """All of it. The orders must have been sent: real holds are captured for them."""
    households = [int(customer.removeprefix("h")) for customer in converted.customers]
    journey = read_journey(options, households)
    carts = read_carts(converted, journey)
    load(service, admin, journey)
    found = redemption_carts(journey, carts)
    tries = try_redemptions(admin, found)
    placed = {basket["order_id"]: basket for baskets in carts.values() for basket in baskets}
    coupons = read_coupons(policy, options.today, households, options.clock)
    differences = compare(admin, coupons, tries, placed)
    trials = plan(coupons)
    wrong = run(service, admin, journey, placed, trials)
    if wrong:
        report(wrong, "holds and captures")
    print_latency(tries, sum(len(basket["lines"]) for basket, _ in found), len(journey.coupons))
    return Outcome(len(differences) + len(wrong), cancelled_orders(trials))
