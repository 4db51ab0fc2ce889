"""Processes that do one piece of work together, as those see them who share it out; usually one process alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

__all__ = ["Alone", "Team"]


class Team(Protocol):
    """Some processes that run the same program; all of them must call the same methods in the same order."""

    @property
    def rank(self) -> int:
        """This process, in [0, ranks)."""
        ...

    @property
    def ranks(self) -> int:
        """How many there are."""
        ...

    def gather(self, part: Any) -> list[Any]:
        """What each process gave, by rank, on every process; it is pickled on its way."""
        ...

    def together(self) -> AbstractContextManager[None]:
        """A block that fails on all processes where it fails on one; it must not wait for the others itself."""
        ...


class Alone:
    """The team of this one process."""

    rank = 0
    ranks = 1

    def gather(self, part: Any) -> list[Any]:
        """`part`, alone in a list."""
        return [part]

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that nobody else waits for."""
        yield
