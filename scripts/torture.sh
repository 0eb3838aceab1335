#!/usr/bin/env bash
# Builds the server and does the worst to it; arguments go to `adal-load-tests torture`: --store, --only, --count, --seed.
# A debug build, as the tests have it: its sums and assertions check more.
#   ADAL_BIN=PATH   tortures that server
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/setup.sh test
cargo build --locked -p adal -p adal-load-tests --bins
built="$(target_dir)/debug"
exec "$built/adal-load-tests" torture --adal "${ADAL_BIN:-$built/adal}" "$@"
