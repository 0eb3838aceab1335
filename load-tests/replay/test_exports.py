"""The comparison of two exports, on files made by hand."""

import struct
import tempfile
import unittest
import zlib
from pathlib import Path
from typing import Any

from compare_exports import EMPTY, MAGIC, Export, compare, decode


def pack(value: Any) -> bytes:
    """A value in MessagePack, as far as the tests need it."""
    match value:
        case None:
            return b"\xc0"
        case int():
            return b"\xcf" + struct.pack(">Q", value)
        case str():
            return b"\xda" + struct.pack(">H", len(value.encode())) + value.encode()
        case bytes():
            return b"\xc5" + struct.pack(">H", len(value)) + value
        case list():
            return b"\xdc" + struct.pack(">H", len(value)) + b"".join(pack(one) for one in value)
        case dict():
            pairs = b"".join(pack(key) + pack(one) for key, one in value.items())
            return b"\xde" + struct.pack(">H", len(value)) + pairs
    raise TypeError(value)


class Exports(unittest.TestCase):
    """Files of one customer and one key."""

    def file(self, bodies: list[bytes], place: str = "a", revoked_at: int | None = None, owed: int = 0) -> Export:
        """A file whose customer has rows with these bodies."""
        rows = [{"seq": seq, "at": 5, "format": 1, "body": body} for seq, body in enumerate(bodies, 1)]
        frames = [
            {"head": {"format": 1, "place": place}},
            {"entity": {"kind": "customer", "id": "c1", "rows": len(rows), "snapshot": None, "owed": [[1, 0]] * owed}},
            {"rows": {"rows": rows[:1]}},
            {"rows": {"rows": rows[1:]}},
            {"keys": {"keys": [{"id": "k", "revoked_at": revoked_at}]}},
            {"end": {"rows": len(rows)}},
        ]
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        path = Path(self.folder.name) / "all.adal"
        packed = [pack(frame) for frame in frames]
        path.write_bytes(MAGIC + b"".join(struct.pack("<II", len(body), zlib.crc32(body)) + body for body in packed))
        return Export(path)

    def differences(self, one: Export, other: Export, exactly: bool = False) -> tuple[list[str], int]:
        """What differs, and how many empty rows there are more."""
        found = compare(one, other, exactly)
        return found.differences, found.empty

    def test_only_rows_in_which_nothing_was_decided_may_be_more(self) -> None:
        first, place = self.file([b"a", b"b"]), self.file([b"a", b"b"], place="b")
        self.assertEqual(self.differences(first, place, exactly=True), ([], 0))
        adopted = self.file([b"a", b"b", EMPTY])
        self.assertEqual(self.differences(self.file([b"a", b"b"]), adopted), ([], 1))
        self.assertEqual(len(self.differences(self.file([b"a", b"b"]), self.file([b"a", b"b", EMPTY]), True)[0]), 1)
        self.assertEqual(len(self.differences(self.file([b"a", b"b"]), self.file([b"a", b"b", b"c"]))[0]), 1)

    def test_what_differs_is_found(self) -> None:
        for other in (
            self.file([b"a"]),
            self.file([b"a", b"x"]),
            self.file([b"a", EMPTY, b"b"]),
            self.file([b"a", b"b"], revoked_at=7),
            self.file([b"a", b"b"], owed=1),
        ):
            self.assertTrue(self.differences(self.file([b"a", b"b"]), other)[0])

    def test_a_damaged_file_is_refused(self) -> None:
        damaged = self.file([b"a", b"b"])
        damaged.path.write_bytes(damaged.path.read_bytes()[:-3])
        with self.assertRaises(ValueError):
            compare(self.file([b"a", b"b"]), damaged, False)

    def test_numbers_of_every_length_are_read(self) -> None:
        for text, value in (("05", 5), ("ff", -1), ("ccff", 255), ("cd0100", 256), ("d180ff", -32513), ("c3", True)):
            self.assertEqual(decode(bytes.fromhex(text), 0), (value, len(text) // 2))


if __name__ == "__main__":
    unittest.main()
