"""Files that appear whole or not at all: written beside, then renamed."""

from __future__ import annotations

import os
import secrets
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
        beside = target.with_name(f".{target.stem}-{secrets.token_hex(4)}{target.suffix}")
        # Made as any program makes a file, so that the user's umask applies: a result is as readable
        # as their other files. To ask for the umask would be to change it, under other threads' feet.
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except OSError as error:
        raise DataError(
            f"cannot write {target}: {error.strerror or error}",
            allowed="a folder that exists and may be written to",
            next_step="choose another place with --out",
        ) from error
    try:
        yield beside
        with beside.open("rb+") as written:
            os.fsync(written.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
