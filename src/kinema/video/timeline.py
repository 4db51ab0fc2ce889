"""When the pictures of a file are shown and where decoding may start, read from its packets without decoding."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

from kinema.core.errors import MediaError
from kinema.video.handle import Handle, Keyframe, Report

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

__all__ = ["Timeline", "read_timeline"]


@dataclass(frozen=True, repr=False)
class Timeline:
    """The times of all pictures of one file.

    Attributes:
        pts: presentation times in units of `time_base`, strictly ascending, one a shown picture; at least one.
        keyframes: ascending by `pts`; empty where decoding can only start at the beginning.
        end_pts: when the last picture stops being shown.
        time_base: seconds a unit.
        by_count: the container does not say which packet is shown when, so that the k-th decoded
            picture, not the one with this time, is the k-th of `pts`.
        promised_frames: pictures the container's header counts; the number of `pts` where it counts none.
    """

    pts: tuple[int, ...]
    keyframes: tuple[Keyframe, ...]
    end_pts: int
    time_base: Fraction
    by_count: bool
    promised_frames: int

    def seconds(self, pts: int) -> float:
        """Time `pts` in seconds from the first shown picture."""
        return float((pts - self.pts[0]) * self.time_base)

    def index_at(self, seconds: float) -> int:
        """Index of the first picture shown at `seconds` or later; the number of pictures if there is none.

        A thousandth of a unit is forgiven, because the float nearest to a time may lie behind it.
        """
        units = Fraction(seconds) / self.time_base - Fraction(1, 1000)
        return bisect_left(self.pts, self.pts[0] + units)

    def index_of(self, pts: int | None) -> int | None:
        """Index of the picture shown at exactly `pts`, or None."""
        if pts is None:
            return None
        at = bisect_left(self.pts, pts)
        return at if at < len(self.pts) and self.pts[at] == pts else None

    def keyframe_for(self, index: int) -> Keyframe | None:
        """The last keyframe shown no later than picture `index`; None: decode from the beginning.

        Chosen by presentation time, because pictures that are stored behind a keyframe but shown
        before it may need the group before (open groups of pictures).
        """
        at = bisect_right(self.keyframes, self.pts[index], key=lambda each: each.pts)
        return self.keyframes[at - 1] if at else None

    def first_index(self, key: Keyframe | None) -> int:
        """Index of the first picture that decoding from `key` on gives."""
        return 0 if key is None else bisect_left(self.pts, key.pts)

    def __repr__(self) -> str:
        return f"Timeline({len(self.pts)} frames, {len(self.keyframes)} keyframes, {self.seconds(self.end_pts):.3f} s)"


def read_timeline(handle: Handle, report: Report) -> Timeline:
    """Read every packet of `handle`, which must stand at its start.

    What its header promised and is not there is reported.

    Raises:
        MediaError: there is no packet at all.
    """
    tally = _Tally()
    for packet in handle.packets(report, keep=True):
        tally.add(packet)
    if not tally.count:
        raise MediaError(handle.source, "it holds no pictures", allowed="a video of at least one picture")
    if tally.stamped:
        pts = tuple(sorted(tally.pts))
        end_pts = pts[-1] + (tally.last_duration or round(_step(handle)))
    else:
        step = _step(handle)
        pts = tuple(round(number * step) for number in range(tally.count))
        end_pts = round(tally.count * step)
    by_count = not tally.stamped or _shuffled(handle)
    timeline = Timeline(
        pts=pts,
        keyframes=() if by_count else tuple(sorted(tally.keyframes, key=lambda each: each.pts)),
        end_pts=max(end_pts, pts[-1] + 1),
        time_base=handle.time_base,
        by_count=by_count,
        promised_frames=max(tally.count, _indexed(handle) - tally.hidden),
    )
    _check_promises(handle, timeline, report)
    return timeline


class _Tally:
    """What is kept of each packet, which is little: a day of video has millions."""

    def __init__(self) -> None:
        self.pts: list[int] = []
        self.keyframes: list[Keyframe] = []
        self.count = 0
        self.hidden = 0
        self.last_duration = 0
        self._latest_pts: int | None = None
        self._latest_dts: int | None = None
        self._in_order = True

    def add(self, packet: Packet[VideoStream]) -> None:
        if packet.size == 0:  # an AVI's "show the last picture again", or the end
            return
        pts, dts = packet.pts, packet.dts
        if packet.is_keyframe and pts is not None:
            self.keyframes.append(Keyframe(pts, pts if dts is None else dts, packet.pos))
        if dts is not None:
            self._in_order = self._in_order and (self._latest_dts is None or dts >= self._latest_dts)
            self._latest_dts = dts
        if packet.is_discard:  # decoded for others' sake, but cut away by an edit list
            self.hidden += 1
            return
        self.count += 1
        if pts is None:
            return
        self.pts.append(pts)
        if self._latest_pts is None or pts > self._latest_pts:
            self._latest_pts, self.last_duration = pts, packet.duration or 0

    @property
    def stamped(self) -> bool:
        """Whether every picture has a time of its own on one clock that never steps back."""
        return self._in_order and self.count == len(self.pts) == len(set(self.pts))


def _step(handle: Handle) -> Fraction:
    """Units from one picture to the next, by the rate that the stream claims."""
    rate = handle.frame_rate or Fraction(25)
    return 1 / (rate * handle.time_base)


def _shuffled(handle: Handle) -> bool:
    """AVI stores no presentation times: where pictures are reordered, FFmpeg gives them to the wrong ones."""
    return handle.container.format.name == "avi" and handle.stream.codec_context.has_b_frames


def _indexed(handle: Handle) -> int:
    """Pictures listed in the index of an MP4 or MOV; 0 for other containers, whose lists may be partial."""
    return len(handle.stream.index_entries) if "mov" in handle.container.format.name.split(",") else 0


def _check_promises(handle: Handle, timeline: Timeline, report: Report) -> None:
    found = len(timeline.pts)
    if timeline.promised_frames > found:
        report(
            timeline.end_pts, f"the file ends after {found} of the {timeline.promised_frames} pictures that it promises"
        )
        return
    promised = _promised_seconds(handle)
    there = timeline.seconds(timeline.end_pts)
    if promised - there <= _DOUBT_SECONDS:
        return
    # The last picture of a slide show may stand long; a shorter lack than that proves nothing.
    longest_gap = max((later - earlier for earlier, later in pairwise(timeline.pts)), default=0)
    if promised - there > 2 * float(longest_gap * timeline.time_base):
        report(timeline.end_pts, f"the file ends after {there:.2f} of the {promised:.2f} s that it promises")


_DOUBT_SECONDS = 0.1


def _promised_seconds(handle: Handle) -> float:
    """Duration of the video by the header; 0 where the header is silent or FFmpeg only estimates."""
    stream, container = handle.stream, handle.container
    if not {"mov", "avi", "matroska", "flv", "asf"} & set(container.format.name.split(",")):
        return 0.0
    if stream.duration is not None:
        return float(stream.duration * handle.time_base)
    tag = stream.metadata.get("DURATION")  # what FFmpeg and mkvmerge note a track in Matroska
    if tag is not None:
        try:
            hours, minutes, seconds = (float(part) for part in tag.split(":"))
        except ValueError:  # anybody may have written it
            return 0.0
        return 3600 * hours + 60 * minutes + seconds
    if len(container.streams) == 1 and container.duration is not None:
        return container.duration / 1_000_000
    return 0.0
