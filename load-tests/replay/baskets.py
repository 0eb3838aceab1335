"""Real baskets as requests to quote, for the benchmarks: loads campaigns and coupons, and writes one request a line: each
basket of a day with a redemption, with all the day's coupons, as of its own time.
"""

import argparse
import json
import sys
from pathlib import Path

from client import ApiError, Client, add_server_options, check_key
from convert import add_options, convert, options_from
from coupons import read_carts, read_journey
from redeem import load, quote_body, redemption_carts


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_server_options(parser)
    add_options(parser)
    parser.add_argument("--out", type=Path, required=True, help="where the requests go")
    args = parser.parse_args()
    check_key(parser, args)
    if not args.admin_key:
        parser.error("an admin key is needed for the coupons: --admin-key or ADAL_ADMIN_KEY")
    return args


def main() -> int:
    """All of it."""
    args = parse()
    options = options_from(args)
    converted = convert(options)
    journey = read_journey(options, [int(customer.removeprefix("h")) for customer in converted.customers])
    found = redemption_carts(journey, read_carts(converted, journey))
    try:
        load(Client(args.url, args.key), Client(args.url, args.admin_key), journey)
    except ApiError as error:
        print(f"baskets: {error}", file=sys.stderr)
        return 1
    with args.out.open("w", encoding="ascii") as out:
        for placed, codes in found:
            out.write(json.dumps(quote_body(placed, codes), separators=(",", ":")) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
