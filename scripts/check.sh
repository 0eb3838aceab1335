#!/usr/bin/env bash
# What must hold besides the tests: format, documents, lints, licences and sources, rustdoc. All are run; the exit code
# says whether all held. `--quick` leaves rustdoc out (it is slow, and the tests run its examples anyway).
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

quick="${1:-}"
bad=()
step() {
    local name="$1"
    shift
    say "check: $name"
    "$@" </dev/null || bad+=("$name")
}

step format cargo fmt --all --check
step documents "$(find_python || echo python3)" scripts/check-docs.py
step lints cargo clippy --locked --workspace --all-targets --all-features --keep-going --quiet -- -D warnings
step "licences and sources" scripts/cargo-deny.sh --locked --workspace --log-level warn check licenses bans sources
if [ "$quick" != --quick ]; then
    RUSTDOCFLAGS="-D warnings" step rustdoc cargo doc --locked --workspace --all-features --no-deps --quiet
fi

if [ ${#bad[@]} -gt 0 ]; then
    say "check: FAILED: ${bad[*]}"
    exit 1
fi
say "check: all good"
