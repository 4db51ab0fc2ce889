"""Whether manifests may name videos outside their folder: no, unless it is said once for all that a program reads.

A manifest from a stranger could otherwise name any file of the machine. Commands read manifests in many places, and
who trusts the manifests of one command trusts all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["absolute_paths", "are_absolute_paths_allowed"]

_ALLOWED: ContextVar[bool] = ContextVar("absolute_paths_allowed", default=False)


@contextmanager
def absolute_paths() -> Iterator[None]:
    """Let manifests that are read and written inside the block name videos anywhere; by their full paths, if outside.

    Fingerprints then hold these paths, and are good for one machine only.
    """
    token = _ALLOWED.set(True)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def are_absolute_paths_allowed(*, asked: bool | None = None) -> bool:
    """What is `asked` for; None: whether a block of `absolute_paths` is around."""
    return _ALLOWED.get() if asked is None else asked
