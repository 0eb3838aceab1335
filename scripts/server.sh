# shellcheck shell=bash
# A real server for the replays; sourced after lib.sh.
#     start_server BINARY FOLDER    on an empty store in FOLDER; sets SERVER_URL and SERVER_PID
#     make_key BINARY FOLDER ROLE   prints the key; works while the server runs, too
#     stop_server                   also on any exit of the script
# Only the process started here is ever stopped, by its own id.

SERVER_PID=""
SERVER_URL=""

# Two free ports from the system: for the API and for the metrics.
free_ports() {
    "$(find_python)" - <<'PY'
import socket
held = [socket.socket() for _ in range(2)]
for one in held:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in held))
PY
}

# The environment under which server and keys see the same store.
with_store() {
    local folder="$1"
    shift
    env ADAL__STORE__SQLITE__PATH="$folder/adal.db" "$@"
}

make_key() { with_store "$2" "$1" keys create --role "$3"; }

answers() {
    "$(find_python)" - "$1" <<'PY'
import sys, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], timeout=2)
except OSError:
    sys.exit(1)
PY
}

stop_server() {
    local pid="$SERVER_PID" waited=0
    SERVER_PID=""
    if [ -z "$pid" ] || ! kill -0 "$pid" 2>/dev/null; then return 0; fi
    kill -TERM "$pid" 2>/dev/null || true
    # It drains, flushes and writes snapshots within 10 s; more than that is a fault, and worth a word.
    while kill -0 "$pid" 2>/dev/null && [ "$waited" -lt 150 ]; do
        sleep 0.1
        waited=$((waited + 1))
    done
    if kill -0 "$pid" 2>/dev/null; then
        say "the server was still there 15 s after SIGTERM: killed"
        kill -KILL "$pid" 2>/dev/null || true
    fi
    wait "$pid" 2>/dev/null || true
}

start_server() {
    local binary="$1" folder="$2" api metrics waited=0
    rm -rf "$folder"
    mkdir -p "$folder"
    read -r api metrics <<<"$(free_ports)"
    SERVER_URL="http://127.0.0.1:$api"
    trap stop_server EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # 8>&-: the script's lock must not live on in a server that outlives it.
    env ADAL__STORE__SQLITE__PATH="$folder/adal.db" ADAL__SERVER__LISTEN="127.0.0.1:$api" \
        ADAL__METRICS__LISTEN="127.0.0.1:$metrics" "$binary" serve >"$folder/server.log" 2>&1 </dev/null 8>&- &
    SERVER_PID=$!
    until answers "$SERVER_URL/readyz"; do
        if ! kill -0 "$SERVER_PID" 2>/dev/null || [ "$waited" -ge 60 ]; then
            tail -n 20 "$folder/server.log" >&2
            die "the server did not get ready; its log is $folder/server.log"
        fi
        sleep 0.5
        waited=$((waited + 1))
    done
    say "server: $SERVER_URL, store and log in ${folder#"$ROOT"/}"
}
