"""One row of a manifest, and the names its cells may hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kinema.core.errors import DataError, nearest

__all__ = ["SPLITS", "Sample", "listing", "split_name"]

SPLITS = ("train", "val", "test")

_SYNONYMS = {"training": "train", "validation": "val", "valid": "val", "testing": "test"}


@dataclass(frozen=True, slots=True)  # half a million of them are nothing unusual
class Sample:
    """One labelled video, or one labelled segment of a video.

    Attributes:
        path: absolute path of the file.
        label: class name, not blank.
        split: `train`, `val` or `test`, or None where the manifest does not say.
        group: what samples share that must not be trained and tested on at once, such as the source
            recording, the person or the place; None where unknown.
        start_seconds: first instant of the segment, from the first shown frame; None: the beginning.
        end_seconds: end of the segment, exclusive; None: the end of the file.
        dataset: which of several merged data sets it comes from; None where there is only one.
    """

    path: Path
    label: str
    split: str | None = None
    group: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    dataset: str | None = None

    def __post_init__(self) -> None:
        if not self.path.is_absolute():
            raise DataError(f"the relative path {self.path} in a sample", allowed="absolute paths")
        if not self.label.strip():
            raise DataError("a blank label", allowed="a class name in every row")
        if self.split is not None and self.split not in SPLITS:
            raise DataError(f"unknown split '{self.split}'{nearest(self.split, SPLITS)}", allowed=", ".join(SPLITS))
        start, end = self.start_seconds or 0.0, self.end_seconds
        if not (math.isfinite(start) and start >= 0):
            raise DataError(f"start_seconds is {start:g}", allowed="0 or more")
        if end is not None and not (math.isfinite(end) and end > start):
            raise DataError(f"end_seconds {end:g} is not after start_seconds {start:g}", allowed="end above start")


def split_name(given: str) -> str:
    """`given` in lower case, with training, validation, valid and testing as train, val and test."""
    lower = given.lower()
    return _SYNONYMS.get(lower, lower)


def listing(problems: Sequence[object], shown: int = 10) -> str:
    """The first `shown` problems, one an indented line, and how many more there are."""
    more = [f"... and {len(problems) - shown} more"] if len(problems) > shown else []
    return "\n".join(f"  {line}" for line in [*problems[:shown], *more])
