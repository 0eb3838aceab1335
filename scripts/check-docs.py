#!/usr/bin/env python3
"""Checks what the documents say against what is there. Part of `make check`; prints every fault, exits 1 if any.

- Links to files, and to headings in them, lead somewhere.
- Every test that docs/architecture.md names under "Invariants" exists.
- docs/reference/metrics.md lists the metrics that the code records, and no others.
- docs/reference/events.md lists the customer's events, and no others.
- No file of any kind has the marks of a merge that was not finished.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]\[]*\]\(([^)\s]+)\)")
# As a macro's argument, or as a count that the rules ask for.
METRIC = re.compile(r'(?:\b(?:counter|gauge|histogram)!\(|\bmetric:)\s*"(adal_[a-z_]+)"')


def documents() -> list[Path]:
    """Every Markdown file of ours."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("load-tests/**/*.md")])


def sources() -> Iterator[tuple[Path, str]]:
    """Every Rust file of ours."""
    for folder in ("domain", "actors", "store", "src", "tests", "load-tests"):
        for path in sorted((ROOT / folder).rglob("*.rs")):
            yield path, path.read_text()


def anchors(text: str) -> set[str]:
    """The names by which headings are linked to."""
    heads = re.findall(r"^#+ +(.+)$", re.sub(r"```.*?```", "", text, flags=re.S), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links() -> Iterator[str]:
    """Links that lead nowhere."""
    for path in documents():
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
        for link in LINK.findall(text):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            where = path.relative_to(ROOT)
            if not target.exists():
                yield f"{where}: {link}: no such file"
            elif anchor and anchor not in anchors(target.read_text()):
                yield f"{where}: {link}: no such heading"


def missing_tests(code: str) -> Iterator[str]:
    """Tests that the list of invariants names and nobody wrote."""
    text = (ROOT / "docs/architecture.md").read_text().split("\n## Invariants\n", 1)[1]
    for name in re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+){2,})`", text):
        if not re.search(rf"\bfn {name}\b", code):
            yield f"docs/architecture.md: there is no test {name}"


def differing(where: str, kind: str, listed: set[str], real: set[str]) -> Iterator[str]:
    """Names in only one of two sets."""
    yield from (f"{where}: {kind} {name} is not listed" for name in sorted(real - listed))
    yield from (f"{where}: there is no {kind} {name}" for name in sorted(listed - real))


def table_names(path: Path, heading: str) -> set[str]:
    """What stands in backticks in the first column of the tables under a heading."""
    section = f"\n{path.read_text()}".split(f"\n{heading}\n", 1)[1]
    section = re.split(r"\n##? ", section, maxsplit=1)[0]
    cells = re.findall(r"^\| *(`[^|]*`) *\|", section, flags=re.M)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def customer_events() -> set[str]:
    """The names under which the customer's events are stored."""
    text = (ROOT / "domain/src/customer/event.rs").read_text()
    body = text.split("pub enum Event {", 1)[1].split("\n}", 1)[0]
    names = re.findall(r"^    ([A-Z][A-Za-z]+)", body, flags=re.M)
    return {re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower() for name in names}


def merge_marks() -> Iterator[str]:
    """Files in which both sides of a merge stand."""
    grep = ["git", "grep", "-nIE", "^(<{7}|>{7}) "]
    found = subprocess.run(grep, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode > 1:
        yield f"git grep: {found.stderr.strip()}"
    yield from found.stdout.splitlines()


def main() -> int:
    """All checks."""
    code = "\n".join(text for _, text in sources())
    recorded = set(METRIC.findall(code))
    metrics = ROOT / "docs/reference/metrics.md"
    listed = {name for name in table_names(metrics, "# Metrics") if name.startswith("adal_")}
    events = table_names(ROOT / "docs/reference/events.md", "## Customer, guest")
    faults = [
        *merge_marks(),
        *broken_links(),
        *missing_tests(code),
        *differing("docs/reference/metrics.md", "metric", listed, recorded),
        *differing("docs/reference/events.md", "event", events, customer_events()),
    ]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
