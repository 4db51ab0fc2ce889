"""What the header of an H.264 stream says of all its pictures, so that FFmpeg need not decode some to find out.

FFmpeg decodes the first picture of a file while it opens it, for the shape of pixels and for how many pictures arrive
before an earlier shown one. Both may stand in the sequence parameter set (ITU-T H.264, 7.3.2.1.1 and annex E).
"""

from __future__ import annotations

from functools import lru_cache

__all__ = ["says_everything"]

_CONFIGURATION_VERSION = 1  # the first byte of an `avcC` box; of start codes it is 0
_SEQUENCE_SET = 7
_WITH_CHROMA_FORMAT = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}  # profiles
_SQUARE = 1
_OWN_ASPECT = 255


@lru_cache(maxsize=64)  # the files of a data set mostly share one, and reading it costs a tenth of opening a file
def says_everything(avcc: bytes) -> bool:
    """Whether the header tells that pixels are square, and that and by how much pictures are reordered.

    Args:
        avcc: content of the `avcC` box: the decoder configuration of an MP4, MOV or Matroska file.

    Returns:
        False wherever there is any doubt: several parameter sets, scaling lists, what is cut off.
    """
    if len(avcc) < 8 or avcc[0] != _CONFIGURATION_VERSION or avcc[5] & 31 != 1:
        return False
    length = int.from_bytes(avcc[6:8], "big")
    unit = avcc[8 : 8 + length]
    if len(unit) < length or not unit or unit[0] & 31 != _SEQUENCE_SET:
        return False
    bits = _Bits(unit[1:].replace(b"\0\0\3", b"\0\0"))
    try:
        return _skip_to_appearance(bits) and _appearance_is_plain(bits)
    except _CutOffError:
        return False


class _CutOffError(Exception):
    """The header is shorter than it says."""


class _Bits:
    """Bits from the highest of the first byte on."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """The next `count` bits as a number."""
        self._left -= count
        if self._left < 0:
            raise _CutOffError
        return (self._value >> self._left) & ((1 << count) - 1)

    def exp_golomb(self) -> int:
        """The next number, as clause 9.1 stores them: as many zeros as bits follow the first one."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def _skip_to_appearance(bits: _Bits) -> bool:
    """Go to the parameters of how pictures look (VUI); whether there are any."""
    profile = bits.take(8)
    bits.take(16)  # constraints, level
    bits.exp_golomb()  # number of this set
    if profile in _WITH_CHROMA_FORMAT:
        if bits.exp_golomb() == 3:  # chroma as large as luma
            bits.take(1)
        bits.exp_golomb(), bits.exp_golomb(), bits.take(1)  # depths of both, lossless
        if bits.take(1):  # scaling lists
            return False
    bits.exp_golomb()  # length of picture numbers
    order = bits.exp_golomb()
    if order == 0:
        bits.exp_golomb()
    elif order == 1:
        bits.take(1), bits.exp_golomb(), bits.exp_golomb()
        for _ in range(bits.exp_golomb()):
            bits.exp_golomb()
    bits.exp_golomb(), bits.take(1)  # references, gaps
    bits.exp_golomb(), bits.exp_golomb()  # width and height
    if not bits.take(1):  # fields
        bits.take(1)
    bits.take(1)
    if bits.take(1):  # cropped
        for _ in range(4):
            bits.exp_golomb()
    return bool(bits.take(1))


def _appearance_is_plain(bits: _Bits) -> bool:
    """Whether pixels are square and the bits' last part tells of reordering."""
    if bits.take(1) and not _is_square(bits):
        return False
    if bits.take(1):  # overscan
        bits.take(1)
    if bits.take(1):  # colours
        bits.take(4)
        if bits.take(1):
            bits.take(24)
    if bits.take(1):  # place of chroma
        bits.exp_golomb(), bits.exp_golomb()
    if bits.take(1):  # rate
        bits.take(65)
    return _reorders(bits)


def _is_square(bits: _Bits) -> bool:
    aspect = bits.take(8)
    return bits.take(16) == bits.take(16) if aspect == _OWN_ASPECT else aspect == _SQUARE


def _reorders(bits: _Bits) -> bool:
    """Whether the last part of the bits tells by how much pictures are reordered, and they are."""
    scheduled = False
    for _ in range(2):
        if bits.take(1):
            _skip_schedule(bits)
            scheduled = True
    if scheduled:
        bits.take(1)
    bits.take(1)  # fields may be shown in another order
    if not bits.take(1):  # no restrictions told
        return False
    bits.take(1)
    for _ in range(4):
        bits.exp_golomb()
    return bits.exp_golomb() > 0  # where none is reordered FFmpeg doubts the header, and so do we


def _skip_schedule(bits: _Bits) -> None:
    """Leave the parameters of a hypothetical decoder's buffer (HRD)."""
    schedules = bits.exp_golomb() + 1
    bits.take(8)
    for _ in range(schedules):
        bits.exp_golomb(), bits.exp_golomb(), bits.take(1)
    bits.take(20)
