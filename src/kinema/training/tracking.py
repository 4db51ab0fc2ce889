"""Where a run shows itself while it goes, besides the files of its folder: the trackers that `track` names.

Each tracker has a thread of its own, so that no server holds up the training. What a tracker does not
take is kept, and offered again with the next row. tracking.json in the run folder remembers what each
run is called there and how many epochs it was given, so that a resumed run goes on in the same place.
"""

from __future__ import annotations

import json
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from kinema.core.atomic import replacing
from kinema.core.errors import TrainingError
from kinema.core.progress import Progress, Silent
from kinema.training.checkpoint import EpochRow

__all__ = ["About", "Tracker", "Tracking", "estimates_of"]

_RECORD = "tracking.json"


@dataclass(frozen=True)
class About:
    """What trackers are told of a run once.

    Attributes:
        name: what lists call it.
        group: the runs it belongs to, such as those of all folds; empty: none.
        folder: where it lies.
        run: the folder that is resumed, where this is one fold of it.
        settings: what it was begun with, by name.
    """

    name: str
    group: str
    folder: Path
    run: Path
    settings: Mapping[str, Any]


class Tracker(Protocol):
    """One place that shows runs. Its methods may wait and raise whatever they like: a `Tracking` sees to it.

    Attributes:
        name: what messages call it.
    """

    name: str

    def open(self, about: About, run: str) -> tuple[str, int]:
        """Begin a run (`run` is empty) or go on with `run`.

        Returns:
            What the run is called there, and how many epochs are there already, as far as can be known.
        """
        ...

    def send(self, epoch: int, values: Mapping[str, float]) -> None:
        """The row of an epoch, counted from 1."""

    def conclude(self, figures: Mapping[str, float], *, ended: bool) -> None:
        """Final figures, none where nothing was tested; `ended`: the run is over, rather than stopped."""


class Tracking:
    """All trackers of one run, between `begin` and the end of a `with` block; none on processes but the first.

    Args:
        trackers: where the run is shown.
        about: what they are told of it; needed if there are any.
        progress: where it is told that one of them does not work.
        patience_seconds: how long the end waits for what is still on its way.
    """

    def __init__(
        self,
        trackers: Sequence[Tracker] = (),
        about: About | None = None,
        *,
        progress: Progress | None = None,
        patience_seconds: float = 30.0,
    ) -> None:
        self._progress = progress or Silent()
        self._record = _Record(about.folder / _RECORD) if about else None
        self._couriers = [
            _Courier(tracker, about, self._record, self._progress.log)
            for tracker in trackers
            if about is not None and self._record is not None
        ]
        self._patience_seconds = patience_seconds
        self._figures: Mapping[str, float] = {}

    def __enter__(self) -> Tracking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for courier in self._couriers:
            courier.conclude(self._figures, ended=kind is None)
        for courier in self._couriers:
            courier.join(self._patience_seconds)

    def begin(self, rows: Sequence[EpochRow]) -> None:
        """Open every tracker; `rows` are the epochs that a resumed run has behind it.

        Raises:
            TrainingError: a tracker does not open where the run is new to it. When it goes on, that
                is told and tried again.
        """
        for courier in self._couriers:
            courier.begin(rows)

    def row(self, row: EpochRow) -> None:
        """An epoch has ended."""
        for courier in self._couriers:
            courier.row(row)

    def conclude(self, figures: Mapping[str, float]) -> None:
        """What the tests gave; sent when the block ends."""
        self._figures = figures


def estimates_of(split: str, levels: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The estimates of an examination as plain numbers, such as test_video_top1_accuracy.

    Args:
        split: what was examined.
        levels: `Metrics.to_json` of each level.
    """
    return {
        f"{split}_{name}": float(found["value"])
        for level in levels
        for name, found in level.items()
        if isinstance(found, dict) and found.get("value") is not None
    }


@dataclass(frozen=True)
class _Noted:
    """What tracking.json says of one tracker: what the run is called there, the epochs it has, and whether the end."""

    run: str = ""
    epochs: int = 0
    concluded: bool = False


class _Record:
    """tracking.json."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def read(self, tracker: str) -> _Noted:
        """What was noted last."""
        found = self._load().get(tracker, {})
        return _Noted(str(found.get("run", "")), int(found.get("epochs", 0)), bool(found.get("concluded", False)))

    def note(self, tracker: str, noted: _Noted) -> None:
        """Remember it."""
        with self._lock, replacing(self._path) as beside:
            content = {**self._load(), tracker: asdict(noted)}
            beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def _load(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none yet, or a damaged one: the run begins anew there
            return {}
        return content if isinstance(content, dict) else {}


class _Courier:
    """Brings the rows of a run to one tracker, in their order, on a thread of its own."""

    def __init__(self, tracker: Tracker, about: About, record: _Record, tell: Callable[[str], None]) -> None:
        self._tracker = tracker
        self._about = about
        self._record = record
        self._tell = tell
        self._open = False
        self._closed = False
        self._noted = _Noted()
        self._backlog: deque[EpochRow] = deque()
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._failures = 0
        self._reason = ""
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, rows: Sequence[EpochRow]) -> None:
        """Open the tracker, at once if it does not know this run."""
        self._noted = self._record.read(self._tracker.name)
        self._backlog.extend(rows)
        if not self._noted.run:
            try:
                self._ensure_open()
            except Exception as error:
                raise TrainingError(
                    f"{self._tracker.name} does not open: {_first_line(error)}",
                    allowed="a server that answers and knows you, or a folder of your own",
                    next_step=f"see to it, or leave {self._tracker.name} out of track",
                ) from error
        self._thread = threading.Thread(target=self._work, name=f"tracking {self._tracker.name}", daemon=True)
        self._thread.start()
        self._inbox.put(self._deliver)

    def row(self, row: EpochRow) -> None:
        """Bring it along."""

        def take() -> None:
            self._backlog.append(row)
            self._deliver()

        self._inbox.put(take)

    def conclude(self, figures: Mapping[str, float], *, ended: bool) -> None:
        """Bring what is left, and close."""

        def take() -> None:
            self._deliver()
            if not self._backlog and (self._open or not self._noted.concluded):
                self._try(lambda: self._conclude(figures, ended=ended))
            self._over.set()

        self._inbox.put(take)

    def join(self, patience_seconds: float) -> None:
        """Wait for the end, and tell what did not go well."""
        if self._thread is None:
            return
        if self._over.wait(patience_seconds):
            self._thread.join()
        tell, self._tell = self._tell, lambda _: None  # a thread that is left to itself has nothing more to say
        lost = f"{len(self._backlog)} epochs" if self._backlog else "the end of the run"
        if self._backlog or not (self._closed or self._noted.concluded):
            tell(
                f"{self._tracker.name} has not taken {lost} ({self._reason or 'it does not answer'}); all epochs are "
                f"in metrics.csv, and are sent when the run is resumed: kinema train --resume {self._about.run}"
            )
        elif self._failures:
            tell(f"{self._tracker.name} failed {self._failures} times ({self._reason}), and has all epochs now")

    def _work(self) -> None:
        while not self._over.is_set():
            self._inbox.get()()

    def _deliver(self) -> None:
        """Whatever is waiting, as far as the tracker takes it."""
        while self._backlog and self._try(self._send_first):
            self._backlog.popleft()

    def _send_first(self) -> None:
        row = self._backlog[0]
        if row.epoch > self._noted.epochs:
            self._ensure_open()
        if row.epoch > self._noted.epochs:  # the tracker may know of more than was noted
            values = asdict(row)
            self._tracker.send(row.epoch, {k: float(v) for k, v in values.items() if v is not None and k != "epoch"})
            self._note(epochs=row.epoch)

    def _conclude(self, figures: Mapping[str, float], *, ended: bool) -> None:
        self._ensure_open()
        self._tracker.conclude(figures, ended=ended)
        self._open, self._closed = False, True
        self._note(concluded=ended)  # of a run that was stopped, the end is still to come

    def _ensure_open(self) -> None:
        if not self._open:
            run, held = self._tracker.open(self._about, self._noted.run)
            self._open = True
            self._note(run=run, epochs=max(self._noted.epochs, held), concluded=False)

    def _note(self, **changes: Any) -> None:
        self._noted = replace(self._noted, **changes)
        self._record.note(self._tracker.name, self._noted)

    def _try(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except Exception as error:  # noqa: BLE001  # whatever a tracker raises, the training goes on
            self._failures += 1
            self._reason = _first_line(error)
            if self._failures == 1:
                self._tell(f"{self._tracker.name} does not take rows ({self._reason}); the training goes on without it")
            return False
        return True


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
