"""The last month's redemptions as real holds and captures.

A hold is made at the server's present, and the coupons' windows lie in the past. So each coupon is held through a copy:
the same promo without a window, under a code of its own; all else (products, value, segment, limits) is the same.

Every basket of the month on which a coupon applies is held with `expected_total_minor` from the second calculation. By
the last digit of the basket's number some holds are released, some are captured for an order that is then cancelled by
the system, and the others are captured for the basket's own order. Some of those are held a second time, and a third
time in vain: the limit counts what is held. In the end the copies' usage must be what was captured and not cancelled.

A store on which all of it was done before (the usage says so) is not asked again.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from client import ApiError, Client
from coupons import Journey, cart_body, copy_code, copy_id
from expected_coupons import Basket, Coupons, Priced
from redeem import load_promos, post_new, read_quote
from send import FINE

KEPT, RELEASED, CANCELLED = "captured", "released", "captured and cancelled"
FATES = {5: RELEASED, 8: CANCELLED}  # by the basket number's last digit: the same whichever households are replayed
THIRD_USES = 3
SETTLING_S, SETTLING_TRIES = 5.0, 25


@dataclass(frozen=True)
class Trial:
    """A basket with the coupons to be held on it, and what is to become of the hold."""

    basket: Basket
    coupons: tuple[tuple[int, int], ...]
    priced: Priced
    fate: str

    @property
    def order(self) -> str:
        """The order that it pays: the basket's own, or one that is there to be cancelled."""
        return f"b{self.basket.number}" + ("-t" if self.fate == CANCELLED else "")


@dataclass(frozen=True)
class Use:
    """A promo's usage."""

    taken: int
    held: int
    discount_minor: int


def plan(coupons: Coupons) -> list[Trial]:
    """The trials of the year's last month, by time: each redemption on its day's first basket on which it applies."""
    days = sorted({day for _, day in coupons.baskets})
    month = days[-1].replace(day=1) if days else None
    on: dict[int, set[tuple[int, int]]] = defaultdict(set)
    by_number: dict[int, Basket] = {}
    for one in coupons.redeemed:
        if month is None or one.day < month:
            continue
        for basket in coupons.baskets.get((one.household, one.day), []):
            alone = coupons.price(basket, [(one.campaign, one.upc)], None, one.household)
            if any(verdict.minor for verdict in alone.verdicts.values()):
                on[basket.number].add((one.campaign, one.upc))
                by_number[basket.number] = basket
                break
    trials = []
    for number in sorted(on, key=lambda number: (by_number[number].wall, number)):
        basket = by_number[number]
        found = coupons.price(basket, on[number], None, basket.household)
        # Together they may leave one nothing; a hold with such a code would be refused.
        lasting = [one for one in on[number] if found.verdicts[f"{one[1]}-{one[0]}"].minor]
        priced = coupons.price(basket, lasting, None, basket.household)
        trials.append(Trial(basket, tuple(sorted(lasting)), priced, FATES.get(number % 10, KEPT)))
    return trials


def expected_usage(trials: Iterable[Trial]) -> dict[str, Use]:
    """By copy: what stays of the captures."""
    taken, minor = Counter(), Counter()
    for trial in trials:
        for campaign, upc in trial.coupons:
            name = copy_id(campaign, upc)
            taken[name] += trial.fate == KEPT
            minor[name] += trial.priced.verdicts[f"{upc}-{campaign}"].minor if trial.fate == KEPT else 0
    return {name: Use(taken[name], 0, minor[name]) for name in taken}


def cancelled_orders(trials: Iterable[Trial]) -> Counter[str]:
    """By customer: the orders that the trials cancel; trust counts them."""
    return Counter(f"h{trial.basket.household}" for trial in trials if trial.fate == CANCELLED)


def settled_usage(admin: Client, expected: Mapping[str, Use]) -> dict[str, Use]:
    """By promo, once it is as expected, or after some seconds whatever it is: a release is answered when it is certain,
    and reaches the promos after that."""
    for _ in range(SETTLING_TRIES):
        found = read_usage(admin, expected)
        if found == expected:
            break
        time.sleep(SETTLING_S / SETTLING_TRIES)
    return found


def read_usage(admin: Client, names: Iterable[str]) -> dict[str, Use]:
    """By promo."""
    found = {}
    for name in names:
        usage = admin.get(f"/v1/promos/{name}/usage")
        found[name] = Use(usage["taken"], usage["held"], usage["discount_minor"])
    return found


@dataclass
class Maker:
    """Makes the trials and notes what is not as expected."""

    service: Client
    admin: Client
    journey: Journey
    placed: dict[str, dict[str, Any]]
    differences: list[str]

    def body(self, trial: Trial, ttl_s: int = 900) -> dict[str, Any]:
        """The hold's request; another `ttl_s` makes it another request."""
        codes = [copy_code(campaign, upc) for campaign, upc in trial.coupons]
        cart = cart_body(self.placed[f"b{trial.basket.number}"], codes)
        return cart | {"ttl_s": ttl_s, "expected_total_minor": trial.priced.total}

    def expect(self, trial: Trial, what: str, expected: Any, found: Any) -> None:
        """Notes a difference."""
        if expected != found:
            self.differences.append(f"{trial.order} ({trial.fate}) {what}: expected {expected}, found {found}")

    def make(self, trial: Trial) -> None:
        """One hold, to its end."""
        try:
            quote = post_new(self.service, "/v1/checkout/holds", self.body(trial))
            verdicts = {f"{code}-T": tuple(verdict) for code, verdict in trial.priced.verdicts.items()}
            self.expect(trial, "hold's offers", verdicts, read_quote(quote).verdicts)
            path = f"/v1/checkout/holds/{quote['hold']['hold_id']}"
            if trial.fate == RELEASED:
                post_new(self.service, f"{path}/release", {})
            else:
                sold = post_new(self.service, f"{path}/capture", {"order_id": trial.order})
                self.expect(trial, "captured total", trial.priced.total, sold["total_minor"])
                self.expect(trial, "uncovered", [], sold["uncovered"])
            if trial.fate == CANCELLED:
                self.cancel(trial)
            state = RELEASED if trial.fate == RELEASED else "captured"
            self.expect(trial, "hold's state", state, self.service.get(path)["state"])
        except ApiError as error:
            self.differences.append(f"{trial.order} ({trial.fate}): {error}")

    def cancel(self, trial: Trial) -> None:
        """The shop's system cancels the order: its uses come back."""
        placed = self.placed[f"b{trial.basket.number}"]
        event = {
            "event_id": f"{trial.order}-x",
            "type": "cancelled",
            "order_id": trial.order,
            "customer_id": placed["customer_id"],
            "shop_id": placed["shop_id"],
            "at": placed["at"],
            "by": "system",
        }
        answer = post_new(self.service, "/v1/orders/events", event)
        outcome = answer["results"][0]["outcome"]
        self.expect(trial, "cancellation", True, outcome in FINE or outcome)

    def third_use(self, trial: Trial) -> None:
        """A second use is held, a third is refused for it; the second is then let go."""
        try:
            self._third_use(trial)
        except ApiError as error:
            self.differences.append(f"{trial.order}, a further use: {error}")

    def _third_use(self, trial: Trial) -> None:
        second = post_new(self.service, "/v1/checkout/holds", self.body(trial, 901))
        path = f"/v1/checkout/holds/{second['hold']['hold_id']}"
        if self.service.get(path)["state"] == RELEASED:
            return  # the recorded answer of an earlier run, of fewer households
        names = [copy_id(*one) for one in trial.coupons]
        held = {name: use.held for name, use in read_usage(self.admin, names).items()}
        self.expect(trial, "held by a second use", dict.fromkeys(names, 1), held)
        try:
            post_new(self.service, "/v1/checkout/holds", self.body(trial, 902))
            refusal = "held"
        except ApiError as error:
            refusal = error.code
        self.expect(trial, "a third use", "promo_not_applicable", refusal)
        post_new(self.service, f"{path}/release", {})


def once_used(trials: Sequence[Trial]) -> list[Trial]:
    """Captured trials whose household uses their coupons nowhere else: for these a third use is one too many."""
    uses = Counter((trial.basket.household, one) for trial in trials for one in trial.coupons)
    alone = (trial for trial in trials if all(uses[trial.basket.household, one] == 1 for one in trial.coupons))
    return [trial for trial in alone if trial.fate == KEPT][:THIRD_USES]


def run(
    service: Client, admin: Client, journey: Journey, placed: dict[str, dict[str, Any]], trials: Sequence[Trial]
) -> list[str]:
    """Makes the trials, or finds them made; what is not as expected."""
    expected = expected_usage(trials)
    copies = sorted({one for trial in trials for one in trial.coupons})
    load_promos(admin, ((copy_id(*one), journey.coupons[one].copy()) for one in copies))
    fates = Counter(trial.fate for trial in trials)
    holds = ", ".join(f"{count:,} {fate}" for fate, count in fates.most_common())
    print(f"last month: {len(trials):,} baskets with {sum(len(t.coupons) for t in trials):,} coupons as holds: {holds}")
    maker = Maker(service, admin, journey, placed, [])
    if any(use.taken for use in expected.values()) and read_usage(admin, expected) == expected:
        print("  made by an earlier run")
    else:
        for trial in trials:
            maker.make(trial)
        for trial in once_used(trials):
            maker.third_use(trial)
    usage = settled_usage(admin, expected)
    for name, use in expected.items():
        if usage[name] != use:
            maker.differences.append(f"usage of {name}: expected {use}, found {usage[name]}")
    taken, minor = sum(use.taken for use in usage.values()), sum(use.discount_minor for use in usage.values())
    told = "NOT as expected" if maker.differences else "as captured and not cancelled"
    print(f"  usage of {len(usage):,} promos: {taken:,} uses taken, {minor / 100:,.2f} tenge, {told}")
    return maker.differences
