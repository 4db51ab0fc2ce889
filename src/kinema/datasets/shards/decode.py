"""A packed sample's bytes as a video that can be read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinema.core.errors import MediaError
from kinema.datasets.shards.read import PackedSample
from kinema.video.file import VideoFile

__all__ = ["as_file", "opened"]


@contextmanager
def as_file(sample: PackedSample) -> Iterator[Path]:
    """A file of the sample's video, which is there while the block runs."""
    handle, name = tempfile.mkstemp(prefix="kinema-", suffix=".mp4")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(sample.video)
        yield Path(name)
    finally:
        Path(name).unlink()


@contextmanager
def opened(sample: PackedSample, short_side_px: int) -> Iterator[VideoFile]:
    """The sample's video, frames scaled to `short_side_px`, while the block runs.

    Raises:
        MediaError: it does not decode; named by its shard and place in it, in the block, too.
    """
    try:
        with as_file(sample) as path, VideoFile(path, short_side_px=short_side_px) as video:
            yield video
    except MediaError as error:
        raise MediaError(sample.name, error.reason) from error
