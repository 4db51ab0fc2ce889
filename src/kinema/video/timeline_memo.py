"""Timelines of healthy files read before in this process, so that training reads each only in its first epoch.

A file is known by what the system says of it (device, number, size, times of change), not by its content. One that was
changed a moment ago is not remembered: within the tick of the system's clock it could change again unseen.
"""

from __future__ import annotations

import threading
import time
from array import array
from dataclasses import dataclass, replace
from pathlib import Path

from kinema.video.timeline import Timeline

__all__ = ["FileState", "TimelineMemo"]

_SETTLED_NANOSECONDS = 2_000_000_000
_ENTRY_BYTES = 1024
_KEYFRAME_BYTES = 160


@dataclass(frozen=True)
class FileState:
    """What the system says of a file that has not changed.

    Attributes:
        path: as it was given; its end may tell FFmpeg the format.
        device: number of the file system.
        inode: number of the file in it.
        size_bytes: length.
        modified_nanoseconds: when its content was changed, by the system's clock.
        changed_nanoseconds: when content, name or rights were; no program can set it.
    """

    path: str
    device: int
    inode: int
    size_bytes: int
    modified_nanoseconds: int
    changed_nanoseconds: int

    @classmethod
    def of(cls, path: Path | str) -> FileState | None:
        """The state of the file at `path` now; None where the system does not tell."""
        try:
            state = Path(path).stat()
        except (OSError, ValueError):
            return None
        return cls(str(path), state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)

    @property
    def settled(self) -> bool:
        """Whether another change would show."""
        return time.time_ns() - max(self.modified_nanoseconds, self.changed_nanoseconds) > _SETTLED_NANOSECONDS


@dataclass(frozen=True)
class _Entry:
    """A timeline without its times, and these in little room."""

    timeline: Timeline
    pts: range | array[int]

    @property
    def size_bytes(self) -> int:
        times = 0 if isinstance(self.pts, range) else len(self.pts) * self.pts.itemsize
        return _ENTRY_BYTES + times + _KEYFRAME_BYTES * len(self.timeline.keyframes)


class TimelineMemo:
    """Timelines by the state of their files; those asked for longest ago are forgotten first.

    Args:
        most_bytes: about how much memory all of them may take.
    """

    def __init__(self, most_bytes: int = 32 << 20) -> None:
        self._most_bytes = most_bytes
        self._size_bytes = 0
        self._entries: dict[FileState, _Entry] = {}
        self._lock = threading.Lock()

    def recall(self, state: FileState | None) -> Timeline | None:
        """The timeline of a file in this state, if it is remembered."""
        with self._lock:
            entry = None if state is None else self._entries.pop(state, None)
            if state is None or entry is None:
                return None
            self._entries[state] = entry
        return replace(entry.timeline, pts=tuple(entry.pts))

    def remember(self, state: FileState | None, timeline: Timeline) -> None:
        """Keep `timeline` of the file that was in `state` before it was read, if it still is and can be trusted to."""
        if state is None or not state.settled or FileState.of(state.path) != state:
            return
        entry = _Entry(replace(timeline, pts=()), _packed(timeline.pts))
        with self._lock:
            old = self._entries.pop(state, None)
            self._size_bytes += entry.size_bytes - (0 if old is None else old.size_bytes)
            self._entries[state] = entry
            while self._size_bytes > self._most_bytes:
                self._size_bytes -= self._entries.pop(next(iter(self._entries))).size_bytes


def _packed(pts: tuple[int, ...]) -> range | array[int]:
    """The same numbers: of a constant rate by their step, else eight bytes each."""
    if len(pts) > 1:
        even = range(pts[0], pts[-1] + 1, pts[1] - pts[0])
        if tuple(even) == pts:
            return even
    return array("q", pts)
