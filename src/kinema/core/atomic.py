"""Files that appear whole or not at all: written beside, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinema.core.errors import DataError

__all__ = ["replacing"]


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it there when the block ends well, else remove it.

    The temporary keeps the suffix of `path`, for writers that choose their format by it. The
    content is flushed to disk before the rename, so a power cut leaves the old file or the new one.

    Raises:
        DataError: the folder cannot be written to.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        raise DataError(
            f"cannot write {target}: {error.strerror or error}",
            allowed="a folder that exists and may be written to",
            next_step="choose another place with --out",
        ) from error
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        with beside.open("rb+") as written:
            os.fsync(written.fileno())
        # mkstemp makes files private; a result is as readable as any other file its owner makes.
        mask = os.umask(0)
        os.umask(mask)
        beside.chmod(0o666 & ~mask)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
