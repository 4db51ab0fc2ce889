"""Whether the packets of an MPEG transport stream (ISO/IEC 13818-1, 2.4.3) follow each other without a gap.

Each packet begins with 0x47, and those of one stream count from 0 to 15 and again. FFmpeg goes on behind what has no
0x47, and forgets a gap in the count where the next picture begins.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["transport_damage"]

_SYNC = 0x47
_LAYOUTS = ((188, 0), (192, 4), (204, 0))  # length of a packet with what stands before (a time) or behind (parity)
_HEADER_BYTES = 188
_TRIED_PACKETS = 64
_BLOCK_PACKETS = 1 << 15


def transport_damage(file: BinaryIO, size: int, video_pid: int) -> str | None:
    """What is broken in the packets of a transport stream of `size` bytes, whose video is in packets `video_pid`.

    Returns:
        The first broken place. None: there is none, or the bytes are not in packets at all.
    """
    start = np.frombuffer(file.read(_LAYOUTS[-1][0] * _TRIED_PACKETS), np.uint8)
    length, first, lead = _layout(start)
    if not length:
        return None
    if first:
        return f"{first} bytes before the first whole packet of {length}"
    counts = _Counts(video_pid)
    for block_at in range(0, size // length, _BLOCK_PACKETS):
        file.seek(block_at * length)
        data = np.frombuffer(file.read(_BLOCK_PACKETS * length), np.uint8)
        packets = data[: len(data) // length * length].reshape(-1, length)[:, lead : lead + _HEADER_BYTES]
        unsynced = np.flatnonzero(packets[:, 0] != _SYNC)
        whole = packets[: unsynced[0]] if len(unsynced) else packets
        broken = counts.first_broken(whole)
        if broken is not None:
            return f"byte {(block_at + broken) * length}: packets of the video are missing or out of order"
        if len(unsynced):
            return f"byte {(block_at + int(unsynced[0])) * length} should begin a packet and does not"
    rest = size % length
    return f"{rest} bytes more than whole packets of {length}" if rest else None


def _layout(start: NDArray[np.uint8]) -> tuple[int, int, int]:
    """(length of a packet, bytes before the first one, bytes before its 0x47); a length of 0: no packets."""
    best = (0, 0, 0)
    most = 0.5  # of the places where a packet should begin
    for length, lead in _LAYOUTS:
        rows = start[: len(start) // length * length].reshape(-1, length)
        if len(rows):
            shares = (rows == _SYNC).mean(axis=0)
            at = int(shares.argmax())
            if shares[at] > most:
                most, best = float(shares[at]), (length, (at - lead) % length, lead)
    return best


class _Counts:
    """Follows the count of the packets of one stream from block to block."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._last: int | None = None

    def first_broken(self, packets: NDArray[np.uint8]) -> int | None:
        """Index of the first packet of the stream that does not follow the one before, or begins no picture."""
        numbers = np.flatnonzero((packets[:, 1] & 0x1F).astype(np.int64) << 8 | packets[:, 2] == self._pid)
        mine = packets[numbers]
        if not len(mine):
            return None
        extended, filled = mine[:, 3] & 0x20 > 0, mine[:, 3] & 0x10 > 0
        extension_bytes = np.where(extended, mine[:, 4].astype(np.int64) + 1, 0)
        interrupted = (extension_bytes > 1) & (mine[:, 5] & 0x80 > 0)  # discontinuity_indicator
        counted = mine[:, 3] & 0x0F
        before = np.concatenate(([counted[0] if self._last is None else self._last], counted[:-1]))
        expected = (before + filled) & 0x0F
        if self._last is None:
            expected[0] = counted[0]
        self._last = int(counted[-1])
        wrong = (counted != expected) & ~interrupted
        wrong |= mine[:, 1] & 0x80 > 0  # transport_error_indicator
        wrong |= _begins_wrongly(mine, filled, 4 + extension_bytes)
        broken = np.flatnonzero(wrong)
        return int(numbers[broken[0]]) if len(broken) else None


def _begins_wrongly(mine: NDArray[np.uint8], filled: NDArray[np.bool_], at: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Packets that should begin a picture with 00 00 01 and do not; what is too short for that is not judged."""
    begins = (mine[:, 1] & 0x40 > 0) & filled & (at + 3 <= _HEADER_BYTES)
    rows = np.arange(len(mine))
    place = np.minimum(at, _HEADER_BYTES - 3)
    code = (
        mine[rows, place].astype(np.int64) << 16 | mine[rows, place + 1].astype(np.int64) << 8 | mine[rows, place + 2]
    )
    result: NDArray[np.bool_] = begins & (code != 1)
    return result
