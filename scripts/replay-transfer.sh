#!/usr/bin/env bash
# The way from SQLite to a CQL database, walked with the grocer's year: `make replay` on SQLite, `adal export`, `adal import`
# into a real Cassandra, `adal export` there, the server on it and every household compared with the second calculation as
# the replay does it, and the second file imported into a fresh SQLite store and exported once more.
#   scripts/replay-transfer.sh [--slice | --households N]     all households; --slice: 20
#   ADAL_BIN=PATH        takes that binary and builds nothing (else: the release build; with --slice the debug one)
#   REPLAY_DATA=FOLDER   default .cache/replay-transfer-data; emptied first, kept afterwards to look at
# Exits 0 only where nothing differs. What differs by design, and is counted: the empty row that Cassandra's owners put on an
# entity of another owner's; and the files' heads, which say when and where they were made.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. scripts/server.sh
. scripts/cql.sh

households=()
profile=release
while [ $# -gt 0 ]; do
    case "$1" in
    --slice) households=(--households 20) profile=debug ;;
    --households)
        [ $# -ge 2 ] || die "--households wants a number"
        households=(--households "$2")
        shift
        ;;
    *) die "usage: scripts/replay-transfer.sh [--slice | --households N]" ;;
    esac
    shift
done

data="$(whole_path "${REPLAY_DATA:-$CACHE/replay-transfer-data}")"
only_one "$(basename "$data")"

scripts/setup.sh test
binary="${ADAL_BIN:-}"
if [ -z "$binary" ]; then
    case "$profile" in
    release) cargo build --release --locked --bin adal ;;
    debug) cargo build --locked --bin adal ;;
    esac
    binary="$(target_dir)/$profile/adal"
fi
[ -x "$binary" ] || die "there is no server at $binary"

python="$VENV/bin/python"
figures=()

# timed NAME COMMAND..: runs it, and keeps how long it took.
timed() {
    local name="$1" begun ended
    shift
    begun="$(date +%s%N)"
    "$@"
    ended="$(date +%s%N)"
    figures+=("$name: $(((ended - begun) / 1000000)) ms")
}

# on_file DATABASE WORDS..: a command on a SQLite store, whatever store stands in the environment.
on_file() {
    local database="$1"
    shift
    env ADAL__STORE__KIND=sqlite ADAL__STORE__SQLITE__PATH="$database" ADAL__LOG__LEVEL=warn "$binary" "$@"
}

# The same day for both: a midnight in between would move the year.
today="$(cd load-tests/replay && "$python" -c 'from convert import today_in_shop; print(today_in_shop())')"

say "transfer: the replay on SQLite"
rm -rf "$data" "$data.cassandra"
mkdir -p "$data"
REPLAY_DATA="$data/sqlite" STORE=sqlite ADAL_BIN="$binary" \
    scripts/replay.sh "${households[@]}" --today "$today" 8>&-
database="$data/sqlite/adal.db"
# Carried over with the others.
key="$(on_file "$database" keys create --role service)"

say "transfer: from SQLite to Cassandra"
timed "export from SQLite" on_file "$database" export "$data/first.adal" --json >"$data/first.json"
rows="$(sed -n 's/.*"rows": \([0-9]*\).*/\1/p' "$data/first.json")"
bytes="$(wc -c <"$data/first.adal")"
trap 'stop_server; stop_cql' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
start_cql "$data.cassandra" "$binary"
# The two keys that are files of their own are carried over by hand.
cp "$database.qr-keys" "$data/qr-keys"
cp "$database.hashing-key" "$data/hashing-key"
export ADAL__QR__FILE="$data/qr-keys" ADAL__HASHING__FILE="$data/hashing-key" ADAL__LOG__LEVEL=warn
timed "import into Cassandra" "$binary" import "$data/first.adal"
timed "export from Cassandra" "$binary" export "$data/second.adal"
differs=0
"$python" load-tests/replay/compare_exports.py "$data/first.adal" "$data/second.adal" | tee "$data/there.txt" || differs=1

say "transfer: every household on Cassandra"
run_server "$binary" "$data/server"
ADAL_KEY="$key" "$python" load-tests/replay/compare.py --url "$SERVER_URL" --today "$today" "${households[@]}" |
    tee "$data/households.txt" || differs=1
stop_server
timed "check on Cassandra" "$binary" check >"$data/check.txt" || differs=1
timed "views made anew on Cassandra" "$binary" views rebuild --json >"$data/rebuilt.json" || differs=1
grep -Eq '"different": ?0\b' "$data/rebuilt.json" || differs=1
stop_cql

say "transfer: back to SQLite"
timed "import into SQLite" on_file "$data/back.db" import "$data/second.adal"
timed "export from SQLite again" on_file "$data/back.db" export "$data/third.adal"
"$python" load-tests/replay/compare_exports.py --exactly "$data/second.adal" "$data/third.adal" |
    tee "$data/back.txt" || differs=1

echo
echo "replay-transfer: $rows rows, $bytes bytes"
printf '  %s\n' "${figures[@]}"
echo "  households on Cassandra: $(sed -n '/^compared/p' "$data/households.txt")"
echo "  SQLite's file and Cassandra's: $(sed -n '/^compared/p' "$data/there.txt")"
echo "  check: $(head -n 1 "$data/check.txt")"
echo "  views made anew: $(tr -d '\n' <"$data/rebuilt.json")"
echo "  Cassandra's file and SQLite's again: $(sed -n '/^compared/p' "$data/back.txt")"
if [ "$differs" != 0 ]; then die "replay-transfer: NOT as expected"; fi
echo "replay-transfer: as expected"
