"""Files fetched from elsewhere: resumed where they broke off, checked, and never half there.

A file on its way lies beside its place as `NAME.part`, with the server's mark of that very version
(ETag or date) in `NAME.part.version`. It takes its name when its content has been checked. Two
processes that want one file take turns, and the second finds it there. Only the standard library
speaks HTTP here, so proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY`).
"""

from __future__ import annotations

import hashlib
import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from kinema.core.errors import DataError, UsageError, WeightsError
from kinema.core.progress import Progress, Silent, Task
from kinema.core.version import __version__

__all__ = ["Fetched", "RemoteFile", "by_hand", "fetch", "is_offline"]

_CHUNK_BYTES: Final = 1 << 20
_TIMEOUT_SECONDS: Final = 30.0
_ATTEMPTS: Final = 5
_LONGEST_WAIT_SECONDS: Final = 60.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class RemoteFile:
    """A file somewhere else, and how to know it when it has come.

    Attributes:
        name: what it is called here; may have folders, as `rgb_imagenet/model.ckpt.index`.
        url: where it is fetched from, or empty where no direct link is published.
        page: the page that a person gets it from.
        sha256: hexadecimal digits that its SHA-256 begins with; all 64, fewer, or none if not published.
        git_blob: the SHA-1 that git knows its content by, or empty.
        size_bytes: its length, if published.
    """

    name: str
    url: str = ""
    page: str = ""
    sha256: str = ""
    git_blob: str = ""
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.url and urlsplit(self.url).scheme not in ("http", "https"):
            raise UsageError(f"the address {self.url}", allowed="http:// or https://")

    @property
    def source(self) -> str:
        """Where it comes from: its link, else its page."""
        return self.url or self.page

    @property
    def marks(self) -> str:
        """What it is known by, in words."""
        marks = [
            (self.sha256, f"SHA-256 {'is' if len(self.sha256) == 64 else 'begins with'} {self.sha256}"),
            (self.git_blob, f"git's SHA-1 is {self.git_blob}"),
            (self.size_bytes is not None, f"{self.size_bytes} bytes"),
        ]
        return "; ".join(words for given, words in marks if given) or "no checksum published"


@dataclass(frozen=True)
class Fetched:
    """A file that is here and was checked.

    Attributes:
        path: where.
        sha256: of its content, all 64 digits.
    """

    path: Path
    sha256: str


class _BrokeOffError(Exception):
    """A failure that may pass: the next attempt goes on from what has come."""

    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


def is_offline() -> bool:
    """Whether `KINEMA_OFFLINE` forbids to fetch anything."""
    return os.environ.get("KINEMA_OFFLINE", "").lower() not in ("", "0", "false", "no")


def by_hand(files: Sequence[RemoteFile], folder: Path) -> str:
    """What a person does where kinema cannot fetch `files` into `folder` itself."""
    return "; ".join(_by_hand(file, folder / file.name) for file in files)


def _by_hand(file: RemoteFile, target: Path) -> str:
    return f"get {file.source} and put it at {target} ({file.marks})"


def fetch(
    file: RemoteFile,
    folder: Path,
    *,
    progress: Progress | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Fetched:
    """`file` in `folder`: as it lies there, or fetched, and checked either way.

    Args:
        file: what and from where.
        folder: made if it is not there.
        progress: where a bar is drawn.
        sleep: waits so many seconds between attempts.

    Raises:
        WeightsError: it cannot be fetched (no link, offline, unreachable, refused), or is not what was published.
        DataError: the folder cannot be written to, or has no room; what has come is kept.
    """
    target = folder / file.name
    if not target.is_file():
        if not file.url or is_offline():
            why = "KINEMA_OFFLINE forbids to fetch it" if file.url else "there is no direct link to it"
            raise WeightsError(
                f"{target} is not there, and {why}",
                allowed="a file that is there already" if file.url else "a file brought by hand",
                next_step=_by_hand(file, target),
            )
        shown = progress or Silent()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(target.with_name(f".{target.name}.lock"))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                shown.log(f"waiting for another process that fetches {file.name}")
                lock.acquire()
        except OSError as error:
            raise _cannot_write(target, error) from error
        try:
            if not target.is_file():  # the other process may have brought it
                return _bring(file, target, shown, sleep)
        finally:
            lock.release()
    digest, wrong = _examine(file, target)
    if wrong:
        raise WeightsError(
            f"{target} is not the file that {file.source} published: {wrong}",
            allowed=file.marks,
            next_step="remove it and get it again",
        )
    return Fetched(target, digest)


def _bring(file: RemoteFile, target: Path, progress: Progress, sleep: Callable[[float], None]) -> Fetched:
    """Attempt after attempt, until the file is whole or `_ATTEMPTS` in a row have brought nothing more."""
    part = _part_of(target)
    failures, farthest = 0, _size(part)
    while True:
        resumed = _size(part) > 0
        try:
            _transfer(file, target, progress)
        except _BrokeOffError as error:
            failures = 0 if _size(part) > farthest else failures + 1
            farthest = max(farthest, _size(part))
            if failures == _ATTEMPTS:
                raise _given_up(file, target, str(error)) from error
            wait = error.wait_seconds if error.wait_seconds is not None else 2.0 ** max(failures - 1, 0)
            progress.log(f"{file.name}: {error}; trying again in {wait:.0f} s")
            sleep(min(wait, _LONGEST_WAIT_SECONDS))
            continue
        digest, wrong = _examine(file, part)
        if not wrong:
            break
        _discard(part)
        if not resumed:
            raise WeightsError(
                f"{file.url} sent other bytes than were published: {wrong}",
                allowed=file.marks,
                next_step="try again; if it stays so, the file was replaced or something between alters it",
            )
        progress.log(f"{file.name}: what was fetched in pieces is not right; starting anew")
    try:
        with part.open("rb+") as whole:
            os.fsync(whole.fileno())
        part.replace(target)
        _version_of(part).unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(target, error) from error
    return Fetched(target, digest)


def _transfer(file: RemoteFile, target: Path, progress: Progress) -> None:
    """One request: from where the part ends, if the server still has that version, else from the start."""
    part = _part_of(target)
    version = _version_of(part)
    offset = _size(part) if version.exists() else 0
    headers = {"User-Agent": f"kinema/{__version__}", "Accept-Encoding": "identity"}
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": version.read_text(encoding="utf-8")}
    try:
        response = _open(file, target, headers)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{offset}":
                return  # all of it came before
            if error.code == 416:
                _discard(part)
                raise _BrokeOffError("the server has another length now") from error
        raise
    with response:
        if "text/html" in response.headers.get("Content-Type", ""):
            raise WeightsError(
                f"{file.url} answered with a web page in place of the file",
                allowed="the file itself",
                next_step=_by_hand(file, target),
            )
        if response.status != 206 or not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            offset = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else offset + int(length)
        with progress.task(file.name, total, "B", done=offset) as task:
            _write(part, response, offset, total, task)


def _open(file: RemoteFile, target: Path, headers: dict[str, str]) -> http.client.HTTPResponse:
    request = urllib.request.Request(file.url, headers=headers)  # noqa: S310  RemoteFile allows http and https only
    host = urlsplit(file.url).hostname
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # type: ignore[no-any-return]  # noqa: S310  likewise
    except urllib.error.HTTPError as error:
        if error.code == 416:
            raise
        with error:
            words = f"{file.url} answered {error.code} {error.reason}"
            if error.code in _PASSING:
                raise _BrokeOffError(words, _retry_after(error)) from error
        raise WeightsError(
            words,
            allowed="a link that still holds",
            next_step=f"look at {file.page or host} for where it is now, and put it at {target} ({file.marks})",
        ) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise WeightsError(
                f"{host} cannot be trusted: {error.reason}",
                allowed="a certificate that this machine can verify",
                next_step=f"set the clock and the certificates of this machine right, or {_by_hand(file, target)}",
            ) from error
        raise _BrokeOffError(f"{host} cannot be reached: {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokeOffError(f"{host} cannot be reached: {error or type(error).__name__}") from error


def _write(part: Path, response: http.client.HTTPResponse, offset: int, total: int | None, task: Task) -> None:
    """Append what `response` brings; the version goes first, so that no piece lies there without its own."""
    mark = response.headers.get("ETag") or response.headers.get("Last-Modified")
    try:
        if offset == 0:
            _discard(part)
            if mark:
                _version_of(part).write_text(mark, encoding="utf-8")
        with part.open("ab") as written:
            for chunk in _chunks(response):
                written.write(chunk)
                task.advance(len(chunk))
    except OSError as error:
        raise _cannot_write(part, error) from error
    if total is not None and _size(part) < total:
        raise _BrokeOffError(f"broke off after {_size(part)} of {total} bytes")


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read1(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _BrokeOffError(f"broke off: {error or type(error).__name__}") from error
        if not chunk:
            return
        yield chunk


def _examine(file: RemoteFile, path: Path) -> tuple[str, str]:
    """The SHA-256 of `path`, and what is wrong with its content, or nothing."""
    size = path.stat().st_size
    sha256 = hashlib.sha256()
    git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK_BYTES):
            sha256.update(chunk)
            if file.git_blob:
                git.update(chunk)
    digest = sha256.hexdigest()
    if file.size_bytes not in (None, size):
        return digest, f"{size} bytes"
    if not digest.startswith(file.sha256):
        return digest, f"its SHA-256 is {digest}"
    if file.git_blob and git.hexdigest() != file.git_blob:
        return digest, f"git's SHA-1 of it is {git.hexdigest()}"
    return digest, "it is empty" if size == 0 else ""


def _given_up(file: RemoteFile, target: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"cannot fetch {file.url}: {reason}; {_ATTEMPTS} attempts in a row brought nothing more",
        allowed="a connection to its host",
        next_step=f"try again later, it goes on from what has come; or {_by_hand(file, target)}",
    )


def _cannot_write(path: Path, error: OSError) -> DataError:
    return DataError(
        f"cannot write {path}: {error.strerror or error}",
        allowed="a folder that may be written to and has room",
        next_step="free some space and try again, or set KINEMA_CACHE to a folder elsewhere; what has come is kept",
    )


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    said = error.headers.get("Retry-After", "")
    return float(said) if said.isdigit() else None


def _part_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _version_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _version_of(part).unlink(missing_ok=True)
