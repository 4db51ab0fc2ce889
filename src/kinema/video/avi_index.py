"""Whether the parts of an AVI lead to each other, and its index to its pictures.

An AVI says everything twice: each picture has a head of its own, and the index `idx1` behind them lists the name, the
place and the length of every one. Where a head is broken FFmpeg looks for the next without a word, and the rest of the
file moves up by a picture.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = ["avi_damage"]

_HAS_INDEX = 0x10  # AVIF_HASINDEX of the main header
_LONGEST_HEADER_BYTES = 1 << 20
_ENTRY = struct.Struct("<4sII4s")  # name, flags, place, length
_HEAD_BYTES = 8


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


def _entries(index: bytes, number: int) -> list[tuple[bytes, int]]:
    """(head, place) of each picture of stream `number` by the index; changes of the palette are none."""
    digits = b"%02d" % number
    whole = len(index) // _ENTRY.size * _ENTRY.size
    return [
        (name + length, place)
        for name, _, place, length in _ENTRY.iter_unpack(index[:whole])
        if name[:2] == digits and name[2:] != b"pc"
    ]


def _check_index(file: BinaryIO, pictures_at: int, entries: list[tuple[bytes, int]]) -> str | None:
    """Compare the index with the head of each picture, which is its name and length.

    Writers differ in where places count from and in what they call a length. What most entries agree on is this
    file's way, and the others are broken.
    """
    if not entries:
        return "its index lists no picture"
    for start in (pictures_at, 0):
        heads = _heads(file, [start + place for _, place in entries])
        holds = [head == expected for head, (expected, _) in zip(heads, entries, strict=True)]
        if 2 * sum(holds) < len(entries):
            holds = [head[:4] == expected[:4] for head, (expected, _) in zip(heads, entries, strict=True)]
        if 2 * sum(holds) >= len(entries):
            if all(holds):
                return None
            at = start + entries[holds.index(False)][1]
            return f"byte {at} should begin a picture and does not, by the index"
    return "its index does not lead to its pictures"


def _heads(file: BinaryIO, places: list[int]) -> list[bytes]:
    heads = []
    with Path(file.name).open("rb", buffering=0) as direct:  # a buffer would be filled anew for each eight bytes
        for place in places:
            direct.seek(place)
            heads.append(direct.read(_HEAD_BYTES))
    return heads
