#!/usr/bin/env bash
# Sets up, builds and runs `adal demo`. The debug build: it is there in half the time, and fast enough to try things.
#   STORE=cql    on a real Cassandra, set up in .cache/cassandra, its files in data/demo-cassandra, in place of SQLite
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

store="${STORE:-sqlite}"
case "$store" in
sqlite | cql) ;;
*) die "STORE is sqlite (the default) or cql, not $store" ;;
esac
scripts/setup.sh demo
if [ "$store" = cql ]; then scripts/setup.sh cql; fi
say "build: the first one takes some minutes"
cargo build --locked --bin adal
binary="$(target_dir)/debug/adal"
if [ "$store" = sqlite ]; then exec "$binary" demo "$@"; fi

. scripts/server.sh
. scripts/cql.sh
trap stop_cql EXIT
# The demo ends by itself on Ctrl-C; the script then stops its store.
trap : INT
start_cql "$ROOT/data/demo-cassandra" "$binary"
code=0
"$binary" demo "$@" || code=$?
exit "$code"
