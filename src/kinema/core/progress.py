"""How long work shows itself without the rooms below knowing about terminals.

Rooms take a `Progress`; the command line passes one that draws bars, a program may pass nothing.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

__all__ = ["Progress", "Silent", "Task"]


class Task(Protocol):
    """One bar."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """`steps` more are done; `note` (such as "loss 0.412") replaces the text beside the bar."""


class Progress(Protocol):
    """Where bars and log lines go."""

    def task(self, description: str, total: int | None, unit: str, done: int = 0) -> AbstractContextManager[Task]:
        """A bar of `total` steps (None: unknown), of which `done` were done before; `unit` "B" counts bytes."""

    def log(self, message: str) -> None:
        """A line for a person to read, kept above the bars."""


class _SilentTask:
    def advance(self, steps: int = 1, note: str = "") -> None:
        """Nothing to show."""


class Silent:
    """Shows nothing; the default where a library user passes no Progress."""

    def task(self, description: str, total: int | None, unit: str, done: int = 0) -> AbstractContextManager[Task]:
        """A bar nobody sees."""
        return nullcontext(_SilentTask())

    def log(self, message: str) -> None:
        """A line nobody reads."""
