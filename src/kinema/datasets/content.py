"""What lies at the path of a sample, as bytes: of a file, or of all pictures in a folder of frames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from kinema.datasets.sample import Sample
from kinema.video.frame_folder import frame_files
from kinema.video.frame_record import RECORD_NAME
from kinema.video.limits import require_regular
from kinema.video.source import tells_rate

__all__ = ["content_sha256", "content_size_bytes", "content_stamp", "rate_notes"]


def content_size_bytes(path: Path) -> int:
    """Size of the file, or of all pictures of the folder.

    Raises:
        OSError: something of it cannot be read.
        MediaError: a folder that is not one of frames, or no file but a pipe or a device.
    """
    return sum(file.stat().st_size for file in _files(path))


def content_sha256(path: Path) -> str:
    """SHA-256, in hexadecimal, of the file; of a folder, over the names and bytes of its pictures in order.

    Raises:
        OSError: something of it cannot be read.
        MediaError: a folder that is not one of frames, or no file but a pipe or a device.
    """
    digest = hashlib.sha256()
    for file in _files(path):
        if file != path:
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def content_stamp(path: Path) -> tuple[object, ...]:
    """What changes whenever the file changes, or a picture of the folder, or its record: without reading any.

    Raises:
        OSError: something of it cannot be looked at.
        MediaError: a folder that is not one of frames, or no file but a pipe or a device.
    """
    if not path.is_dir():
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    record = path / RECORD_NAME
    files = [*_files(path), *([record] if record.exists() else [])]
    held = [(file.name, status.st_size, status.st_mtime_ns) for file in files for status in [file.stat()]]
    return ("frames", hashlib.sha256(repr(held).encode()).hexdigest())


def rate_notes(samples: Iterable[Sample]) -> tuple[str, ...]:
    """What to know where the frame rate of sources is a guess: one sentence, or none."""
    guessed = [path for path in dict.fromkeys(sample.path for sample in samples) if not tells_rate(path)]
    if not guessed:
        return ()
    more = f"{guessed[0].name}" + (f" and {len(guessed) - 1} more" if len(guessed) > 1 else "")
    return (f"nothing tells the rate of the frames in {more}: 25 a second are assumed, and times follow from that",)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return frame_files(path)
    require_regular(path)  # a pipe or a device has no end
    return [path]
