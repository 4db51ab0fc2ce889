"""Which stored pictures no other picture needs, so that a reader on its way to a later one may leave them out.

Only H.264 as MP4, MOV, Matroska and FLV store it is looked into: there each NAL unit is preceded by its length, and
two bits of its first byte (nal_ref_idc; ITU-T H.264, 7.4.1) say whether other pictures are predicted from it. About
half of what x264 writes is predicted from by none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.video.stream import VideoStream

__all__ = ["is_disposable", "length_bytes_of"]

_CONFIGURATION_VERSION = 1  # the first byte of an `avcC` box; of start codes it is 0
_WITHOUT_PICTURE = (6, 9, 12)  # remarks, delimiters and filler, of which nothing later depends
_SLICES = (1, 2, 3, 4)  # of pictures that are no keyframe; 2 to 4 are the parts of a partitioned one


def length_bytes_of(stream: VideoStream) -> int | None:
    """Bytes of the length before each NAL unit of `stream`; None where packets cannot be looked into."""
    extradata = stream.codec_context.extradata
    if stream.codec_context.name != "h264" or not extradata or len(extradata) < 7:
        return None
    return (extradata[4] & 3) + 1 if extradata[0] == _CONFIGURATION_VERSION else None


def is_disposable(packet: memoryview, length_bytes: int) -> bool:
    """Whether the picture in `packet` is predicted from by none; False wherever there is any doubt."""
    at, slices = 0, 0
    while at < len(packet):
        start = at + length_bytes
        end = start + int.from_bytes(packet[at:start], "big")
        if end <= start or end > len(packet):  # damaged: the decoder shall see it and say so
            return False
        kind, needed = packet[start] & 31, packet[start] & 96
        if kind in _SLICES:
            if needed:
                return False
            slices += 1
        elif kind not in _WITHOUT_PICTURE:
            return False
        at = end
    return slices > 0
