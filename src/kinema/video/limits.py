"""What a video may claim to be before kinema believes it: a file of a few bytes can ask for all the memory there is."""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from kinema.core.errors import MediaError

__all__ = ["MOST_PIXELS", "require_claims", "require_regular", "require_size"]

MOST_PIXELS = 2**26
"""Pixels a picture may have, stored and shown: 8192 x 8192, twice the 7680 x 4320 of 8K."""

_BEGINS_MP4 = {b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"sidx"}
_DEEPEST_BOX = 6
_HOLDS_BOXES = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"}


def require_size(source: Path | str, width: int, height: int) -> None:
    """Refuse pictures of more than `MOST_PIXELS`.

    Raises:
        MediaError: says the size.
    """
    if width * height > MOST_PIXELS:
        raise MediaError(
            source,
            f"its pictures of {width}x{height} pixels are too large",
            allowed=f"up to {MOST_PIXELS} pixels a picture, such as 8192x8192",
            next_step="scale it down with another program, if it is a video at all",
        )


def require_regular(path: Path) -> None:
    """Refuse what is there but is no file with an end: a folder, a pipe, a socket, a device.

    Raises:
        MediaError: says what it is, or why the system does not tell.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return
    except OSError as error:  # a name too long for the system, links in a circle, a folder that may not be entered
        raise MediaError(path, error.strerror or str(error), allowed="the path of a file") from error
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
        raise MediaError(path, f"it is a {kinds.get(stat.S_IFMT(mode), 'device')}", allowed="one video file")


def require_claims(path: Path) -> None:
    """Refuse a file whose header claims what it cannot hold, which FFmpeg would make room for while opening it.

    Looked at are the sizes of PNG and GIF pictures, and the counts of samples in MP4 and MOV: there are no more
    samples than bytes.

    Raises:
        MediaError: says the claim.
    """
    try:
        with path.open("rb") as file:
            head = file.read(24)
            if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 24:
                require_size(path, *struct.unpack(">II", head[16:]))
            elif head[:4] == b"GIF8" and len(head) >= 10:
                require_size(path, *struct.unpack("<HH", head[6:10]))
            elif head[4:8] in _BEGINS_MP4:
                size = path.stat().st_size
                for claimed in _sample_counts(file, 0, size):
                    if claimed > size:
                        raise MediaError(
                            path,
                            f"its index claims {claimed} pictures or sounds in {size} bytes",
                            next_step="copy it again from where it came, if you trust whoever made it",
                        )
    except OSError as error:
        raise MediaError(path, error.strerror or str(error)) from error


def _sample_counts(file: BinaryIO, at: int, end: int, depth: int = 0) -> Iterator[int]:
    """Every count of samples in the boxes from `at` to `end`: (length, name, content), nested."""
    while at + 8 <= end:
        file.seek(at)
        head = file.read(20)
        if len(head) < 8:
            return
        length, name, start = int.from_bytes(head[:4], "big"), head[4:8], at + 8
        if length == 1 and len(head) >= 16:
            length, start = int.from_bytes(head[8:16], "big"), at + 16
        after = end if length == 0 else min(end, at + length)
        if after < start:
            return
        if name in _HOLDS_BOXES and depth < _DEEPEST_BOX:
            yield from _sample_counts(file, start, after, depth + 1)
        elif name in {b"stsz", b"stz2"} and len(head) == 20:
            yield int.from_bytes(head[16:20], "big")
        elif name == b"trun" and len(head) >= 16:
            yield int.from_bytes(head[12:16], "big")
        at = after
