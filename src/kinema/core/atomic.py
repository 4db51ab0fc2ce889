"""Files that appear whole or not at all: written beside, then renamed."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from kinema.core.errors import DataError

__all__ = ["leftovers", "replacing"]

_TOKEN_BYTES = 4


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it there when the block ends well, else remove it.

    The temporary keeps the suffix of `path`, for writers that choose their format by it. The
    content is flushed to disk before the rename, so a power cut leaves the old file or the new one.

    Raises:
        DataError: the folder cannot be written to, or `path` is a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise DataError(
            f"cannot write {target}: it is a folder",
            allowed="the path of a file",
            next_step="give the file a name with --out",
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.stem}-{secrets.token_hex(_TOKEN_BYTES)}{target.suffix}")
        # Made as any program makes a file, so that the user's umask applies: to ask for the umask
        # would be to change it, under other threads' feet.
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        os.close(handle)
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
        beside.chmod(mode)  # some writers put a private file of their own in place of this one
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def leftovers(folder: Path, names: Collection[str]) -> Iterator[Path]:
    """Temporary files that `replacing` made in `folder` for files called `names`, and whose program was killed.

    Those of programs that are still writing are among them.
    """
    pattern = re.compile(rf"\.(.+)-[0-9a-f]{{{2 * _TOKEN_BYTES}}}(\.[^.]+)?")
    for path in sorted(folder.iterdir()):
        found = pattern.fullmatch(path.name)
        if found and found[1] + (found[2] or "") in names and path.is_file():
            yield path
