# shellcheck shell=bash
# Shared by the scripts beside it; sourced, never run. Every script starts with:
#     . "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# It goes to the project's root, so that all paths below are relative to it.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT="$PWD"
CACHE="$ROOT/.cache"
VENV="$CACHE/replay-venv" # made by load-tests/replay/setup.sh
mkdir -p "$CACHE"

# Progress goes to stderr: stdout belongs to what a script was asked for.
say() { printf '%s\n' "$*" >&2; }
die() {
    say "error: $*"
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
# A path as a script takes it: from the project's root, where it is not whole.
whole_path() { case "$1" in /*) printf '%s\n' "$1" ;; *) printf '%s\n' "$ROOT/$1" ;; esac }

# The first Python that is new enough, as load-tests/replay/setup.sh looks for it.
find_python() {
    local candidate
    for candidate in "${PYTHON:-python3.11}" python3.12 python3.13 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

# Where cargo puts what it builds: a variable or a config file may have moved it.
target_dir() {
    cargo metadata --no-deps --offline --format-version 1 2>/dev/null |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p' | grep . || printf '%s\n' "${CARGO_TARGET_DIR:-$ROOT/target}"
}

# One script at a time for what $1 names, even from two terminals; the lock goes with the process.
only_one() {
    exec 8>"$CACHE/$1.lock"
    if have flock && ! flock --timeout 900 8; then
        die "another run has held .cache/$1.lock for 15 minutes"
    fi
}
