"""Ctrl-C, or notice that the machine is taken away, as a request to stop between two steps: what is saved is whole."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["StopRequest"]


class StopRequest:
    """While entered, the first SIGINT or SIGTERM only sets `requested`; the second interrupts at once.

    Clusters send SIGTERM some time before they end a program by force. Outside the main thread signals
    cannot be caught, and keep their usual effect there.
    """

    def __init__(self) -> None:
        self.requested = False
        self._process = os.getpid()
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = {one: signal.signal(one, self._note) for one in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one, handler in self._previous.items():
            signal.signal(one, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM and os.getpid() != self._process:
            signal.signal(number, signal.SIG_DFL)  # of a process forked meanwhile, which is to end when it is told to
            os.kill(os.getpid(), number)
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
