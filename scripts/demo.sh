#!/usr/bin/env bash
# Sets up, builds and runs `adal demo`. The debug build: it is there in half the time, and fast enough to try things.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/setup.sh demo
say "build: the first one takes some minutes"
cargo build --locked --bin adal
exec "$(target_dir)/debug/adal" demo "$@"
