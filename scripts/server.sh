# shellcheck shell=bash
# A real server for the replays; sourced after lib.sh.
#     start_server BINARY FOLDER    on an empty store in FOLDER; sets SERVER_URL and SERVER_PID
#     run_server BINARY FOLDER      on the store that is there
#     make_key BINARY FOLDER ROLE   beside the running server; prints the key once it counts
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

make_key() {
    local key waited=0
    key="$(with_store "$2" "$1" keys create --role "$3")"
    # A running server looks for new keys every few seconds: until then the answer is 401.
    while [ "$(status_of "$SERVER_URL/v1/customers/nobody/card" "$key")" = 401 ]; do
        waited=$((waited + 1))
        [ "$waited" -lt 50 ] || die "the server does not know the key made beside it, after 10 s"
        sleep 0.2
    done
    printf '%s\n' "$key"
}

# The HTTP status of a GET, 0 without an answer; $2 is a key, by variable so that no process list shows it.
status_of() {
    KEY="${2:-}" "$(find_python)" - "$1" <<'PY'
import os, sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1])
if os.environ["KEY"]:
    request.add_header("Authorization", "Bearer " + os.environ["KEY"])
try:
    print(urllib.request.urlopen(request, timeout=5).status)
except urllib.error.HTTPError as error:
    print(error.code)
except OSError:
    print(0)
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
    rm -rf "$2"
    run_server "$@"
}

run_server() {
    local binary="$1" folder="$2" api metrics waited=0
    mkdir -p "$folder"
    read -r api metrics <<<"$(free_ports)"
    SERVER_URL="http://127.0.0.1:$api"
    # The store after the server, where there is one by itself.
    trap 'stop_server; if declare -F stop_cql >/dev/null; then stop_cql; fi' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # 8>&-: the script's lock must not live on in a server that outlives it.
    env ADAL__STORE__SQLITE__PATH="$folder/adal.db" ADAL__SERVER__LISTEN="127.0.0.1:$api" \
        ADAL__METRICS__LISTEN="127.0.0.1:$metrics" "$binary" serve >"$folder/server.log" 2>&1 </dev/null 8>&- &
    SERVER_PID=$!
    until [ "$(status_of "$SERVER_URL/readyz")" = 200 ]; do
        if ! kill -0 "$SERVER_PID" 2>/dev/null || [ "$waited" -ge 60 ]; then
            tail -n 20 "$folder/server.log" >&2
            die "the server did not get ready; its log is $folder/server.log"
        fi
        sleep 0.5
        waited=$((waited + 1))
    done
    say "server: $SERVER_URL, store and log in ${folder#"$ROOT"/}"
}
