"""Everything kinema raises on purpose, as one tree.

    KinemaError                 exit code 1
    ├── UsageError              2   options that are unknown, misspelt or contradict each other
    ├── DataError               3   a manifest, folder or split that cannot be used as asked
    │   └── BrokenFilesError    3   videos of a data set that cannot be decoded
    ├── MediaError              4   one video or stream that cannot be read
    ├── WeightsError            5   a weights file that is none, or does not fit
    └── TrainingError           6   training that cannot go on

A run stopped by Ctrl-C leaves with 130. Every message has three parts: what was given, what is
allowed, and what to do next; `str(error)` joins them as three lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

__all__ = [
    "BrokenFilesError",
    "DataError",
    "KinemaError",
    "MediaError",
    "TrainingError",
    "UsageError",
    "WeightsError",
    "nearest",
    "shortened",
]


class KinemaError(Exception):
    """Base of all errors a user can act on.

    Args:
        given: what was found, naming the offending value or path.
        allowed: what would have been accepted.
        next_step: the command or change that leads on.
    """

    exit_code = 1

    def __init__(self, given: str, *, allowed: str = "", next_step: str = "") -> None:
        self.given = given
        self.allowed = allowed
        self.next_step = next_step
        lines = [given]
        if allowed:
            lines.append(f"allowed: {allowed}")
        if next_step:
            lines.append(f"next: {next_step}")
        super().__init__("\n".join(lines))


class UsageError(KinemaError):
    """Options that are unknown, misspelt or contradict each other."""

    exit_code = 2


class DataError(KinemaError):
    """A manifest, folder or split that cannot be used as asked."""

    exit_code = 3


class BrokenFilesError(DataError):
    """Videos of a data set that cannot be decoded; `broken` maps each path to its reason."""

    def __init__(self, broken: dict[Path, str], total: int) -> None:
        self.broken = dict(broken)
        self.total = total
        listing = "\n".join(f"  {path}: {reason}" for path, reason in sorted(broken.items()))
        super().__init__(
            f"{len(broken)} of {total} videos cannot be decoded:\n{listing}",
            allowed="data sets in which every video decodes",
            next_step="repair or remove them, or pass --skip-broken to leave them out and list them in the report",
        )


class MediaError(KinemaError):
    """One video or stream that cannot be read; carries its path and the reason."""

    exit_code = 4

    def __init__(self, path: Path | str, reason: str, *, allowed: str = "", next_step: str = "") -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"cannot read {path}: {reason}", allowed=allowed, next_step=next_step)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders in data-loading workers; the default would pass one argument.
        return (_media_error, (self.path, self.reason, self.allowed, self.next_step))


class WeightsError(KinemaError):
    """A weights file that is none, or does not fit the network asked for."""

    exit_code = 5


class TrainingError(KinemaError):
    """Training that cannot go on, such as a loss that is no longer a number."""

    exit_code = 6


def nearest(word: str, candidates: Iterable[str]) -> str:
    """`"; did you mean 'X'?"` for the candidate closest to `word`, or the empty string."""
    close = get_close_matches(word, list(candidates), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def shortened(names: Sequence[str], most: int = 8) -> str:
    """The first of `names`, and how many more there are; "none" where there are none."""
    if not names:
        return "none"
    return ", ".join(names[:most]) + (f", … and {len(names) - most} more" if len(names) > most else "")


def _media_error(path: Path | str, reason: str, allowed: str, next_step: str) -> MediaError:
    return MediaError(path, reason, allowed=allowed, next_step=next_step)
