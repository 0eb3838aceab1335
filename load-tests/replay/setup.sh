#!/usr/bin/env bash
# Makes the replay's virtual environment in .cache/replay-venv; does nothing when it is there and up to date.
# A lock, because two `make` targets may call this at once; a stamp, because a half-made environment must be made anew.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
venv="$root/.cache/replay-venv"
stamp="$venv/requirements.installed"

mkdir -p "$root/.cache"
exec 9>"$root/.cache/replay-venv.lock"
if command -v flock >/dev/null; then flock 9; fi

if [ -x "$venv/bin/python" ] && cmp -s "$here/requirements.txt" "$stamp"; then
    exit 0
fi

python=""
for candidate in "${PYTHON:-python3.11}" python3.12 python3.13 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python="$candidate"
        break
    fi
done
if [ -z "$python" ]; then
    echo "replay: Python 3.11 or later is needed (set PYTHON to its path)" >&2
    exit 1
fi

echo "replay: making $venv" >&2
rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
cp "$here/requirements.txt" "$stamp"
