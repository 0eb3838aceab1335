"""A real grocer's year through a running server: convert, send, load campaigns and coupons, try their redemptions at
checkout, calculate a second time, compare.

Exits 0 only where every event was taken, every quote, hold and usage is as expected, to the minor unit, and every
household's card and trust, to the point.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

from client import ApiError, Client, add_server_options, check_key

try:
    from campaigns import replay_campaigns
    from compare import report
    from convert import add_options, convert, options_from, print_counts
    from expected import read_policy, read_year
    from reading import print_cards, read_all
    from send import send
except ModuleNotFoundError as missing:
    sys.exit(
        f"replay: {missing.name} is missing: run load-tests/replay/setup.sh, "
        "then .cache/replay-venv/bin/python load-tests/replay/replay.py"
    )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_server_options(parser)
    add_options(parser)
    parser.add_argument("--policy", type=Path, default=None, help="default: policy.json beside this script")
    args = parser.parse_args()
    check_key(parser, args)
    if not args.admin_key:
        parser.error("an admin key is needed for the coupons: --admin-key or ADAL_ADMIN_KEY")
    return args


def main() -> int:
    """The whole replay."""
    args = parse()
    started = time.monotonic()
    # Fixed here once: a midnight between the steps must not give them different years.
    options = options_from(args)
    converted = convert(options)
    print_counts(converted)
    try:
        tally = send(args.url, args.key, converted, args.connections)
        policy = read_policy(args.policy)
        service, admin = Client(args.url, args.key), Client(args.url, args.admin_key)
        campaigns = replay_campaigns(service, admin, options, converted, policy)
        year = read_year(policy, **dataclasses.asdict(options))
        readings = read_all(args.url, args.key, [f"h{household}" for household in year.orders], args.connections)
    except ApiError as error:
        print(f"replay: {error}", file=sys.stderr)
        return 1
    print_cards(readings)
    differing = report(readings, year, campaigns.cancelled)
    good = not differing and not tally.refused() and not campaigns.differences
    print(f"replay: {'as expected' if good else 'NOT as expected'}, {time.monotonic() - started:.0f} s in all")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
