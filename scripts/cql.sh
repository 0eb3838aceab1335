# shellcheck shell=bash
# A real Cassandra under a server; sourced after lib.sh.
#     start_cql FOLDER BINARY   on what is in FOLDER, the tables made by BINARY migrate; exports where it is, so that every
#                               adal started from then on takes it as its store
#     stop_cql                  also on any exit of the script
# Only the process started here is ever stopped, by its own id.

CQL_PID=""

stop_cql() {
    local pid="$CQL_PID"
    CQL_PID=""
    if [ -z "$pid" ] || ! kill -0 "$pid" 2>/dev/null; then return 0; fi
    kill -TERM "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

start_cql() {
    local folder="$1" binary="$2" port storage waited=0
    scripts/cassandra.sh setup
    mkdir -p "$folder"
    read -r port storage <<<"$(free_ports)"
    say "cassandra: starting on 127.0.0.1:$port, files in ${folder#"$ROOT"/}"
    # A session of its own: Ctrl-C is for the server, which still needs its store while it stops.
    setsid scripts/cassandra.sh run "$folder" --port "$port" --storage-port "$storage" --dies-with $$ \
        >"$folder/out.log" 2>&1 </dev/null 8>&- &
    CQL_PID=$!
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        if ! kill -0 "$CQL_PID" 2>/dev/null || [ "$waited" -ge 480 ]; then
            tail -n 20 "$folder/out.log" >&2
            die "Cassandra did not get ready; its log is in $folder"
        fi
        sleep 0.5
        waited=$((waited + 1))
    done
    export ADAL__STORE__KIND=cql ADAL__STORE__CQL__CONTACT_POINTS="[\"127.0.0.1:$port\"]"
    # One node, one copy: what a demo and a test need, and nobody else may have.
    ADAL__STORE__CQL__REPLICATION='{datacenter1=1}' "$binary" migrate >"$folder/migrate.log" 2>&1 || {
        cat "$folder/migrate.log" >&2
        die "the tables could not be made"
    }
    grep -i 'warn' "$folder/migrate.log" >&2 || true
}
