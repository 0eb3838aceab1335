"""Feeds the converted year to a server: every household's card first, then its events in their order.

Each connection owns a set of households of its own and has one request in flight, so a household's events are never in
two requests at once. Cards and events are idempotent: a second run finds the cards there and the events duplicates.
"""

import argparse
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from client import ApiError, Client, add_server_options, check_key
from convert import Converted, add_options, convert, options_from, print_counts
from reading import print_cards, read_all

MAX_EVENTS = 500
MAX_BODY_BYTES = 1_000_000
PROGRESS_S = 5.0
FINE = ("applied", "duplicate")


@dataclass
class Tally:
    """What the workers did; shared, hence the lock."""

    cards: int = 0
    events: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    refusals: dict[str, str] = field(default_factory=dict)
    waits: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    stop: threading.Event = field(default_factory=threading.Event)

    def refused(self) -> int:
        """Events that were neither applied nor duplicates."""
        return sum(count for outcome, count in self.outcomes.items() if outcome not in FINE)


def head(line: bytes) -> tuple[str, str]:
    """(customer, event id) of an event as convert.py writes it, the two first; the whole is 240 MB to parse."""
    parts = line.split(b'"', 8)
    if parts[1] != b"customer_id" or parts[5] != b"event_id":
        raise ValueError(f"not an event of convert.py: {line[:80]!r}")
    return parts[3].decode(), parts[7].decode()


def lists(path: Path, owned: set[str]) -> Iterator[tuple[list[str], bytes]]:
    """The owned households' events in the file's order, as (event ids, body) of up to 500."""
    ids: list[str] = []
    lines: list[bytes] = []
    size = 0
    with path.open("rb") as source:
        for line in source:
            customer, event = head(line)
            if customer not in owned:
                continue
            if len(ids) == MAX_EVENTS or (ids and size + len(line) > MAX_BODY_BYTES):
                yield ids, b"[" + b",".join(lines) + b"]"
                ids, lines, size = [], [], 0
            ids.append(event)
            lines.append(line.rstrip())
            size += len(line)
    if ids:
        yield ids, b"[" + b",".join(lines) + b"]"


def issue_cards(client: Client, customers: Sequence[str], since: str, tally: Tally) -> None:
    """A card for each; the key names the date too, for another year is another request."""
    body = json.dumps({"since": since}).encode()
    for customer in customers:
        if tally.stop.is_set():
            return
        client.post(f"/v1/customers/{customer}/card", body, {"Idempotency-Key": f"replay-{customer}-{since}"})
        with tally.lock:
            tally.cards += 1


def post_events(client: Client, path: Path, owned: set[str], tally: Tally) -> None:
    """Posts the lists one after another and checks the answer to each event."""
    for ids, body in lists(path, owned):
        if tally.stop.is_set():
            return
        results = {result["event_id"]: result for result in client.post("/v1/orders/events", body)["results"]}
        with tally.lock:
            tally.events += len(ids)
            for event in ids:
                result = results.get(event, {"outcome": "unanswered"})
                outcome = result["outcome"]
                if outcome not in FINE:
                    outcome = f"{outcome}: {result.get('code', 'no code')}"
                    tally.refusals.setdefault(outcome, f"{event}: {result.get('detail', '')}")
                tally.outcomes[outcome] += 1


def work(url: str, key: str, converted: Converted, customers: Sequence[str], tally: Tally, cards: bool) -> None:
    """One connection's share of a phase; an error stops the others as well."""
    client = Client(url, key)
    try:
        if cards:
            issue_cards(client, customers, converted.since, tally)
        else:
            post_events(client, converted.path, set(customers), tally)
    except BaseException:
        tally.stop.set()
        raise
    finally:
        with tally.lock:
            tally.waits += client.waits


def run_phase(url: str, key: str, converted: Converted, connections: int, tally: Tally, cards: bool) -> float:
    """All connections through one phase, with progress; the seconds it took."""
    started = time.monotonic()
    with ThreadPoolExecutor(connections) as pool:
        shares = [converted.customers[worker::connections] for worker in range(connections)]
        jobs = [pool.submit(work, url, key, converted, share, tally, cards) for share in shares]
        shown = started
        while not all(job.done() for job in jobs):
            time.sleep(0.05)
            if time.monotonic() - shown >= PROGRESS_S:
                shown = time.monotonic()
                print_progress(converted, tally, shown - started, cards)
        for job in jobs:
            job.result()
    return time.monotonic() - started


def print_progress(converted: Converted, tally: Tally, seconds: float, cards: bool) -> None:
    """Where a phase stands."""
    if cards:
        print(f"  {tally.cards:,} of {len(converted.customers):,} cards", flush=True)
    else:
        done, whole = tally.events // 2, converted.counts["orders"]
        print(f"  {done:,} of {whole:,} baskets, {done / seconds:,.0f}/s, {tally.refused():,} refused", flush=True)


def send(url: str, key: str, converted: Converted, connections: int) -> Tally:
    """Both phases and their summary. Cards come first for all: an order that finds no card never earns."""
    tally = Tally()
    seconds = run_phase(url, key, converted, connections, tally, cards=True)
    print(f"cards: {tally.cards:,} in {seconds:.1f} s")
    seconds = run_phase(url, key, converted, connections, tally, cards=False)
    orders, rate = tally.events // 2, tally.events / 2 / max(seconds, 1e-9)
    print(f"baskets: {orders:,}, events: {tally.events:,} in {seconds:.1f} s: {rate:,.0f} baskets/s")
    print("answers: " + ", ".join(f"{outcome} {count:,}" for outcome, count in tally.outcomes.most_common()))
    for outcome, example in tally.refusals.items():
        print(f"  {outcome}, e.g. {example}")
    if tally.waits:
        print(f"waited for the server {tally.waits:,} times")
    return tally


def main() -> int:
    """Converts where needed, sends, reads the cards, sums up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_server_options(parser)
    add_options(parser)
    args = parser.parse_args()
    check_key(parser, args)
    converted = convert(options_from(args))
    print_counts(converted)
    try:
        tally = send(args.url, args.key, converted, args.connections)
        print_cards(read_all(args.url, args.key, converted.customers, args.connections))
    except ApiError as error:
        print(f"replay: {error}", file=sys.stderr)
        return 1
    return 1 if tally.refused() else 0


if __name__ == "__main__":
    sys.exit(main())
