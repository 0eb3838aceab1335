#!/usr/bin/env bash
# Adal beside Vendure and Medusa, on this machine: the same carts and offers, priced by each (load-tests/peers/README.md).
# Installs the peers from their lock file into .cache/peers, starts a PostgreSQL of its own there and Adal as it is
# shipped, measures, and stops all it started. Arguments go to run.mjs, e.g. `--rounds 1 --seconds 2`.
#   ADAL_BIN=PATH   measures that server and builds nothing
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. scripts/server.sh
. load-tests/peers/postgres.sh

only_one bench-peers
packages="$CACHE/peers"
data="$CACHE/peers-data"

have node && have npm || die "Node is missing: version 20.19 or later, with npm (Debian: nodejs npm, or https://nodejs.org)"
node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' ||
    die "Node $(node --version) is too old: 20.19 or later is needed"
postgres_bin >/dev/null || die "PostgreSQL is missing: apt-get install postgresql (it is not used as it runs there)"
have setpriv || [ "$(id -u)" != 0 ] || die "setpriv is missing: apt-get install util-linux"

# A stamp, because a half-made folder must be made anew. No script of a package runs but the one that compiles SQLite: it
# looks for a ready binary first, then for a compiler and for Node's headers, which are beside Node where it brought them.
if ! cmp -s load-tests/peers/package-lock.json "$packages/installed"; then
    say "bench-peers: installing the peers into .cache/peers"
    rm -rf "$packages"
    mkdir -p "$packages"
    cp load-tests/peers/package.json load-tests/peers/package-lock.json "$packages/"
    npm ci --prefix "$packages" --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error >&2
    prefix="$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")"
    if [ -f "$prefix/include/node/node.h" ]; then export npm_config_nodedir="$prefix"; fi
    npm rebuild --prefix "$packages" better-sqlite3 --loglevel=error >&2 ||
        die "better-sqlite3 could not be built: it needs python3, make and a C++ compiler (Debian: python3 make g++)"
    cp load-tests/peers/package-lock.json "$packages/installed"
fi

binary="${ADAL_BIN:-}"
if [ -z "$binary" ]; then
    cargo build --release --locked --bin adal
    binary="$(target_dir)/release/adal"
fi
[ -x "$binary" ] || die "there is no server at $binary"

# Nobody else has rate limits here.
export ADAL__LIMITS__ENABLED=false
start_server "$binary" "$data/adal"
RUN_PID=""
stop_all() {
    if [ -n "$RUN_PID" ]; then kill -TERM "$RUN_PID" 2>/dev/null || true; fi
    RUN_PID=""
    stop_postgres
    stop_server
}
trap stop_all EXIT
read -r postgres_port vendure_port <<<"$(free_ports)"
start_postgres "$data/postgres" "$postgres_port"

ADAL_KEY="$(make_key "$binary" "$data/adal" service)"
ADAL_ADMIN_KEY="$(make_key "$binary" "$data/adal" admin)"
# By variable: what is on a command line can be read by everybody on the machine.
export ADAL_KEY ADAL_ADMIN_KEY POSTGRES_URL POSTGRES_PID
code=0
ADAL_URL="$SERVER_URL" ADAL_PID="$SERVER_PID" ADAL_VERSION="$("$binary" --version)" \
    POSTGRES_VERSION="$("$(postgres_bin)/postgres" --version | sed 's/postgres (PostgreSQL)/PostgreSQL/')" \
    VENDURE_PORT="$vendure_port" PEERS_PACKAGES="$packages" NODE_ENV=production \
    VENDURE_DISABLE_TELEMETRY=true MEDUSA_DISABLE_TELEMETRY=true \
    node load-tests/peers/run.mjs "$@" 8>&- &
RUN_PID=$!
# In the background and waited for, because a shell that is told to stop first waits for what it runs in the foreground.
wait "$RUN_PID" || code=$?
RUN_PID=""
stop_all
exit "$code"
