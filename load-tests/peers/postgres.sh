# shellcheck shell=bash
# A PostgreSQL of our own for the peers: Debian's binaries, a new cluster in FOLDER, a loopback port, a password that
# nobody else has, the defaults otherwise (every commit is on the disk before it is answered). Sourced after
# scripts/lib.sh.
#     start_postgres FOLDER PORT   sets POSTGRES_URL and POSTGRES_PID
#     stop_postgres                also after a half-made start
# Only the process started here is ever stopped, by its own id.

POSTGRES_PID=""
POSTGRES_URL=""

# PostgreSQL refuses to be root: then it is the user that Debian's package made for it.
AS_POSTGRES=()
if [ "$(id -u)" = 0 ]; then AS_POSTGRES=(setpriv --reuid=postgres --regid=postgres --clear-groups); fi

# The newest installed; Debian keeps them off the path.
postgres_bin() {
    local found
    found="$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)"
    [ -x "$found/initdb" ] && printf '%s\n' "$found"
}

start_postgres() {
    local folder="$1" port="$2" bin password waited=0
    bin="$(postgres_bin)" || die "PostgreSQL is missing: apt-get install postgresql"
    # A run that was killed leaves its server behind. Its id stands in its own folder, whose lock is now ours.
    if [ -f "$folder/data/postmaster.pid" ]; then
        "${AS_POSTGRES[@]}" "$bin/pg_ctl" stop --pgdata="$folder/data" --mode=immediate --silent >/dev/null 2>&1 || true
    fi
    rm -rf "$folder"
    mkdir -p "$folder"
    password="$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
    (umask 077 && printf '%s\n' "$password" >"$folder/password")
    if [ "$(id -u)" = 0 ]; then chown -R postgres: "$folder"; fi
    "${AS_POSTGRES[@]}" test -w "$folder" || die "the user postgres cannot reach $folder: run this as another than root"
    "${AS_POSTGRES[@]}" "$bin/initdb" --pgdata="$folder/data" --username=adal --auth=scram-sha-256 --encoding=UTF8 \
        --locale=C --pwfile="$folder/password" >"$folder/initdb.log" 2>&1 || {
        tail -n 20 "$folder/initdb.log" >&2
        die "initdb failed"
    }
    # 8>&-: the script's lock must not live on in a server that outlives it.
    "${AS_POSTGRES[@]}" "$bin/postgres" -D "$folder/data" -p "$port" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories= -c max_connections=150 >"$folder/postgres.log" 2>&1 </dev/null 8>&- &
    POSTGRES_PID=$!
    POSTGRES_URL="postgres://adal:$password@127.0.0.1:$port/postgres"
    until "$bin/pg_isready" --quiet --host=127.0.0.1 --port="$port"; do
        if ! kill -0 "$POSTGRES_PID" 2>/dev/null || [ "$waited" -ge 150 ]; then
            tail -n 20 "$folder/postgres.log" >&2
            die "PostgreSQL did not get ready; its log is $folder/postgres.log"
        fi
        sleep 0.2
        waited=$((waited + 1))
    done
}

stop_postgres() {
    local pid="$POSTGRES_PID"
    POSTGRES_PID=""
    if [ -z "$pid" ]; then return 0; fi
    # SIGINT is its fast shutdown: sessions are ended, nothing is waited for.
    kill -INT "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}
