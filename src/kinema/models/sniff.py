"""What a file really is that was given as weights but cannot be read as such."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["what_is"]

_AGAIN = "get the file again: copy or download it anew and compare its size with the source's"
_CHOOSE = "give a .safetensors file that kinema wrote, such as best.safetensors of a run"


def what_is(path: Path) -> tuple[str, str]:
    """What is at `path`, in words that end the sentence "PATH is …", and what to do about it."""
    try:
        if not path.exists():
            return "no file: there is nothing of that name", _CHOOSE
        if path.is_dir():
            return "a folder", _CHOOSE
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        return f"not readable: {error.strerror or error}", "check who may read it"
    size, promised = path.stat().st_size, _promised_size(path, start)
    convert = f"kinema models convert {path} -o OUT.safetensors, which runs nothing of it"
    guesses = (
        (size == 0, "empty (0 bytes)", _AGAIN),
        (start[:4] == b"PK\3\4", "a zip archive, as torch.save writes: a pickle, which may run code", convert),
        (start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5", "a pickle, which may run code", convert),
        (promised > size, f"cut off: a safetensors file of {promised} bytes, of which {size} are there", _AGAIN),
        (start.lstrip()[:1] == b"<", "a web page, perhaps what a download answered with", _AGAIN),
        (_is_text(start), "a text file", _CHOOSE),
    )
    return next(((what, next_step) for holds, what, next_step in guesses if holds), ("no safetensors file", _CHOOSE))


def _promised_size(path: Path, start: bytes) -> int:
    """Bytes that a safetensors header asks for; 0 where there is no such header."""
    header_bytes = int.from_bytes(start[:8], "little")
    if start[8:9] != b"{" or header_bytes > 100_000_000:  # the format's own limit
        return 0
    with path.open("rb") as file:
        text = file.read(8 + header_bytes)[8:]
    if len(text) < header_bytes:
        return 8 + header_bytes
    try:
        tensors = json.loads(text)
        ends = [int(entry["data_offsets"][1]) for name, entry in tensors.items() if name != "__metadata__"]
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return 0
    return 8 + header_bytes + max(ends, default=0)


def _is_text(start: bytes) -> bool:
    if b"\0" in start:
        return False
    try:
        start[:-4].decode()  # the last character may be cut in two
    except UnicodeDecodeError:
        return False
    return True
