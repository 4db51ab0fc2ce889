"""One sample of a manifest -> a short video of few bytes, with its times kept exactly."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from kinema.core.errors import MediaError
from kinema.datasets.shards.index import PackOptions
from kinema.video.frame import Frames
from kinema.video.source import open_recording
from kinema.video.writer import VideoWriter

__all__ = ["EncodeJob", "EncodedClip", "died", "encode"]

# Of a file of one picture, whose rate nothing tells.
_UNKNOWN_FPS = Fraction(25)


@dataclass(frozen=True)
class EncodeJob:
    """One sample to encode.

    Attributes:
        position: what the result is called by.
        path: the video, or folder or archive of frames.
        start_seconds: of the segment; None: the beginning.
        end_seconds: of the segment, exclusive; None: the end of the file.
        target: the .mp4 file to write.
        options: size and quality.
    """

    position: int
    path: Path
    start_seconds: float | None
    end_seconds: float | None
    target: Path
    options: PackOptions


@dataclass(frozen=True)
class EncodedClip:
    """What became of one `EncodeJob`.

    Attributes:
        position: of the job.
        reason: why it cannot be decoded whole; None where it could be.
        frames: pictures written.
        fps: exact frames a second: of the file's own even times, else on average over the file.
        width_px: as written.
        height_px: as written.
    """

    position: int
    reason: str | None = None
    frames: int = 0
    fps: Fraction = Fraction(0)
    width_px: int = 0
    height_px: int = 0


def encode(job: EncodeJob) -> EncodedClip:
    """Write the frames in [start_seconds, end_seconds) of the job's video to its target.

    The shorter side is scaled down to `options.short_side_px`, never up; a side of an odd number of
    pixels loses its last line, as stored colour needs even ones. Times keep their distances exactly.

    Returns:
        The clip, or the reason why there is none: damage, no frame in the segment, or flow in place of pictures.

    Raises:
        DataError: the target cannot be written.
    """
    try:
        return _encode(job)
    except MediaError as error:
        return EncodedClip(job.position, error.reason)


def died(job: EncodeJob) -> EncodedClip:
    """What is said of a video whose decoding ended its process."""
    return EncodedClip(job.position, "the process that decoded it died")


def _encode(job: EncodeJob) -> EncodedClip:
    options = job.options
    with open_recording(job.path) as whole:
        info = whole.info
        fps = _rate(whole.pts, info.time_base)
    side = min(options.short_side_px, info.width_px, info.height_px)
    with open_recording(job.path, short_side_px=side) as video:
        chunks = video.frames(start_seconds=job.start_seconds or 0.0, end_seconds=job.end_seconds)
        first = next(chunks, None)
        if first is None:
            end = "the end" if job.end_seconds is None else f"{job.end_seconds} s"
            raise MediaError(job.path, f"no frame between {job.start_seconds or 0.0} s and {end}")
        if first.data.shape[1] != 3:
            raise MediaError(job.path, "optical flow, where shards hold pictures")
        height, width = (length - length % 2 for length in first.data.shape[2:])
        if min(height, width) == 0:
            raise MediaError(job.path, "pictures one pixel wide or high")
        with VideoWriter(
            job.target,
            fps,
            (width, height),
            crf=options.crf,
            keyframe_interval_frames=options.keyframe_interval_frames,
            time_base=info.time_base,
        ) as writer:
            frames: Frames | None = first
            while frames is not None:
                pts = [pts - first.pts[0] for pts in frames.pts]
                writer.write(frames.data[:, :, :height, :width], pts=pts)
                frames = next(chunks, None)
    return EncodedClip(job.position, None, writer.frame_count, fps, width, height)


def _rate(pts: tuple[int, ...], time_base: Fraction) -> Fraction:
    """Exact frames a second."""
    gaps = {later - earlier for earlier, later in pairwise(pts)}
    if not gaps:
        return _UNKNOWN_FPS
    if len(gaps) == 1:
        return 1 / (gaps.pop() * time_base)
    return (len(pts) - 1) / ((pts[-1] - pts[0]) * time_base)
