"""What a network is fed with, out of any video: its pictures, its optical flow, or both. One door for every road.

| modality | of a video | of a `flow.json` |
|---|---|---|
| `rgb`, `difference` | its pictures | refused by who reads: a network of pictures sees nothing in it |
| `flow` | its flow, computed while it is read | the fields that are stored |
| `rgb+flow` | its pictures at the rate of the flow, each with the flow to the next one | the same, with stored fields |
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias, overload

import torch

from kinema.core.errors import MediaError, UsageError
from kinema.core.spec import FlowSpec, InputSpec
from kinema.video.flow import algorithm_of
from kinema.video.flow_record import flow_doubts, is_flow, source_of
from kinema.video.flow_source import FlowFile
from kinema.video.flow_steps import FieldSource, Step, computed, field_at, scaled, steps, too_short
from kinema.video.frame import Frames
from kinema.video.picture_sequence import RATE_WARNING, PictureSequence
from kinema.video.source import Recording, open_recording, open_video
from kinema.video.stream import VideoStream

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Fed", "FlowSteps", "doubts_of", "open_fed", "read_as"]


class FlowSteps:
    """A video as steps of its flow, with or without the pictures; read from front to back, used as a context manager.

    Fields are those of a `FlowFile` whose fields are stored without loss: N frames at the flow's rate give N - 1.

    Args:
        video: its pictures, at the size that flow is computed at; closed with this.
        flow: rate, size and bound of the flow.
        fields: where motion comes from.
        pictures: whether each field comes with its picture.
        short_side_px: of what is given.
        stored: the stored flow that `fields` reads; closed with this.
    """

    def __init__(
        self,
        video: Recording | VideoStream,
        flow: FlowSpec,
        fields: FieldSource,
        *,
        pictures: bool,
        short_side_px: int,
        stored: FlowFile | None = None,
    ) -> None:
        self.flow = flow
        self.pictures = pictures
        self.short_side_px = short_side_px
        self.stored = stored
        self.video = video
        self._fields = fields
        self._path = video.url if isinstance(video, VideoStream) else video.path

    def frames(
        self, *, start_seconds: float = 0.0, end_seconds: float | None = None, chunk_frames: int = 4
    ) -> Generator[Frames, None, None]:
        """Steps whose time lies in [start_seconds, end_seconds), in order, in memory for one chunk.

        Args:
            start_seconds: included.
            end_seconds: excluded; None means to the end.
            chunk_frames: steps in each yielded Frames; few, since some algorithms take seconds for each.

        Yields:
            Frames of uint8 (T, 2, H, W), motion to the right and down, or (T, 5, H, W), with the picture before it.

        Raises:
            MediaError: when all was yielded, if the video is damaged; or it has fewer than two frames, or others
                than its stored flow was computed from.
            UsageError: an argument out of range.
        """
        if chunk_frames < 1:
            raise UsageError(f"chunks of {chunk_frames} frames", allowed="1 frame or more")
        if start_seconds < 0 or (end_seconds is not None and end_seconds < start_seconds):
            raise UsageError(
                f"frames from {start_seconds} to {end_seconds} s", allowed="a start of 0 or later and no earlier end"
            )
        last = None if end_seconds is None else field_at(end_seconds, self.flow.rate)
        return self._chunks(field_at(start_seconds, self.flow.rate), last, chunk_frames)

    def close(self) -> None:
        """Release the files; more than once does no harm."""
        self.video.close()
        if self.stored is not None:
            self.stored.close()

    def _chunks(self, first: int, last: int | None, size: int) -> Generator[Frames, None, None]:
        held: list[Step] = []
        count = 0
        try:
            for step in steps(self.video.frames(), self.flow.rate, self._fields, first=first, last=last):
                held.append(step)
                count += 1
                if len(held) == size:
                    yield self._frames(held)
                    held = []
        except MediaError:
            if held:
                yield self._frames(held)
            raise
        if held:
            yield self._frames(held)
        if count == 0 and first == 0 and last != 0:
            raise too_short(self._path, self.flow.rate)
        if self.stored is not None and last is None and first + count < self.stored.record.fields:
            raise _other_video(self.stored, f"{first + count + 1} frames at {self.flow.fps} a second")

    def _frames(self, held: list[Step]) -> Frames:
        rows = [torch.cat([step.picture, step.field]) if self.pictures else step.field for step in held]
        data = scaled(torch.stack(rows), self.short_side_px)
        return Frames(data, tuple(step.index for step in held), 1 / self.flow.rate)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"FlowSteps('{self._path}', {self.flow}{', with pictures' if self.pictures else ''})"


Fed: TypeAlias = Recording | VideoStream | FlowSteps
"""Anything whose `frames()` a network can be fed with."""


@overload
def open_fed(
    source: Path, fed: InputSpec, *, strict: bool = True, raft_weights: Path | None = None, threads: int = 1
) -> Recording | FlowSteps: ...
@overload
def open_fed(
    source: str, fed: InputSpec, *, strict: bool = True, raft_weights: Path | None = None, threads: int = 1
) -> Fed: ...
def open_fed(
    source: str | Path, fed: InputSpec, *, strict: bool = True, raft_weights: Path | None = None, threads: int = 1
) -> Fed:
    """A reader of what `fed` asks for, at its `short_side_px`, to be used as a context manager.

    Args:
        source: path of a video file, of a folder of frames or of the `flow.json` of stored flow; as text, URL of a
            stream as well.
        fed: what the network expects. Flow that is not stored is computed as its `flow` says.
        strict: whether damage raises or is only noted.
        raft_weights: the file of RAFT's weights, where that computes the flow.
        threads: how many may decode and convert a video file, see `VideoFile`.

    Raises:
        MediaError: it cannot be opened; or stored flow does not lead to its video.
        UsageError: flow is to be computed, and nobody said how, or it cannot be computed here.
        WeightsError: the weights of RAFT are others than the flow was computed with.
    """
    wanted = fed.short_side_px
    if fed.flow_channel is None or (fed.modality == "flow" and is_flow(source)):
        return _opened(source, wanted, strict=strict, threads=threads)
    pictures = fed.modality == "rgb+flow"
    if is_flow(source):
        return _stored_steps(Path(source), wanted, strict=strict, threads=threads)
    flow = _said(source, fed)
    algorithm = algorithm_of(flow, weights=raft_weights)
    video = _opened(source, flow.short_side_px, strict=strict, threads=threads)
    return FlowSteps(video, flow, computed(algorithm, flow.bound_px), pictures=pictures, short_side_px=wanted)


def read_as(source: str | Path, fed: InputSpec) -> tuple[object, ...]:
    """What the frames that `open_fed` gives depend on, besides the file and their size; () where that is nothing.

    Raises:
        UsageError: as `open_fed`.
    """
    if fed.flow_channel is None or (fed.modality == "flow" and is_flow(source)):
        return ()
    if is_flow(source):
        return (fed.modality,)
    flow = _said(source, fed)
    algorithm = algorithm_of(flow)
    settings = sorted(algorithm.parameters.items())
    return (fed.modality, flow.fps, flow.short_side_px, flow.bound_px, algorithm.name, algorithm.library, settings)


def doubts_of(reader: Fed, fed: InputSpec) -> tuple[str, ...]:
    """What to know before believing what a network that expects `fed` says of `reader`; nothing where all is well."""
    stored = reader.stored if isinstance(reader, FlowSteps) else reader
    doubts = flow_doubts(stored.record.recipe if isinstance(stored, FlowFile) else None, fed)
    pictures = reader.video if isinstance(reader, FlowSteps) else reader
    guessed = isinstance(pictures, PictureSequence) and pictures.rate_assumed
    return (*doubts, RATE_WARNING) if guessed else doubts


def _opened(source: str | Path, short_side_px: int, *, strict: bool, threads: int) -> Recording | VideoStream:
    how = open_recording if isinstance(source, Path) else open_video
    return how(source, short_side_px=short_side_px, strict=strict, threads=threads)


def _said(source: str | Path, fed: InputSpec) -> FlowSpec:
    if fed.flow is None:
        raise UsageError(
            f"{source} for a network that is fed with {fed.modality} and does not say how its flow is computed",
            allowed="stored flow",
            next_step="compute it with kinema data flow, and give its flow.json or manifest",
        )
    return fed.flow


def _stored_steps(path: Path, short_side_px: int, *, strict: bool, threads: int) -> FlowSteps:
    stored = FlowFile(path, strict=strict)
    flow = stored.record.recipe.spec
    try:
        video = open_recording(source_of(path), short_side_px=flow.short_side_px, strict=strict, threads=threads)
    except MediaError:
        stored.close()
        raise
    return FlowSteps(video, flow, _reading(stored), pictures=True, short_side_px=short_side_px, stored=stored)


def _reading(stored: FlowFile) -> FieldSource:
    """Fields that were computed before."""

    def field(index: int, before: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        record = stored.record
        if index >= record.fields:
            raise _other_video(stored, f"more than {record.fields + 1} frames at {record.recipe.fps} a second")
        height, width = before.shape[1:]
        if (width, height) != (record.width_px, record.height_px):
            raise _other_video(stored, f"frames of {width}x{height} pixels")
        return stored.read([index]).data[0]

    return field


def _other_video(stored: FlowFile, what: str) -> MediaError:
    record = stored.record
    return MediaError(
        stored.path,
        f"{record.fields} fields of {record.width_px}x{record.height_px} pixels, and its video has {what}",
        next_step="compute the flow again with kinema data flow",
    )
