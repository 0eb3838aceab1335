"""Compares two files of `adal export`: every entity's rows, snapshot and what it owes, codes, counts and keys.

By design the second may have rows more at an entity's end, in which nothing was decided: on ScyllaDB and Cassandra whoever
opens an entity of another owner's puts one on it. They are counted, and with --exactly they are differences. The head (when
and where the file was made) and the order of what stands beside the journal are not compared.

Reads both files frame by frame, with memory for one entity. Exits 1 on any difference.
"""

import argparse
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

MAGIC = b"adal-export\n"
SHOWN = 20
# A row in which nothing was decided: {"v": 1, "commands": []}.
EMPTY = b"\x82\xa1v\x01\xa8commands\x90"


def decode(data: bytes, at: int) -> tuple[Any, int]:
    """The MessagePack value at a place, and the place after it; as much of the format as the file has."""
    kind = data[at]
    at += 1
    if kind <= 0x7F:
        return kind, at
    if kind >= 0xE0:
        return kind - 0x100, at
    if kind in SCALARS:
        return SCALARS[kind], at
    if kind in NUMBERS:
        form = NUMBERS[kind]
        return form.unpack_from(data, at)[0], at + form.size
    if 0x80 <= kind <= 0x8F:
        return decode_map(data, at, kind & 0x0F)
    if 0x90 <= kind <= 0x9F:
        return decode_list(data, at, kind & 0x0F)
    if 0xA0 <= kind <= 0xBF:
        return data[at : at + (kind & 0x1F)].decode(), at + (kind & 0x1F)
    if kind not in LENGTHS:
        raise ValueError(f"a value of kind {kind:#x}")
    what, form = LENGTHS[kind]
    length = form.unpack_from(data, at)[0]
    at += form.size
    if what == "map":
        return decode_map(data, at, length)
    if what == "list":
        return decode_list(data, at, length)
    piece = data[at : at + length]
    return (piece.decode() if what == "text" else piece), at + length


def decode_map(data: bytes, at: int, length: int) -> tuple[dict[str, Any], int]:
    """A map with so many entries."""
    found = {}
    for _ in range(length):
        key, at = decode(data, at)
        found[key], at = decode(data, at)
    return found, at


def decode_list(data: bytes, at: int, length: int) -> tuple[list[Any], int]:
    """A list of so many."""
    found = []
    for _ in range(length):
        value, at = decode(data, at)
        found.append(value)
    return found, at


SCALARS = {0xC0: None, 0xC2: False, 0xC3: True}
NUMBERS = {
    kind: struct.Struct(f">{form}")
    for kind, form in zip((0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF, 0xD0, 0xD1, 0xD2, 0xD3), "fdBHIQbhiq", strict=True)
}
LENGTHS = {
    kind: (what, struct.Struct(f">{form}"))
    for kind, what, form in (
        (0xC4, "bytes", "B"),
        (0xC5, "bytes", "H"),
        (0xC6, "bytes", "I"),
        (0xD9, "text", "B"),
        (0xDA, "text", "H"),
        (0xDB, "text", "I"),
        (0xDC, "list", "H"),
        (0xDD, "list", "I"),
        (0xDE, "map", "H"),
        (0xDF, "map", "I"),
    )
}


def frames(path: Path) -> Iterator[tuple[str, Any]]:
    """(name, contents) of each frame, each with its checksum looked at."""
    with path.open("rb") as source:
        if source.read(len(MAGIC)) != MAGIC:
            raise ValueError(f"{path} is no file of `adal export`")
        while head := source.read(8):
            yield from frame(source, *struct.unpack("<II", head), path)


def frame(source: BinaryIO, length: int, checksum: int, path: Path) -> Iterator[tuple[str, Any]]:
    """The one frame that comes next."""
    body = source.read(length)
    if len(body) != length or zlib.crc32(body) != checksum:
        raise ValueError(f"{path} is damaged or breaks off")
    yield from decode(body, 0)[0].items()


@dataclass
class Entity:
    """One entity of a file."""

    key: tuple[str, str]
    snapshot: Any
    owed: Any
    rows: list[tuple[int, int, int, bytes]] = field(default_factory=list)


class Export:
    """A file, read through once: entities in its order, the rest beside them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.beside: dict[tuple[str, str], Any] = {}
        self.end: dict[str, int] | None = None

    def entities(self) -> Iterator[Entity]:
        """Every entity with its rows; what stands beside the journal is kept."""
        entity, job = None, ""
        for name, contents in frames(self.path):
            if entity and name != "rows":
                yield entity
                entity = None
            match name:
                case "entity":
                    key = (contents["kind"], contents["id"])
                    entity = Entity(key, contents["snapshot"], contents["owed"])
                case "rows":
                    entity.rows += [(row["seq"], row["at"], row["format"], row["body"]) for row in contents["rows"]]
                case "job":
                    job = contents["id"]
                    self.beside["job", job] = contents
                case "codes":
                    self.beside.setdefault(("codes", job), []).extend(contents["codes"])
                case "counts":
                    self.beside |= {("count", f"{count[0]} {count[1]}"): count for count in contents["counts"]}
                case "keys":
                    self.beside |= {("key", key["id"]): key for key in contents["keys"]}
                case "end":
                    self.end = contents


@dataclass
class Compared:
    """What a comparison found."""

    exactly: bool
    entities: int = 0
    rows: int = 0
    empty: int = 0
    differences: list[str] = field(default_factory=list)

    def entity(self, one: Entity, other: Entity) -> None:
        """Compares two entities of one key."""
        self.entities += 1
        self.rows += len(one.rows)
        name = "/".join(one.key)
        for at, row in enumerate(one.rows):
            if at >= len(other.rows) or row != other.rows[at]:
                self.differences.append(f"{name}: row {row[0]} is another, or missing")
                break
        more = other.rows[len(one.rows) :]
        if self.exactly or any(row[3] != EMPTY for row in more):
            self.differences += [f"{name}: {len(more)} rows more"] if more else []
        else:
            self.empty += len(more)
        for what, want, have in (("snapshot", one.snapshot, other.snapshot), ("owes", one.owed, other.owed)):
            if want != have:
                self.differences.append(f"{name}: {what} differs")


def compare(first: Export, second: Export, exactly: bool) -> Compared:
    """Goes through both side by side: their entities stand in one order."""
    found = Compared(exactly)
    ones, others = first.entities(), second.entities()
    one, other = next(ones, None), next(others, None)
    while one or other:
        # The kinds are in an order of their own: whichever file lacks an entity shows at the first that differs.
        if one is None or other is None or one.key != other.key:
            keys = ["/".join(entity.key) if entity else "nothing" for entity in (one, other)]
            found.differences.append(f"{keys[0]} there, {keys[1]} here: the rest is not compared")
            return found
        found.entity(one, other)
        one, other = next(ones, None), next(others, None)
    for key in sorted(first.beside.keys() | second.beside.keys()):
        if first.beside.get(key) != second.beside.get(key):
            found.differences.append(f"{' '.join(key)} differs")
    if first.end is None or second.end is None:
        found.differences.append("a file has no end")
    return found


def main() -> int:
    """Compares the two files of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--exactly", action="store_true", help="rows in which nothing was decided are compared as well")
    args = parser.parse_args()
    first, second = Export(args.first), Export(args.second)
    try:
        found = compare(first, second, args.exactly)
    except (OSError, ValueError) as error:
        print(f"exports: {error}", file=sys.stderr)
        return 1
    print(
        f"compared {found.entities:,} entities, {found.rows:,} rows, {len(first.beside):,} codes' jobs, counts and keys: "
        f"{len(found.differences):,} differences; {found.empty:,} empty rows of owners more"
    )
    for difference in found.differences[:SHOWN]:
        print(f"  {difference}")
    return 1 if found.differences else 0


if __name__ == "__main__":
    sys.exit(main())
