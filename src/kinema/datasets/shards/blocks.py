"""Ranges of bytes from a folder or a URL, tried again where a read fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kinema.core.errors import DataError, KinemaError, UsageError
from kinema.video.source import is_url

__all__ = ["BlockReader", "Retry"]

_BLOCK_BYTES = 8 * 2**20
_SMALLEST_BLOCK_BYTES = 2**16

# What a second try cannot mend; and of the answers 400 to 499, all but these, which ask to come back later.
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_LATER = (408, 425, 429)


@dataclass(frozen=True)
class Retry:
    """How a read that fails is tried again.

    Attributes:
        attempts: tries in a row that bring no byte, after which it is given up; 1 or more.
        first_wait_seconds: before the second try; doubled before each further one.
        longest_wait_seconds: most seconds between two tries.

    Raises:
        UsageError: a value out of its range.
    """

    attempts: int = 6
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first_wait_seconds < 0 or self.longest_wait_seconds < 0:
            raise UsageError(f"{self}", allowed="one attempt or more, and waits of 0 or more seconds")

    def wait_seconds(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row, 1 or more."""
        return float(min(self.longest_wait_seconds, self.first_wait_seconds * 2 ** (failures - 1)))


class BlockReader:
    """Reads ranges of the files in one folder.

    A read asks for 8 MiB at a time. After a failure it goes on at the first byte still missing, and
    asks for half as much, so that a connection that breaks again and again still gets there.

    Args:
        folder: a path, or a URL that fsspec knows (`file://`, `http://`, `s3://`, ...).
        retry: how often, and after how long.
    """

    def __init__(self, folder: str, retry: Retry) -> None:
        self.folder = folder.rstrip("/") or "/"
        self.retry = retry
        self._opened: Any = None  # fsspec's file system, made in the process that reads

    def read(self, name: str, start: int, end: int) -> bytes:
        """Bytes [start, end) of the file `name`.

        Raises:
            DataError: it is not there, may not be read, is too short, or cannot be read after all tries.
            UsageError: a URL of a kind that cannot be read here.
        """
        got = bytearray()
        failures, block = 0, _BLOCK_BYTES
        while start + len(got) < end:
            first = start + len(got)
            last = min(end, first + block)
            piece = self._attempt(name, failures, partial(self._piece, name, first, last))
            got += piece or b""
            failures, block = (0, 2 * block) if piece else (failures + 1, block // 2)
            block = min(_BLOCK_BYTES, max(_SMALLEST_BLOCK_BYTES, block))
        return bytes(got)

    def read_whole(self, name: str) -> bytes:
        """All bytes of the file `name`; raises as `read` does."""
        failures = 0
        while (got := self._attempt(name, failures, partial(self._whole, name))) is None:
            failures += 1
        return got

    def address(self, name: str) -> str:
        """Path or URL of the file `name`, as messages call it."""
        return f"{self.folder.rstrip('/')}/{name}"

    def _attempt(self, name: str, failures: int, read: Callable[[], bytes]) -> bytes | None:
        """What `read` gives; None, after a wait, where it has failed and may be tried again."""
        try:
            return read()
        except Exception as error:  # noqa: BLE001  every file system raises its own; none is passed over
            self._wait_or_give_up(name, failures + 1, error)
            return None

    def _whole(self, name: str) -> bytes:
        if not is_url(self.folder):
            return (Path(self.folder) / name).read_bytes()
        system, root = self._open()
        return bytes(system.cat_file(f"{root}/{name}"))

    def _piece(self, name: str, first: int, last: int) -> bytes:
        """One or more of the bytes [first, last)."""
        if is_url(self.folder):
            system, root = self._open()
            piece = bytes(system.cat_file(f"{root}/{name}", start=first, end=last))
        else:
            with (Path(self.folder) / name).open("rb") as opened:
                opened.seek(first)
                piece = opened.read(last - first)
        if len(piece) > last - first:
            raise DataError(
                f"{self.address(name)} was sent whole where {last - first} bytes of it were asked for",
                allowed="a server that answers range requests",
                next_step="serve the shards with one that does, such as nginx, or copy them to a disk",
            )
        if not piece:
            raise EOFError(f"it ends at byte {first}, and should go on to {last}")
        return piece

    def _open(self) -> tuple[Any, str]:
        """The file system of fsspec, and this folder's name in it."""
        if self._opened is None:
            from fsspec.core import url_to_fs  # noqa: PLC0415  slow to import, and needed for URLs only

            opener: Callable[[str], tuple[Any, str]] = url_to_fs
            try:
                self._opened = opener(self.folder)
            except (ImportError, ValueError) as error:
                raise UsageError(
                    f"cannot read {self.folder}: {error}",
                    allowed="a path, or a URL such as file://, http:// or s3://",
                    next_step='pip install "kinema[stream]" reads http:// and s3://; others need their own library',
                ) from error
        system, root = self._opened
        return system, root.rstrip("/")

    def _wait_or_give_up(self, name: str, failures: int, error: Exception) -> None:
        if isinstance(error, KinemaError):
            raise error
        status = getattr(error, "status", None)
        refused = isinstance(status, int) and 400 <= status < 500 and status not in _LATER
        final = refused or isinstance(error, _FINAL)
        if final or failures >= self.retry.attempts:
            tried = "" if final else f", after {failures} {'try' if failures == 1 else 'tries'} in a row"
            reason = str(error).strip() or type(error).__name__
            raise DataError(
                f"cannot read {self.address(name)}{tried}: {reason}",
                allowed="a packed data set that is there and can be read",
                next_step="see that the address is right and the server is up, then go on from the last position",
            ) from error
        time.sleep(self.retry.wait_seconds(failures))

    def __repr__(self) -> str:
        return f"BlockReader('{self.folder}')"
