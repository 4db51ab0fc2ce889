"""A place in a file that is being decoded: pictures with their indices, and what was heard to be broken on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from kinema.video.disposable import is_disposable, length_bytes_of
from kinema.video.handle import Handle, Keyframe
from kinema.video.timeline import Timeline

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = ["Cursor", "Heard"]


@dataclass
class Heard:
    """Broken places, one a picture: the first reason given for a time is the cause, later ones its consequences."""

    places: dict[int | str, tuple[int | None, str]] = field(default_factory=dict)

    def __call__(self, pts: int | None, reason: str) -> None:
        """Keep that the picture at `pts` (None: somewhere) is broken."""
        self.places.setdefault(reason if pts is None else pts, (pts, reason))

    def __bool__(self) -> bool:
        return bool(self.places)

    def __or__(self, other: Heard) -> Heard:
        return Heard({**other.places, **self.places})


@dataclass
class _Skip:
    """What is left out on the way to a picture.

    Attributes:
        length_bytes: as `length_bytes_of` says; None leaves nothing out.
        before_pts: pictures shown earlier are left out where no other needs them; None: none is.
        skipped: times of those left out.
    """

    length_bytes: int | None
    before_pts: int | None = None
    skipped: set[int] = field(default_factory=set)

    def needed(self, packets: Iterator[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        """`packets` without those left out."""
        for packet in packets:
            pts = packet.pts
            if (
                self.before_pts is not None
                and self.length_bytes is not None
                and pts is not None
                and pts < self.before_pts
                and not packet.is_corrupt
                and is_disposable(memoryview(packet), self.length_bytes)
            ):
                self.skipped.add(pts)
            else:
                yield packet


class Cursor:
    """Decodes a file from a keyframe on, one picture at a time.

    Attributes:
        index: of the current picture; the number of pictures when there are no more.
        picture: the current one, None before the first and behind the last.
        heard: what was found broken since the start.
        key: where decoding started; None is the beginning.

    Args:
        handle: whose packets are read; nothing else may read them meanwhile.
        timeline: of the same file.
        key: where to start; None is the beginning.
    """

    def __init__(self, handle: Handle, timeline: Timeline, key: Keyframe | None) -> None:
        self.heard = Heard()
        self.picture: VideoFrame | None = None
        self.index = timeline.first_index(key) - 1
        self.key = key
        self._timeline = timeline
        # No bound method: a cycle would keep decoder and threads alive until the next garbage collection.
        self._report = partial(_hear, self.heard, key)
        self._skip = _Skip(None if timeline.by_count else length_bytes_of(handle.stream))
        packets = self._skip.needed(handle.packets_from(key, self._report))
        self._pictures = handle.pictures(self._report, packets)

    @classmethod
    def at(cls, index: int, handle: Handle, timeline: Timeline) -> Cursor:
        """A cursor that stands at picture `index`, or at the first one behind it if that does not decode.

        Decoding from a keyframe can differ from decoding everything: the keyframe may be damaged, or
        none (after intra refresh a picture is whole only some frames later). Where anything is amiss
        on the way, the file is decoded from its beginning instead.
        """
        key = timeline.keyframe_for(index)
        cursor = cls(handle, timeline, key)
        came = cursor.advance_to(index)
        if timeline.first_index(key) > 0 and (cursor.heard or not came):
            cursor = cls(handle, timeline, None)
            cursor.advance_to(index)
        return cursor

    def advance_to(self, index: int) -> bool:
        """Decode until picture `index`, which must not lie behind; whether it came.

        What neither it nor a later picture needs is not decoded, and so not found broken either.
        """
        self._skip.before_pts = self._timeline.pts[index]
        while self.index < index and self.advance():
            pass
        return self.index == index and self.picture is not None

    def advance(self) -> bool:
        """Go to the next picture; False when there is none."""
        expected = self.index + 1
        for picture in self._pictures:
            index = self._index_of(picture, expected)
            if index is not None:
                self._miss(expected, index)
                self.index, self.picture = index, picture
                return True
        self._miss(expected, len(self._timeline.pts))
        self.index, self.picture = len(self._timeline.pts), None
        return False

    def _index_of(self, picture: VideoFrame, expected: int) -> int | None:
        index = expected if self._timeline.by_count else self._timeline.index_of(picture.pts)
        if index is None or not expected <= index < len(self._timeline.pts):
            self._report(picture.pts, "a picture comes that no packet announced, and is left out")
            return None
        return index

    def _miss(self, expected: int, found: int) -> None:
        for index in range(expected, found):
            pts = self._timeline.pts[index]
            if pts not in self._skip.skipped:
                self.heard(pts, "a picture is missing")


def _hear(heard: Heard, key: Keyframe | None, pts: int | None, reason: str) -> None:
    """Leave out what is shown before the keyframe but stored behind it: it belongs to the group before."""
    if key is None or pts is None or pts >= key.pts:
        heard(pts, reason)
