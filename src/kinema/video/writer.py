"""Frames -> a video file that appears whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import torch
from av.video.reformatter import VideoReformatter

from kinema.core.atomic import replacing
from kinema.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["VideoWriter"]

# PyAV converts RGB with the BT.601 matrix in limited range; saying so in the stream lets every
# player convert back the same way, whatever it would have guessed from the frame size.
_MATRIX_SMPTE170M = 6
_RANGE_LIMITED = 1


class VideoWriter:
    """Writes one video; use it as a context manager. A block that fails leaves nothing behind.

    The same frames and arguments give the same bytes (one encoder thread, no dates in the file).

        with VideoWriter("out.mp4", fps=25, size=(128, 96)) as writer:
            writer.write(frames)  # uint8 (T, 96, 128, 3)

    Args:
        path: file to write; its suffix names the container (`.mp4`, `.mkv`, `.avi`, ...). An old file
            is replaced when the block ends well.
        fps: frames a second, exact: an int or a Fraction such as Fraction(30000, 1001). With a
            `time_base`, what the last frame's duration is taken from.
        size: (width, height) in pixels of every frame.
        codec: FFmpeg's name of the encoder.
        crf: constant-quality factor, lower is better, 0 is lossless for x264; None for encoders without one.
        preset: speed against size, such as "veryfast" for x264; None leaves it to the encoder.
        keyframe_interval_frames: most frames from one keyframe to the next; seeking decodes at most so many.
        pixel_format: FFmpeg's name of the stored format. `yuv420p` plays everywhere but needs even sides.
        time_base: seconds a unit of the times passed to `write`, for a variable frame rate; None writes
            frames 1 / fps apart.

    Raises:
        UsageError: sides that the pixel format cannot hold, an unknown container, codec or pixel
            format, a rate that is not exact, or no `crf` where one is asked for.
        DataError: the folder cannot be written to, the container refuses the codec, or no frame was written.
    """

    def __init__(
        self,
        path: Path | str,
        fps: Fraction | int,
        size: tuple[int, int],
        *,
        codec: str = "libx264",
        crf: int | None = 23,
        preset: str | None = None,
        keyframe_interval_frames: int = 50,
        pixel_format: str = "yuv420p",
        time_base: Fraction | None = None,
    ) -> None:
        if not isinstance(fps, (int, Fraction)) or fps <= 0:
            raise UsageError(
                f"a rate of {fps!r} frames a second", allowed="an int or Fraction above 0, as Fraction(30000, 1001)"
            )
        if keyframe_interval_frames < 1:
            raise UsageError(f"a keyframe every {keyframe_interval_frames} frames", allowed="one frame or more")
        _check_size(size, pixel_format)
        self.path = Path(path)
        self.size = size
        self.fps = Fraction(fps)
        self.time_base = time_base
        self.frame_count = 0
        self._codec = codec
        self._crf = crf
        self._keyframe_interval_frames = keyframe_interval_frames
        self._preset = preset
        self._pixel_format = pixel_format
        self._reformatter = VideoReformatter()  # keeps its tables from frame to frame
        self._last_pts: int | None = None
        self._cleanup = ExitStack()
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            beside = opening.enter_context(replacing(self.path))
            try:
                self._container = opening.enter_context(av.open(beside, "w"))
            except (ValueError, OSError) as error:
                raise UsageError(
                    f"no container is known for {self.path.name}",
                    allowed="a suffix such as .mp4, .mkv, .mov or .avi",
                ) from error
            self._stream = self._add_stream()
            try:
                self._stream.codec_context.open()
                self._container.start_encoding()
            except av.FFmpegError as error:
                raise DataError(
                    f"{self._codec} with {self._pixel_format} cannot be written to {self.path.name}: {error}",
                    allowed="a codec and pixel format that this container holds",
                    next_step="libx264 with yuv420p in an .mp4 file works everywhere",
                ) from error
            self._cleanup = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._cleanup.__exit__(kind, error, trace)
            return
        with self._cleanup:  # a failing flush, too, leaves nothing behind
            if self.frame_count == 0:
                raise DataError(f"no frame was written to {self.path}", allowed="one frame or more")
            self._encode(None)
            try:
                self._container.close()  # writes the file's index
            except av.FFmpegError as failure:
                raise self._unwritable(failure) from failure

    def write(self, frames: np.ndarray[Any, Any] | torch.Tensor, *, pts: Sequence[int] | None = None) -> None:
        """Append frames.

        Args:
            frames: uint8 RGB, an array (T, H, W, 3) or a tensor (T, 3, H, W) as in `Frames.data`.
            pts: T presentation times in units of `time_base`, from 0, ascending over the whole file;
                None where the writer has no `time_base`.

        Raises:
            DataError: frames of another type, shape or size, or times that do not ascend.
            UsageError: times without a `time_base`, or the other way round.
        """
        pixels = self._as_pixels(frames)
        times = self._times(len(pixels), pts)
        for picture, time in zip(pixels, times, strict=True):
            rgb = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = self._reformatter.reformat(rgb, format=self._pixel_format)
            frame.pts = time
            frame.time_base = self._unit
            frame.duration = round(1 / (self.fps * self._unit))
            self._encode(frame)
            self._last_pts = time
            self.frame_count += 1

    def _add_stream(self) -> Any:
        try:
            stream: Any = self._container.add_stream(self._codec, rate=self.fps)
        except (ValueError, OSError) as error:  # PyAV's UnknownCodecError is a ValueError
            raise UsageError(
                f"no encoder is called '{self._codec}'", allowed="libx264, libvpx-vp9, ffv1, ..."
            ) from error
        context = stream.codec_context
        context.width, context.height = self.size
        context.pix_fmt = self._pixel_format
        context.time_base = stream.time_base = self._unit
        if self.time_base is not None:
            # Reordered frames would make containers derive a wrong duration from uneven times.
            context.max_b_frames = 0
        context.gop_size = self._keyframe_interval_frames
        context.thread_count = 1  # more threads may cut the work, and so the bytes, another way each run
        if self._pixel_format.startswith("yuv"):
            context.colorspace = _MATRIX_SMPTE170M
            context.color_range = _RANGE_LIMITED
        options: dict[str, str] = {}
        if self._crf is not None:
            if not self._codec.startswith(("libx26", "libvpx", "libsvtav1", "libaom")):
                raise UsageError(f"crf {self._crf} for {self._codec}, which knows no constant quality", allowed="None")
            options["crf"] = str(self._crf)
        if self._preset is not None:
            if not self._codec.startswith(("libx26", "libsvtav1")):
                raise UsageError(f"preset '{self._preset}' for {self._codec}, which knows none", allowed="None")
            options["preset"] = self._preset
        if self._codec.startswith("libx264"):
            # x264's vector code gives other bytes from run to run, depending on what lies around in memory.
            options["x264-params"] = "cpu-independent=1"
        context.options = options
        return stream

    def _as_pixels(self, frames: np.ndarray[Any, Any] | torch.Tensor) -> np.ndarray[Any, Any]:
        width, height = self.size
        if isinstance(frames, torch.Tensor):
            layout = f"uint8 (T, 3, {height}, {width})"
            expected: tuple[int, ...] = (3, height, width)
        else:
            layout = f"uint8 (T, {height}, {width}, 3)"
            expected = (height, width, 3)
        if str(frames.dtype).removeprefix("torch.") != "uint8" or tuple(frames.shape[1:]) != expected:
            raise DataError(f"frames of {frames.dtype} with shape {tuple(frames.shape)}", allowed=layout)
        if isinstance(frames, torch.Tensor):
            frames = frames.detach().cpu().permute(0, 2, 3, 1).numpy()  # (T, H, W, 3)
        return np.ascontiguousarray(frames)

    def _times(self, count: int, pts: Sequence[int] | None) -> list[int]:
        if (pts is None) != (self.time_base is None):
            raise UsageError(
                "frames with times for a constant rate" if pts is not None else "frames without times",
                allowed="times for a writer that was given a time_base, and for no other",
            )
        if pts is None:
            return list(range(self.frame_count, self.frame_count + count))
        times = list(pts)
        if len(times) != count:
            raise DataError(f"{count} frames with {len(times)} times", allowed="one time a frame")
        before = -1 if self._last_pts is None else self._last_pts
        for time in times:
            if time <= before:
                raise DataError(f"a frame at {time} after {before}", allowed="ascending times from 0")
            before = time
        return times

    def _encode(self, frame: av.VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except av.FFmpegError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: av.FFmpegError) -> DataError:
        return DataError(
            f"cannot write {self.path}: {error}", allowed="a disk with room", next_step="free space or write elsewhere"
        )

    @property
    def _unit(self) -> Fraction:
        return 1 / self.fps if self.time_base is None else self.time_base


def _check_size(size: tuple[int, int], pixel_format: str) -> None:
    width, height = size
    if min(size) < 1:
        raise UsageError(f"frames of {width}x{height} pixels", allowed="one pixel or more a side")
    try:
        layout = av.VideoFormat(pixel_format, 16, 16)
    except ValueError as error:
        raise UsageError(
            f"no pixel format is called '{pixel_format}'", allowed="yuv420p, yuv444p, rgb24, ..."
        ) from error
    # Chroma planes of half the size cannot hold half a pixel.
    across, down = 16 // layout.chroma_width(), 16 // layout.chroma_height()
    if width % across or height % down:
        raise UsageError(
            f"frames of {width}x{height} pixels in {pixel_format}",
            allowed=f"a width divisible by {across} and a height divisible by {down}",
            next_step="crop or pad by a pixel, or store pixel_format='yuv444p'",
        )
