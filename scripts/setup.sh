#!/usr/bin/env bash
# Installs what is missing and nothing else; says what, and what to do where it may not.
#   scripts/setup.sh demo    what `make demo` uses (a missing extra is named, not fatal)
#   scripts/setup.sh cql     what a Cassandra on this machine needs
#   scripts/setup.sh test    what the tests and the replay use, their Python environment too
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

purpose="${1:-test}"
case "$purpose" in
demo | cql | test) ;;
*)
    say "usage: scripts/setup.sh [demo|cql|test]"
    exit 2
    ;;
esac

have cargo || die "Rust is missing: install it from https://rustup.rs (the version in Cargo.toml, rust-version, or later)"

needed=() # Debian packages that must be there
wished=() # packages without which the purpose still works
have cc || needed+=(gcc libc6-dev)
if [ "$purpose" = test ]; then
    have zbarimg || needed+=(zbar-tools)
    have curl || needed+=(curl)
    have jq || needed+=(jq)
    # The clock of servers under test; a library, so there is no command to look for.
    compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || needed+=(libfaketime)
    if ! python="$(find_python)"; then
        needed+=(python3 python3-venv)
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        needed+=(python3-venv)
    fi
elif [ "$purpose" = demo ]; then
    have zbarimg || wished+=(zbar-tools)
    have curl || wished+=(curl)
    have jq || wished+=(jq)
fi

if [ "$purpose" != demo ]; then
    have mvn || needed+=(maven)
    scripts/cassandra.sh java >/dev/null 2>&1 || needed+=(openjdk-17-jre-headless)
fi

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 0 ] && [ -z "${CI:-}" ]; then
        sudo "$@"
    else
        sudo -n "$@" # never wait for a password that nobody will type
    fi
}

# The lists are fetched only when something is to be installed: a second run costs nothing.
install() {
    have apt-get || return 1
    if [ "$(id -u)" != 0 ] && ! have sudo; then return 1; fi
    say "setup: installing $*"
    as_root apt-get update -qq -o DPkg::Lock::Timeout=120 >&2 || say "setup: the package lists could not be renewed"
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" </dev/null >&2
}

if [ ${#needed[@]} -gt 0 ] && ! install "${needed[@]}"; then
    die "please install by hand: ${needed[*]} (Debian's names), then run this again"
fi
if [ ${#wished[@]} -gt 0 ] && ! install "${wished[@]}"; then
    say "setup: going on without ${wished[*]} (Debian's names); the tour in README.md uses them"
fi
if [ "$purpose" = test ]; then
    load-tests/replay/setup.sh
fi
if [ "$purpose" != demo ]; then
    scripts/cassandra.sh setup
fi
