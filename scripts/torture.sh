#!/usr/bin/env bash
# Builds the server and does the worst to it; arguments go to `adal-load-tests torture`: --store, --only, --count, --seed.
# A debug build, as the tests have it: its sums and assertions check more.
#   STORE=sqlite|cql   on that store alone; else on both, one after the other
#   ADAL_BIN=PATH      tortures that server
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

store="${STORE:-sqlite,cql}"
case "$store" in
sqlite | cql | sqlite,cql) ;;
*) die "STORE is sqlite or cql, and both where it is not given; not $store" ;;
esac
case " $* " in
*" --store"*) ;;
*) set -- --store "$store" "$@" ;;
esac
scripts/setup.sh test
cargo build --locked -p adal -p adal-load-tests --bins
built="$(target_dir)/debug"
exec "$built/adal-load-tests" torture --adal "${ADAL_BIN:-$built/adal}" "$@"
