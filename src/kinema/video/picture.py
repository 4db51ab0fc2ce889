"""One decoded picture -> RGB bytes as a person would see it: turned upright, in its true proportions, scaled."""

from __future__ import annotations

import struct
import weakref
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import torch
from av.sidedata.sidedata import Type
from av.video.reformatter import VideoReformatter

from kinema.core.errors import MediaError, UsageError
from kinema.video.limits import require_size

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

__all__ = ["Layout", "Painter", "check_short_side"]

# swscale's flags, by number because PyAV 17 names only some of them. Its bilinear filter widens with the
# reduction, so shrinking averages (as Pillow's and torchvision's antialiased bilinear does). Full chroma,
# accurate rounding and bit-exactness make the bytes the same on every processor, and cost nothing when scaling
# into planes, for which swscale has vector code: 76 µs a picture of 340x256 to 170x128, where the defaults
# into interleaved RGB take 117 µs.
_BILINEAR = 0x2
_FULL_CHROMA = 0x2000
_ACCURATE_ROUNDING = 0x40000
_BIT_EXACT = 0x80000
_SCALING = _BILINEAR | _FULL_CHROMA | _ACCURATE_ROUNDING | _BIT_EXACT

# Green, blue and red planes, in this order.
_PLANAR_RGB = "gbrp"
_CHANNEL_OF_PLANE = (1, 2, 0)


@dataclass(frozen=True)
class Layout:
    """How stored pixels become the shown picture.

    The shown picture has square pixels: where the file's are wider than high the picture gets wider,
    where they are higher than wide it gets higher, so that no stored line or column is lost.

    Attributes:
        width_px: width shown, after turning.
        height_px: height shown, after turning.
        transposed: rows become columns, before the flips.
        flip_horizontal: left and right change places.
        flip_vertical: top and bottom change places.
    """

    width_px: int
    height_px: int
    transposed: bool = False
    flip_horizontal: bool = False
    flip_vertical: bool = False

    @classmethod
    def of(cls, picture: VideoFrame, pixel_aspect: Fraction, short_side_px: int | None = None) -> Layout:
        """The layout of `picture` (and of its whole video).

        Args:
            picture: any decoded picture; a display matrix belongs to each.
            pixel_aspect: width of a stored pixel by its height; 1 is square.
            short_side_px: what the shorter side shown is scaled to (up or down), the longer one with
                it and rounded to the nearest pixel; None keeps the size.

        Raises:
            UsageError: a short side of less than one pixel.
        """
        check_short_side(short_side_px)
        transposed, flip_horizontal, flip_vertical = _orientation(picture)
        width, height = picture.width * max(pixel_aspect, Fraction(1)), picture.height / min(pixel_aspect, Fraction(1))
        if transposed:
            width, height = height, width
        scale = 1 if short_side_px is None else short_side_px / min(width, height)
        return cls(
            max(1, round(width * scale)), max(1, round(height * scale)), transposed, flip_horizontal, flip_vertical
        )

    @property
    def upright(self) -> bool:
        """Whether the stored picture is shown as it is."""
        return not (self.transposed or self.flip_horizontal or self.flip_vertical)

    @property
    def rotation_degrees(self) -> int:
        """Degrees (0, 90, 180, 270) that the stored picture is turned clockwise, after mirroring if it is mirrored."""
        if self.transposed:
            return 90 if self.flip_horizontal else 270
        return 180 if self.flip_vertical else 0


def check_short_side(short_side_px: int | None) -> None:
    """UsageError unless frames can be scaled to it."""
    if short_side_px is not None and short_side_px < 1:
        raise UsageError(f"a short side of {short_side_px} pixels", allowed="1 pixel or more")


class Painter:
    """Converts the pictures of one video; one swscale context, kept for all of them.

    Colours follow the matrix and range flagged in the video; where a video flags none, BT.601 in
    limited range, as FFmpeg and the tools made with it assume whatever the size. Deeper pictures
    become 8 bit, transparency is dropped, interlaced pictures stay as they are.

    Raises:
        MediaError: pictures of more pixels than `limits.MOST_PIXELS`.
    """

    def __init__(self, source: Path | str, layout: Layout) -> None:
        require_size(source, layout.width_px, layout.height_px)  # wide pixels or a thin picture scaled up
        self.layout = layout
        self._source = source
        self._scaler = VideoReformatter()
        self._lent: list[tuple[np.ndarray, weakref.ref[np.ndarray]]] = []

    def canvas(self, count: int) -> torch.Tensor:
        """Uninitialised uint8 (count, 3, height_px, width_px).

        In memory of an earlier canvas of this size that nobody holds any more, where there is one: memory
        fresh from the system costs a page fault each 4 KiB, a tenth of what converting costs.
        """
        shape = (count, 3, self.layout.height_px, self.layout.width_px)
        at = next((at for at, (base, lease) in enumerate(self._lent) if lease() is None and base.shape == shape), None)
        base = np.empty(shape, np.uint8) if at is None else self._lent.pop(at)[0]
        lease = base.view()  # held by the tensor and all views of it, and by nothing else
        self._lent = [*self._lent[-1:], (base, weakref.ref(lease))]
        return torch.from_numpy(lease)

    def paint(self, picture: VideoFrame, target: torch.Tensor) -> None:
        """Write `picture` into `target`, uint8 (3, height_px, width_px) RGB.

        Raises:
            MediaError: swscale does not know the stored pixel format.
        """
        layout = self.layout
        width, height = layout.width_px, layout.height_px
        if layout.transposed:
            width, height = height, width
        try:
            planar = self._scaler.reformat(picture, width, height, _PLANAR_RGB, interpolation=_SCALING, threads=1)
        except (av.FFmpegError, ValueError) as error:
            raise MediaError(self._source, f"{picture.format.name} pixels cannot be converted: {error}") from error
        pixels = target.numpy()  # shares memory with the tensor
        plane: Any  # offers the buffer protocol, which PyAV's type stubs do not say
        for channel, plane in zip(_CHANNEL_OF_PLANE, planar.planes, strict=True):
            # Rows are padded to the line size, which vector code likes round.
            stored = np.frombuffer(plane, np.uint8).reshape(height, -1)[:, :width]
            if not layout.upright:
                stored = stored.T if layout.transposed else stored
                stored = stored[:: -1 if layout.flip_vertical else 1, :: -1 if layout.flip_horizontal else 1]
            pixels[channel] = stored


def _orientation(picture: VideoFrame) -> tuple[bool, bool, bool]:
    """(transposed, flip_horizontal, flip_vertical) by the display matrix, to the nearest quarter turn.

    The matrix maps a stored point to a shown one: x' = a x + c y, y' = b x + d y; nine 32-bit numbers
    (a, b, u, c, d, v, x, y, w). Cameras only write quarter turns and mirrors.
    """
    side_data: Any = picture.side_data
    matrix = side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return False, False, False
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, a < 0, d < 0
    return True, c < 0, b < 0
