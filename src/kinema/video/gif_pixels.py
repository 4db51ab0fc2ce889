"""How many pixels the compressed data of a GIF picture give, told without making them.

A code of the compression (Lempel, Ziv and Welch, as in the GIF specification, appendix F) stands for a run of pixels
that was seen before. A wrong bit makes it another run, mostly of another length, and so the picture comes out with too
many pixels or too few; FFmpeg fills up or leaves out without a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["PixelCount", "count_pixels"]

_MOST_ENTRIES = 1 << 12
_MOST_CODE_BITS = 12
_SPARE_BYTES = 3
_SHORT_RUN_CODES = 256


@dataclass(frozen=True)
class PixelCount:
    """What the data of one picture stand for.

    Attributes:
        pixels: how many; -1 where a code comes that stands for nothing yet, None where counting was given up.
        runs: parts that the data consist of, each begun by a code that clears the table; counting time goes by these.
    """

    pixels: int | None
    runs: int


def count_pixels(data: bytes, literal_bits: int, most_runs: int) -> PixelCount:
    """Count the pixels that `data` stand for.

    Args:
        data: the sub-blocks of one picture, joined.
        literal_bits: the number in front of them: bits of a colour, 2 to 11.
        most_runs: where to give up; encoders make one of some thousand pixels, and who means harm makes millions.
    """
    padded = np.frombuffer(data + bytes(_SPARE_BYTES), np.uint8).astype(np.uint32)
    words = padded[:-2] | padded[1:-1] << np.uint32(8) | padded[2:] << np.uint32(16)
    at_bit, pixels, tried = 0, 0, _MOST_ENTRIES
    for runs in range(most_runs):
        codes, at_bit, ended = _until_clear(words, at_bit, literal_bits, tried)
        run = _count_run(codes, literal_bits)
        if run < 0:
            return PixelCount(-1, runs + 1)
        pixels += run
        if ended:
            return PixelCount(pixels, runs + 1)
        tried = _SHORT_RUN_CODES if len(codes) < _SHORT_RUN_CODES else _MOST_ENTRIES
    return PixelCount(None, most_runs)


@dataclass(frozen=True)
class _Table:
    """What holds for the codes behind a clear code, whatever they are; all but the first add an entry to the table.

    Attributes:
        starts: first bit of each code, counted from that of the first one.
        ends: bit behind each.
        masks: the bits of each.
        highest: what each may be at most: the entry that is made with it.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    masks: NDArray[np.uint32]
    highest: NDArray[np.uint32]


@cache
def _table(literal_bits: int, count: int) -> _Table:
    first = (1 << literal_bits) + 2
    known = first + np.maximum(np.arange(count) - 1, 0)
    bits = np.minimum(np.floor(np.log2(known)).astype(np.int64) + 1, _MOST_CODE_BITS)
    highest = np.minimum(first + np.arange(count) - 1, _MOST_ENTRIES - 1)
    highest[0] = (1 << literal_bits) - 1
    ends = np.cumsum(bits)
    return _Table(ends - bits, ends, ((1 << bits) - 1).astype(np.uint32), highest.astype(np.uint32))


def _until_clear(
    words: NDArray[np.uint32], at_bit: int, literal_bits: int, count: int
) -> tuple[NDArray[np.uint32], int, bool]:
    """(codes from `at_bit` up to the next clear or end code, the bit behind that, whether it was the end).

    The first `count` are tried first, and then more.
    """
    left_bits = 8 * (len(words) - 1) - at_bit
    while True:
        table = _table(literal_bits, count)
        there = int(np.searchsorted(table.ends, left_bits, side="right"))
        places = table.starts[:there] + at_bit
        codes = words[places >> 3] >> (places & 7).astype(np.uint32) & table.masks[:there]
        stops = np.flatnonzero(codes >> np.uint32(1) == 1 << literal_bits - 1)
        if len(stops):
            at = int(stops[0])
            return codes[:at], at_bit + int(table.ends[at]), bool(codes[at] & 1)
        if there < count:  # some encoders leave the end code out
            return codes, at_bit, True
        count *= 4  # others go on with a full table


def _count_run(codes: NDArray[np.uint32], literal_bits: int) -> int:
    """Pixels of codes between two clear codes; -1 where one stands for nothing yet."""
    if not len(codes):
        return 0
    first = (1 << literal_bits) + 2
    highest = _table(literal_bits, _MOST_ENTRIES).highest  # a full table holds no higher code than 12 bits do
    if (codes[:_MOST_ENTRIES] > highest[: len(codes)]).any():
        return -1
    # Entry k is the run of code k and one pixel more. Lengths are found by doubling the steps back to a colour.
    made = min(len(codes) - 1, _MOST_ENTRIES - first)
    before = np.minimum(codes - np.uint32(first), made).astype(np.int64)  # colours wrap round, to what is no entry
    up = np.append(before[:made], made)
    steps = np.ones(made + 1, np.int64)
    steps[made] = 0
    while (up < made).any():
        steps += steps[up]
        up = up[up]
    return int(len(codes) + steps[before].sum())
