#!/usr/bin/env bash
# The grocer's year through the real server (release build) on an empty store, with everything at its default; exits 0
# only where the second calculation agrees to the point. Arguments go to replay.py, e.g. `--households 200`.
#   ADAL_BIN=PATH        takes that binary and builds nothing
#   STORE=cql            on a real Cassandra in place of SQLite
#   REPLAY_DATA=FOLDER   default .cache/replay-data; emptied first, kept afterwards to look at
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. scripts/server.sh
. scripts/cql.sh

data="$(whole_path "${REPLAY_DATA:-$CACHE/replay-data}")"
only_one "$(basename "$data")"

scripts/setup.sh test
binary="${ADAL_BIN:-}"
if [ -z "$binary" ]; then
    cargo build --release --locked --bin adal
    binary="$(target_dir)/release/adal"
fi
[ -x "$binary" ] || die "there is no server at $binary"

store="${STORE:-sqlite}"
case "$store" in
sqlite) ;;
cql)
    rm -rf "$data.cassandra"
    start_cql "$data.cassandra" "$binary"
    ;;
*) die "STORE is sqlite (the default) or cql, not $store" ;;
esac
start_server "$binary" "$data"
key="$(make_key "$binary" "$data" service)"
admin_key="$(make_key "$binary" "$data" admin)"
code=0
# By variable: a key on the command line can be read by everybody on the machine.
ADAL_KEY="$key" ADAL_ADMIN_KEY="$admin_key" "$VENV/bin/python" load-tests/replay/replay.py --url "$SERVER_URL" "$@" || code=$?
stop_server
stop_cql
exit "$code"
