"""What a video file is, told by its packets and its first picture."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from kinema.core.errors import MediaError
from kinema.video.handle import Handle
from kinema.video.picture import Layout
from kinema.video.timeline import Timeline, read_timeline

__all__ = ["VideoInfo", "describe", "probe"]


@dataclass(frozen=True)
class VideoInfo:
    """A video file, without its pixels.

    Attributes:
        path: where it is.
        width_px: width as displayed: turned upright, with square pixels (`picture.Layout`), not scaled.
        height_px: height likewise.
        frame_count: pictures that the container promises, without those its edit list hides; what
            decodes may be fewer.
        duration_seconds: from when the first picture is shown until the last one stops being shown.
        average_fps: frames there are a second of `duration_seconds`.
        time_base: seconds a unit of the file's clock.
        start_pts: time of the first picture on the file's clock, in units of `time_base`.
        rotation_degrees: 0, 90, 180 or 270, by which stored pictures are turned clockwise to be upright.
        codec: FFmpeg's name of the format the video is compressed in, such as `h264`.
        pixel_format: FFmpeg's name of the stored pixels, such as `yuv420p`.
        variable_frame_rate: whether distances between pictures differ by more than the rounding of the clock.
        has_audio: whether there is sound beside the pictures; it is never decoded.
        rate_assumed: whether nothing told the frame rate, so that all times follow from a guess of 25 frames
            a second; only of frames without a record of it.
    """

    path: Path | str
    width_px: int
    height_px: int
    frame_count: int
    duration_seconds: float
    average_fps: float
    time_base: Fraction
    start_pts: int
    rotation_degrees: int
    codec: str
    pixel_format: str
    variable_frame_rate: bool
    has_audio: bool = False
    rate_assumed: bool = False


def probe(path: Path | str) -> VideoInfo:
    """Describe the video file at `path`: reads all packets, decodes the first picture.

    Raises:
        MediaError: it cannot be opened, holds no video, or not one picture decodes.
    """
    with Handle(path) as handle:
        return describe(handle, read_timeline(handle, _unheard))


def describe(handle: Handle, timeline: Timeline) -> VideoInfo:
    """Describe the open file `handle`, whose packets are `timeline`; leaves it behind its first picture.

    Raises:
        MediaError: not one picture decodes.
    """
    picture = next(handle.pictures(_unheard, handle.packets_from(None, _unheard)), None)
    if picture is None:
        raise MediaError(
            handle.source,
            f"none of its {len(timeline.pts)} pictures can be decoded",
            next_step="copy the file again from where it came",
        )
    layout = Layout.of(picture, handle.pixel_aspect)
    gaps = {later - earlier for earlier, later in pairwise(timeline.pts)}
    duration_seconds = timeline.seconds(timeline.end_pts)
    return VideoInfo(
        path=handle.source,
        width_px=layout.width_px,
        height_px=layout.height_px,
        frame_count=timeline.promised_frames,
        duration_seconds=duration_seconds,
        average_fps=len(timeline.pts) / duration_seconds,
        time_base=timeline.time_base,
        start_pts=timeline.pts[0],
        rotation_degrees=layout.rotation_degrees,
        codec=handle.stream.codec_context.codec.canonical_name,
        pixel_format=picture.format.name,
        variable_frame_rate=bool(gaps) and max(gaps) - min(gaps) > 1,
        has_audio=bool(handle.container.streams.audio),
    )


def _unheard(_pts: int | None, _reason: str) -> None:
    """A description only says what is promised; `VideoFile.damage` says what is broken."""
