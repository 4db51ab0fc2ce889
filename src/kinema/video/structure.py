"""What a container's own skeleton tells of its wholeness, where FFmpeg reads over the broken places in silence.

GIF, FLV, Matroska with WebM, AVI, and MPEG program and transport streams are walked from block to block, without
decoding: lengths that lead to no block, blocks cut off by the end of the file, checksums, counts and indices that do
not hold. MP4 and MOV count their pictures (`timeline`), and an elementary stream has no skeleton.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from kinema.video.avi_index import avi_damage
from kinema.video.gif_pixels import count_pixels
from kinema.video.transport import transport_damage

__all__ = ["structural_damage"]


class _Broken(Exception):  # noqa: N818 - never leaves this file
    """The walk cannot go on; says why."""


def structural_damage(path: Path | str, container: str, stream_id: int = 0) -> str | None:
    """What is broken in the skeleton of the file at `path`.

    Args:
        path: a file that can be read.
        container: FFmpeg's name of the format, such as `matroska,webm`.
        stream_id: what the container calls the video by: its PID in a transport stream, its place among the streams
            of an AVI; others need none.

    Returns:
        The first broken place, or None: nothing is, or the container has no skeleton that is known here.
    """
    walk = _WALKS.get(container)
    if walk is None:
        return None
    try:
        with Path(path).open("rb") as file:
            return walk(file, Path(path).stat().st_size, stream_id)
    except _Broken as broken:
        return str(broken)
    except OSError as error:
        return f"reading stops early: {error.strerror or error}"


def _take(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise _Broken("the file ends in the middle")
    return data


# --- GIF: header, then extensions and images of sub-blocks, then one byte that says it is the end ---

_GIF_END, _GIF_IMAGE, _GIF_EXTENSION = 0x3B, 0x2C, 0x21
_GIF_MOST_BITS = 12
_GIF_MOST_RUNS = 100_000  # a few seconds


def _walk_gif(file: BinaryIO, _size: int, _id: int) -> None:
    _skip_palette(file, _take(file, 13)[10])
    runs_left = _GIF_MOST_RUNS
    while (kind := _take(file, 1)[0]) != _GIF_END:
        if kind == _GIF_IMAGE:
            head = _take(file, 9)
            _skip_palette(file, head[8])
            literal_bits, blocks = _take(file, 1)[0], _sub_blocks(file)
            # Encoders fill every sub-block of a picture but its last; other lengths were read from amid its pixels.
            lengths = [len(block) for block in blocks]
            if len(set(lengths[:-1])) > 1 or lengths[-1:] > lengths[:1]:
                raise _Broken(f"the picture that ends at byte {file.tell()} is in pieces")
            pixels = int.from_bytes(head[4:6], "little") * int.from_bytes(head[6:8], "little")
            if literal_bits >= _GIF_MOST_BITS:
                raise _Broken(f"the picture that ends at byte {file.tell()} has colours of {literal_bits} bits")
            found = count_pixels(b"".join(blocks), literal_bits, runs_left if literal_bits > 1 else 0)
            runs_left -= found.runs
            if found.pixels not in {pixels, None}:
                raise _Broken(f"the picture that ends at byte {file.tell()} does not give its {pixels} pixels")
        elif kind == _GIF_EXTENSION:
            _take(file, 1)
            _sub_blocks(file)
        else:
            raise _Broken(f"byte {file.tell() - 1} should begin a picture and does not")


def _sub_blocks(file: BinaryIO) -> list[bytes]:
    blocks = []
    while length := _take(file, 1)[0]:
        blocks.append(_take(file, length))
    return blocks


def _skip_palette(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        _take(file, 3 << (1 + (flags & 7)))


# --- FLV: tags with their length in front and behind ---

_FLV_TAG_BYTES = 11
_FLV_LENGTH_BYTES = 4
_FLV_KINDS = {8, 9, 18}  # sound, pictures, notes


def _walk_flv(file: BinaryIO, size: int, _id: int) -> None:
    at = int.from_bytes(_take(file, 9)[5:], "big") + _FLV_LENGTH_BYTES  # header, and the length of no tag
    while at < size:
        file.seek(at)
        head = _take(file, _FLV_TAG_BYTES)
        if head[0] & 0x1F not in _FLV_KINDS:
            raise _Broken(f"byte {at} should begin a tag and does not")
        at += _FLV_TAG_BYTES + int.from_bytes(head[1:4], "big")
        if at > size or 0 < size - at < _FLV_LENGTH_BYTES:
            raise _Broken("the file ends in the middle of a picture")
        at += _FLV_LENGTH_BYTES


# --- MPEG program stream: packs and packets, each begun by a code and each but the packs with its length ---

_PS_END, _PS_PACK, _PS_FIRST_WITH_LENGTH = 0xB9, 0xBA, 0xBB


def _walk_ps(file: BinaryIO, size: int, _id: int) -> None:
    at = 0
    while at + 4 <= size:
        file.seek(at)
        head = file.read(14)
        if head[:3] != b"\0\0\1":
            if at == 0 or not head.strip(b"\0"):  # a disc's header in front, or filled up to whole sectors behind
                return
            raise _Broken(f"byte {at} should begin a packet and does not")
        kind = head[3]
        if kind == _PS_PACK:
            at += (14 + (head[13:] or b"\0")[0] % 8) if head[4:5] >= b"\x40" else 12  # MPEG-2, MPEG-1
        elif kind >= _PS_FIRST_WITH_LENGTH:
            at += 6 + int.from_bytes(head[4:6], "big")
        elif kind == _PS_END:
            at += 4
        else:
            raise _Broken(f"byte {at} should begin a packet and does not")
    if at > size:
        raise _Broken("the file ends in the middle of a packet")


# --- Matroska: elements of (id, length, content), nested; some begin with a checksum of the rest ---

_SEGMENT, _CLUSTER, _CHECKSUM, _FILLER = 0x18538067, 0x1F43B675, 0xBF, 0xEC
_IN_SEGMENT = {
    _CLUSTER, _CHECKSUM, _FILLER,
    0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1254C367, 0x1043A770, 0x1941A469,
}  # fmt: skip
_IN_CLUSTER = {_CHECKSUM, _FILLER, 0xA3, 0xA0, 0xE7, 0xA7, 0xAB, 0xAF, 0x5854}


def _walk_matroska(file: BinaryIO, size: int, _id: int) -> None:
    at = 0
    while at < size:
        kind, start, end = _element(file, at, size)
        if kind == _SEGMENT:
            _walk_segment(file, start, size if end is None else end)
        if end is None:
            return
        at = end


def _walk_segment(file: BinaryIO, at: int, end: int) -> None:
    while at < end:
        kind, start, after = _element(file, at, end)
        if kind not in _IN_SEGMENT:
            raise _Broken(f"byte {at} should begin a cluster and does not")
        if after is None:  # a live recording, whose clusters end where the next begins
            return
        if kind != _FILLER:
            _check_sum(file, start, after)
        if kind == _CLUSTER:
            _walk_cluster(file, start, after)
        at = after


def _walk_cluster(file: BinaryIO, at: int, end: int) -> None:
    while at < end:
        kind, _, after = _element(file, at, end)
        if kind not in _IN_CLUSTER or after is None:
            raise _Broken(f"byte {at} should begin a picture and does not")
        at = after


def _check_sum(file: BinaryIO, start: int, end: int) -> None:
    file.seek(start)
    head = file.read(6)
    if len(head) < 6 or head[0] != _CHECKSUM or head[1] != 0x84:
        return
    left, found = end - start - 6, 0
    while left > 0:
        part = _take(file, min(left, 1 << 20))
        found, left = zlib.crc32(part, found), left - len(part)
    if found != int.from_bytes(head[2:], "little"):
        raise _Broken(f"the checksum of bytes {start} to {end} does not hold")


def _element(file: BinaryIO, at: int, limit: int) -> tuple[int, int, int | None]:
    """(id, start, end) of the content of the element at `at`; an end of None is unknown, as in live recordings."""
    file.seek(at)
    head = file.read(12)
    id_bytes = 9 - head[0].bit_length() if head else 0
    if not 0 < id_bytes <= 4 or len(head) <= id_bytes or not head[id_bytes]:
        raise _Broken(f"byte {at} should begin an element and does not")
    size_bytes = 9 - head[id_bytes].bit_length()
    if len(head) < id_bytes + size_bytes:
        raise _Broken("the file ends in the middle")
    most = (1 << 7 * size_bytes) - 1
    length = int.from_bytes(head[id_bytes : id_bytes + size_bytes], "big") & most
    start = at + id_bytes + size_bytes
    if length == most:
        return int.from_bytes(head[:id_bytes], "big"), start, None
    if start + length > limit:
        raise _Broken(f"the element at byte {at} is longer than what holds it")
    return int.from_bytes(head[:id_bytes], "big"), start, start + length


_WALKS: dict[str, Callable[[BinaryIO, int, int], str | None]] = {
    "gif": _walk_gif,
    "flv": _walk_flv,
    "mpeg": _walk_ps,
    "matroska,webm": _walk_matroska,
    "mpegts": transport_damage,
    "avi": avi_damage,
}
