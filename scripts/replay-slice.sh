#!/usr/bin/env bash
# Twenty households of the grocer's year against the real server, as `make test` does it: the debug build that the tests
# made (or ADAL_BIN), on a store of its own, so that it can run beside a whole replay.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

export REPLAY_DATA="$CACHE/replay-slice-data"
if [ -z "${ADAL_BIN:-}" ]; then
    cargo build --locked --bin adal
    ADAL_BIN="$(target_dir)/debug/adal"
    export ADAL_BIN
fi
exec scripts/replay.sh --households 20 "$@"
