#!/usr/bin/env bash
# Builds the server as it is shipped and the benchmarks, and runs them; arguments go to `adal-load-tests bench`.
#   ADAL_BIN=PATH   measures that server
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The rows on CQL need a Cassandra; all the others nothing.
case "$*" in
*--only*cql* | *--only*take-over*) scripts/setup.sh cql ;;
*--only*) ;;
*) scripts/setup.sh cql ;;
esac
cargo build --release --locked -p adal -p adal-load-tests --bins
release="$(target_dir)/release"
exec "$release/adal-load-tests" bench --adal "${ADAL_BIN:-$release/adal}" "$@"
