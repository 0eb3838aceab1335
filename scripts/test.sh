#!/usr/bin/env bash
# Every test there is: cargo's (unit, integration, documentation), those of the replay's own calculation, and a slice of
# the replay against the real server on each store. Ends with one line, `N passed, N failed`, that adds them up.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

passed=0
failed=0
skipped=0

scripts/setup.sh test
log="$(mktemp "$CACHE/test.XXXXXX.log")"
trap 'rm -f "$log"' EXIT

# Adds cargo's own result lines. A build that fails, or a test binary that dies, prints none: its exit code counts as one
# failure where no line told of any.
code=0
cargo test --locked --workspace --no-fail-fast "$@" 2>&1 </dev/null | tee "$log" || code=$?
read -r passed failed skipped < <(awk '
    /^test result: / { for (i = 2; i <= NF; i++) {
        if ($i == "passed;") p += $(i - 1); else if ($i == "failed;") f += $(i - 1)
        else if ($i == "ignored;") s += $(i - 1) } }
    END { print p + 0, f + 0, s + 0 }' "$log")
if [ "$code" != 0 ] && [ "$failed" = 0 ]; then failed=1; fi

say "replay: the tests of the second calculation"
code=0
"$VENV/bin/python" -m unittest discover -s load-tests/replay -t load-tests/replay >"$log" 2>&1 </dev/null || code=$?
cat "$log"
ran="$(sed -n 's/^Ran \([0-9]*\) tests\{0,1\} in .*/\1/p' "$log" | tail -n 1)"
bad="$(sed -n 's/^FAILED (\(.*\))$/\1/p' "$log" | tail -n 1 | grep -oE '(failures|errors|unexpected successes)=[0-9]+' |
    cut -d= -f2 | paste -sd+ | sed 's/^$/0/' || true)"
bad=$((${bad:-0}))
if [ "$code" != 0 ] && [ "$bad" = 0 ]; then bad=1; fi
good=$((${ran:-0} - bad))
if [ "$good" -lt 0 ]; then good=0; fi
passed=$((passed + good))
failed=$((failed + bad))

binary="$(target_dir)/debug/adal"
# The same second calculation for both stores: where it agrees with each to the point, they agree.
for store in sqlite cql; do
    say "replay: twenty households against the real server, on $store"
    if [ -x "$binary" ] && STORE="$store" ADAL_BIN="$binary" scripts/replay-slice.sh </dev/null; then
        passed=$((passed + 1))
    else
        say "replay slice on $store: FAILED"
        failed=$((failed + 1))
    fi
done

line="$passed passed, $failed failed"
if [ "$skipped" != 0 ]; then line="$line, $skipped skipped"; fi
echo
if [ -n "${TEST_NOTE:-}" ]; then say "$TEST_NOTE"; fi
echo "$line"
[ "$failed" = 0 ]
