"""Pictures painted one after another: at once, or in a thread beside the one that decodes the next of them."""

from __future__ import annotations

import threading
import weakref
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

from kinema.video.picture import Painter

if TYPE_CHECKING:
    import torch
    from av.video.frame import VideoFrame

__all__ = ["Painting"]

# Handed over together, since waking a thread takes a tenth of painting a picture.
_BATCH_PICTURES = 2
_WAITING_BATCHES = 3

_Batch: TypeAlias = "list[tuple[VideoFrame, torch.Tensor]]"


class Painting:
    """Has pictures painted, by one thread of its own if wanted, at most six of them waiting.

    Both decoding and painting leave the interpreter's lock to others while they work, so that two cores are busy.

    Attributes:
        painter: the one given.

    Args:
        painter: nobody else may use it between `add` and `finish` or `forget`.
        beside: whether to start a thread; it ends with `close`, or when this object is dropped.
    """

    def __init__(self, painter: Painter, *, beside: bool) -> None:
        self.painter = painter
        self._batch: _Batch = []
        self._unanswered = 0
        self._orders: SimpleQueue[_Batch | None] = SimpleQueue()
        self._answers: SimpleQueue[BaseException | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        if beside:
            # It holds no reference to this object, whose end is then its own end too.
            self._end = weakref.finalize(self, self._orders.put, None)
            self._thread = threading.Thread(
                target=_paint, args=(painter, self._orders, self._answers), name="kinema-painting", daemon=True
            )
            self._thread.start()

    def add(self, picture: VideoFrame, target: torch.Tensor) -> None:
        """Write `picture` into `target`, as `Painter.paint` does, by the next `finish` at the latest.

        Raises:
            MediaError: as `Painter.paint`; of an earlier picture where there is a thread.
        """
        if self._thread is None:
            self.painter.paint(picture, target)
            return
        self._batch.append((picture, target))
        if len(self._batch) == _BATCH_PICTURES:
            self._send()
            if self._unanswered == _WAITING_BATCHES:
                self._hear()

    def finish(self) -> None:
        """Wait until all is painted.

        Raises:
            MediaError: as `Painter.paint`, for the first that failed.
        """
        if self._batch:
            self._send()
        while self._unanswered:
            self._hear()

    def forget(self) -> None:
        """Wait until the thread is idle, and leave out what it was not given yet."""
        self._batch = []
        while self._unanswered:
            self._unanswered -= 1
            self._answers.get()

    def close(self) -> None:
        """End the thread; more than once does no harm."""
        if self._thread is not None:
            self.forget()
            self._end()
            self._thread.join()
            self._thread = None

    def _send(self) -> None:
        self._orders.put(self._batch)
        self._batch = []
        self._unanswered += 1

    def _hear(self) -> None:
        self._unanswered -= 1
        failure = self._answers.get()
        if failure is not None:
            self.forget()
            raise failure


def _paint(painter: Painter, orders: SimpleQueue[_Batch | None], answers: SimpleQueue[BaseException | None]) -> None:
    """Paint what is ordered and answer each order, until one is None."""
    while (batch := orders.get()) is not None:
        failure = _paint_batch(painter, batch)
        batch.clear()  # whoever waits for the answer finds neither pictures nor their targets in use
        answers.put(failure)


def _paint_batch(painter: Painter, batch: _Batch) -> BaseException | None:
    """What went wrong, for the thread that ordered to raise."""
    try:
        for picture, target in batch:
            painter.paint(picture, target)
    except BaseException as error:  # noqa: BLE001 - any: a thread that dies leaves the other one waiting for ever
        return error
    return None
