"""Whether the parts of an AVI lead to each other, and its index to its pictures.

An AVI says everything twice: each picture has a head of its own, and the index `idx1` behind them lists the name, the
place and the length of every one. Where a head is broken FFmpeg looks for the next without a word, and the rest of the
file moves up by a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["avi_damage"]

_HAS_INDEX = 0x10  # AVIF_HASINDEX of the main header
_LONGEST_HEADER_BYTES = 1 << 20
_ENTRY_BYTES = 16
_HEAD_BYTES = 8


@dataclass(frozen=True)
class _Entry:
    """A picture by the index, or by its own head: its name, where its head is, how many bytes it has."""

    name: bytes
    place: int
    length: int


@dataclass
class _Parts:
    """The parts of the file that matter: the header's content, where the pictures begin, and the index's content."""

    header: bytes = b""
    pictures_at: int | None = None
    index: bytes | None = None

    @property
    def index_announced(self) -> bool:
        """Whether the header says that there is an index; files above 1 GiB have others (`indx`) as well."""
        at = self.header.find(b"avih") + _HEAD_BYTES + 12
        flags = int.from_bytes(self.header[at : at + 4], "little")
        return bool(flags & _HAS_INDEX) and b"indx" not in self.header


def avi_damage(file: BinaryIO, size: int, number: int) -> str | None:
    """What is broken in the skeleton of an AVI of `size` bytes, whose stream `number` is the video.

    Returns:
        The first broken place. None: there is none, or the recording was never completed, so that it has no index.
    """
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"AVI ":
        return None
    parts = _Parts()
    stopped = _walk(file, size, parts)
    if stopped is None and parts.index is None:
        stopped = "the index that its header announces is missing"
    if parts.index is None or parts.pictures_at is None:
        return stopped if parts.index_announced else None
    return _check_index(file, parts.pictures_at, _entries(parts.index, number))


def _walk(file: BinaryIO, size: int, parts: _Parts) -> str | None:
    """Go from part to part up to the index, and note them in `parts`; says where that ends early."""
    at = 12
    while at + _HEAD_BYTES <= size and parts.index is None:
        file.seek(at)
        head = file.read(12)
        name, length = head[:4], int.from_bytes(head[4:8], "little")
        if name == b"RIFF":  # the next gigabyte
            return None
        if not (name.isascii() and name.decode().isprintable()):
            return f"byte {at} should begin a part of the file and does not"
        if name == b"LIST" and head[8:] == b"hdrl":
            parts.header = file.read(min(length, _LONGEST_HEADER_BYTES))
        if at + _HEAD_BYTES + length > size:
            return "the file ends in the middle"
        if name == b"LIST" and head[8:] == b"movi":
            parts.pictures_at = at + _HEAD_BYTES
        elif name == b"idx1":
            file.seek(at + _HEAD_BYTES)
            parts.index = file.read(length)
        at += _HEAD_BYTES + length + length % 2
    return None


def _entries(index: bytes, number: int) -> list[_Entry]:
    """The pictures of stream `number` in the index; changes of the palette are none."""
    digits = b"%02d" % number
    rows = (index[at : at + _ENTRY_BYTES] for at in range(0, len(index) - _ENTRY_BYTES + 1, _ENTRY_BYTES))
    return [
        _Entry(row[:4], int.from_bytes(row[8:12], "little"), int.from_bytes(row[12:], "little"))
        for row in rows
        if row[:2] == digits and row[2:4] != b"pc"
    ]


def _check_index(file: BinaryIO, pictures_at: int, entries: list[_Entry]) -> str | None:
    """Compare the index with the head of each picture.

    Writers differ in where places count from and in what they call a length. What most entries agree on is this
    file's way, and the others are broken.
    """
    if not entries:
        return "its index lists no picture"
    for start in (pictures_at, 0):
        heads = [_head(file, start + entry.place) for entry in entries]
        named = [head.name == entry.name for head, entry in zip(heads, entries, strict=True)]
        if 2 * sum(named) >= len(entries):
            same = [
                head.name == entry.name and head.length == entry.length
                for head, entry in zip(heads, entries, strict=True)
            ]
            holds = same if 2 * sum(same) >= len(entries) else named
            if all(holds):
                return None
            return f"byte {heads[holds.index(False)].place} should begin a picture and does not, by the index"
    return "its index does not lead to its pictures"


def _head(file: BinaryIO, at: int) -> _Entry:
    file.seek(at)
    head = file.read(_HEAD_BYTES)
    return _Entry(head[:4], at, int.from_bytes(head[4:], "little"))
