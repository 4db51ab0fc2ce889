"""Stored flow as timed frames of two channels: the reader that stands where a VideoFile would."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from kinema.core.errors import MediaError, UsageError
from kinema.video.file import Damage, VideoFile, damage_error
from kinema.video.flow_record import VIDEO_STORE, FlowRecord, read_record
from kinema.video.flow_steps import field_at, scaled
from kinema.video.frame import Frames
from kinema.video.picture import check_short_side
from kinema.video.probe import VideoInfo

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["FlowFile", "pair_names"]


def pair_names(index: int) -> tuple[str, str]:
    """The two files of field `index`, which are counted from 1: motion to the right, motion down."""
    return f"flow_x_{index + 1:05}.jpg", f"flow_y_{index + 1:05}.jpg"


class FlowFile:
    """Stored flow, read as a video of two channels is; use it as a context manager.

        with FlowFile("flow/fight/a/flow.json") as flow:
            flow.read(range(16)).data  # uint8 (16, 2, H, W): motion to the right, motion down; 128 is none

    Field k lies between the frames at k / fps and (k + 1) / fps seconds, and bears the time of the first.

    Args:
        path: its `flow.json`.
        short_side_px: scale fields, up or down, so that the shorter side has this many pixels; None keeps
            the size. The motion itself stays in pixels of the size it was computed at, as it does
            wherever networks are fed with crops of stored flow.
        strict: whether a missing or broken picture raises (after everything else was given) or is only
            noted in `damage`.

    Raises:
        MediaError: the record cannot be read, or the video beside it.
        UsageError: an argument out of range.
    """

    def __init__(self, path: Path | str, *, short_side_px: int | None = None, strict: bool = True) -> None:
        check_short_side(short_side_px)
        self.path = Path(path)
        self.short_side_px = short_side_px
        self.strict = strict
        self.record: FlowRecord = read_record(self.path)
        self._damage: dict[int, str] = {}
        self._video: VideoFile | None = None
        if self.record.recipe.store == "video":
            self._video = VideoFile(self.path.with_name(VIDEO_STORE))
            found = len(self._video.pts)
            if found != self.record.fields:
                self._video.close()
                raise MediaError(self.path, f"{VIDEO_STORE} holds {found} fields of {self.record.fields}")

    @property
    def info(self) -> VideoInfo:
        """What it is, before `short_side_px`."""
        record = self.record
        return VideoInfo(
            path=self.path,
            width_px=record.width_px,
            height_px=record.height_px,
            frame_count=record.fields,
            duration_seconds=float(record.fields / record.recipe.fps),
            average_fps=float(record.recipe.fps),
            time_base=self._time_base,
            start_pts=0,
            rotation_degrees=0,
            codec=f"flow ({record.recipe.algorithm}, {record.recipe.store})",
            pixel_format="two bytes",
            variable_frame_rate=False,
        )

    @property
    def pts(self) -> tuple[int, ...]:
        """Times of all fields in units of 1 / fps: 0, 1, 2 ..."""
        return tuple(range(self.record.fields))

    @property
    def times(self) -> tuple[float, ...]:
        """Seconds (T,) of every field, from the first."""
        return tuple(float(index * self._time_base) for index in range(self.record.fields))

    @property
    def damage(self) -> tuple[Damage, ...]:
        """What has been found broken so far, in order of time."""
        return tuple(Damage(float(index * self._time_base), reason) for index, reason in sorted(self._damage.items()))

    def frames(
        self, *, start_seconds: float = 0.0, end_seconds: float | None = None, chunk_frames: int = 32
    ) -> Generator[Frames, None, None]:
        """Fields whose time lies in [start_seconds, end_seconds), in order, in memory for one chunk.

        Args:
            start_seconds: included.
            end_seconds: excluded; None means to the end.
            chunk_frames: fields in each yielded Frames; the last may hold fewer.

        Yields:
            Frames of uint8 (T, 2, H, W) with T up to `chunk_frames`.

        Raises:
            MediaError: when all was yielded, if something was damaged and `strict`.
            UsageError: an argument out of range.
        """
        if chunk_frames < 1:
            raise UsageError(f"chunks of {chunk_frames} frames", allowed="1 frame or more")
        if start_seconds < 0 or (end_seconds is not None and end_seconds < start_seconds):
            raise UsageError(
                f"frames from {start_seconds} to {end_seconds} s", allowed="a start of 0 or later and no earlier end"
            )
        first = self._index_at(start_seconds)
        last = self.record.fields if end_seconds is None else self._index_at(end_seconds)
        return self._chunks(range(first, last), chunk_frames)

    def read(self, indices: Sequence[int]) -> Frames:
        """The fields at `indices` (any order, repeats allowed), in that order.

        Args:
            indices: positions in `pts`; at least one.

        Returns:
            Frames of uint8 (len(indices), 2, H, W).

        Raises:
            MediaError: a field cannot be had.
            UsageError: no index, or one out of range.
        """
        if not indices or min(indices) < 0 or max(indices) >= self.record.fields:
            raise UsageError(
                f"fields {list(indices)} of {self.path}",
                allowed=f"at least one, each from 0 to {self.record.fields - 1}",
            )
        if self._video is not None:
            data = self._video.read(indices).data[:, :2]
        else:
            data = torch.stack([self._pair(index) for index in indices])
        return Frames(scaled(data, self.short_side_px), tuple(indices), self._time_base)

    def close(self) -> None:
        """Release the file; more than once does no harm."""
        if self._video is not None:
            self._video.close()

    @property
    def _time_base(self) -> Fraction:
        return 1 / self.record.recipe.fps

    def _index_at(self, seconds: float) -> int:
        return min(self.record.fields, field_at(seconds, self.record.recipe.fps))

    def _chunks(self, indices: range, size: int) -> Generator[Frames, None, None]:
        broken: dict[int, str] = {}
        for begin in range(0, len(indices), size):
            good = [
                frames
                for index in indices[begin : begin + size]
                if (frames := self._readable(index, broken)) is not None
            ]
            if good:
                yield Frames.join(good)
        self._damage |= broken
        if broken and self.strict:
            raise damage_error(self.path, self.damage)

    def _readable(self, index: int, broken: dict[int, str]) -> Frames | None:
        """Field `index`, or None and the reason in `broken`."""
        try:
            return self.read([index])
        except MediaError as error:
            broken[index] = error.reason
            return None

    def _pair(self, index: int) -> torch.Tensor:
        """Field `index`, uint8 (2, H, W), from its two pictures."""
        size = (self.record.width_px, self.record.height_px)
        planes = []
        for name in pair_names(index):
            path = self.path.with_name(name)
            try:
                with Image.open(path) as opened:
                    picture = opened.convert("L")
            except (UnidentifiedImageError, OSError) as error:
                reason = getattr(error, "strerror", None) or "not a picture, or one cut off"
                raise MediaError(path, f"{name}: {reason}", next_step="compute the flow again") from error
            if picture.size != size:
                raise MediaError(path, f"{name}: {picture.width}x{picture.height} pixels, not {size[0]}x{size[1]}")
            planes.append(torch.from_numpy(np.array(picture)))
        return torch.stack(planes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        scaled = "" if self.short_side_px is None else f", short_side_px={self.short_side_px}"
        return f"FlowFile('{self.path}'{scaled})"
