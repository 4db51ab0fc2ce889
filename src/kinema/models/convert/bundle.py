"""TensorFlow's checkpoint files, the "tensor bundle", read without TensorFlow.

A bundle is `PREFIX.index`, a sorted string table as LevelDB's, from each variable's name to where its
bytes lie in `PREFIX.data-00000-of-00001`. Formats: `tensorflow/core/util/tensor_bundle` and
`core/lib/io/format.h` of TensorFlow, and LevelDB's `doc/table_format.md`. Every block of the table and
every tensor carries a CRC-32C, and each is checked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from kinema.core.errors import WeightsError
from kinema.models.convert.crc32c import masked_crc32c

__all__ = ["Entry", "find_bundle", "read_bundle", "read_index"]

_PART = re.compile(r"(.+)\.(index|meta|data-\d{5}-of-\d{5})")
_MAGIC: Final = bytes.fromhex("57fb808b247547db")
_FOOTER_BYTES: Final = 48
_TRAILER_BYTES: Final = 5  # behind each block: how it is compressed, and its checksum
_AGAIN: Final = "get the checkpoint's files again and compare their sizes with the source's"

# Numbers of TensorFlow's DataType, with numpy's types. Strings and the like hold no weights.
_TYPES: Final[dict[int, np.dtype[Any]]] = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    4: np.dtype("u1"),
    6: np.dtype("i1"),
    9: np.dtype("<i8"),
    10: np.dtype("?"),
    14: np.dtype("<i2"),  # the bits of a bfloat16
    19: np.dtype("<f2"),
}
_BFLOAT16: Final = 14


@dataclass(frozen=True)
class Entry:
    """Where one variable lies.

    Attributes:
        name: of the variable.
        kind: number of its type among TensorFlow's `DataType`.
        shape: of the variable, in TensorFlow's order of axes.
        shard: number of the data file.
        offset: of its first byte there.
        size: in bytes.
        checksum: masked CRC-32C of these bytes.
        sliced: whether it is stored in parts under other names.
    """

    name: str
    kind: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    sliced: bool


def find_bundle(path: Path) -> Path | None:
    """The prefix of the checkpoint that `path` means: a file of it, its prefix or its folder; None if none does.

    Raises:
        WeightsError: a folder of several checkpoints.
    """
    if path.is_dir():
        found = sorted(path.glob("*.index"))
        if len(found) > 1:
            raise WeightsError(
                f"{path} holds {len(found)} checkpoints",
                allowed="one checkpoint",
                next_step=f"give one of {', '.join(str(index.with_suffix('')) for index in found)}",
            )
        return found[0].with_suffix("") if found else None
    part = _PART.fullmatch(path.name)
    prefix = path.with_name(part[1]) if part else path
    return prefix if not (path.is_file() and part is None) and _index_of(prefix).is_file() else None


def read_bundle(prefix: Path) -> tuple[dict[str, torch.Tensor], tuple[str, ...], tuple[Path, ...]]:
    """Every variable of the checkpoint at `prefix`, in TensorFlow's order of axes.

    Returns:
        The variables by name; the names of entries that hold no numbers; the files read.

    Raises:
        WeightsError: a file is missing or damaged, or stored in a way that kinema does not read.
    """
    shards, entries = read_index(_index_of(prefix))
    paths = [prefix.with_name(f"{prefix.name}.data-{number:05}-of-{shards:05}") for number in range(shards)]
    for path in paths:
        if not path.is_file():
            raise WeightsError(
                f"{path} is not there: the index alone holds no numbers",
                allowed="a checkpoint with all of its data files",
                next_step="put the files of one checkpoint into one folder",
            )
    data = [np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8) for path in paths]
    tensors = {entry.name: _tensor(entry, data, paths) for entry in entries if entry.kind in _TYPES}
    without = tuple(entry.name for entry in entries if entry.kind not in _TYPES)
    return tensors, without, (_index_of(prefix), *paths)


def read_index(path: Path) -> tuple[int, tuple[Entry, ...]]:
    """The number of data files and the entries that an `.index` file lists, in its order.

    Raises:
        WeightsError: the file is damaged, or stored in a way that kinema does not read.
    """
    try:
        table = dict(_table(path.read_bytes(), path))
        header = _fields(table.pop(b"", b""))
        shards = int(header.get(1, [0])[0])
        if header.get(2, [0])[0]:
            raise _unread(path, "was written by a big-endian machine", "a little-endian checkpoint")
        entries = tuple(_entry(name.decode(), value) for name, value in table.items())
    except (IndexError, ValueError, TypeError) as error:  # a length that leads nowhere, a name that is no text
        raise _damaged(path, "its table cannot be followed") from error
    if not shards or any(entry.shard >= shards for entry in entries):
        raise _damaged(path, f"it speaks of {shards} data files")
    for entry in entries:
        if entry.sliced:
            raise _unread(path, f"stores {entry.name} in slices", "variables in one piece")
    return shards, entries


def _index_of(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.index")


def _tensor(entry: Entry, data: list[np.ndarray], paths: list[Path]) -> torch.Tensor:
    shard = paths[entry.shard]
    kind = _TYPES[entry.kind]
    if entry.size != math.prod(entry.shape) * kind.itemsize:
        raise _damaged(shard, f"{entry.name} of {entry.size} bytes cannot have the shape {entry.shape}")
    stored = np.array(data[entry.shard][entry.offset : entry.offset + entry.size])
    if len(stored) < entry.size:
        raise _damaged(shard, f"{entry.name} ends beyond the file's {len(data[entry.shard])} bytes")
    if masked_crc32c(stored) != entry.checksum:
        raise _damaged(shard, f"the checksum of {entry.name} is wrong")
    tensor = torch.from_numpy(stored.view(kind).reshape(entry.shape))
    return tensor.view(torch.bfloat16) if entry.kind == _BFLOAT16 else tensor


def _table(data: bytes, path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a sorted string table."""
    footer = data[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or footer[-8:] != _MAGIC:
        raise _damaged(path, "it does not end as an index does")
    _, start = _varint(footer, 0)  # two numbers say where the table of tables lies, which is empty
    _, start = _varint(footer, start)
    for _, handle in _block(data, footer, start, path):
        yield from _block(data, handle, 0, path)


def _block(data: bytes, handle: bytes, start: int, path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the block that the two numbers at `handle[start:]` point to."""
    offset, start = _varint(handle, start)
    size, _ = _varint(handle, start)
    stored = data[offset : offset + size + _TRAILER_BYTES]
    if len(stored) < size + _TRAILER_BYTES:
        raise _damaged(path, "it is cut off")
    if masked_crc32c(stored[: size + 1]) != int.from_bytes(stored[size + 1 :], "little"):
        raise _damaged(path, "the checksum of a block is wrong")
    if stored[size]:
        raise _unread(path, "is compressed", "an index that is not compressed, as TensorFlow writes them since 1.2")
    restarts = int.from_bytes(stored[size - 4 : size], "little")
    end, at, key = size - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = _varint(stored, at)
        fresh, at = _varint(stored, at)
        length, at = _varint(stored, at)
        key = key[:shared] + stored[at : at + fresh]
        yield key, stored[at + fresh : at + fresh + length]
        at += fresh + length


def _entry(name: str, message: bytes) -> Entry:
    fields = _fields(message)

    def number(field: int) -> int:
        return int(fields.get(field, [0])[0])

    axes = (axis for shape in fields.get(2, []) for axis in _fields(bytes(shape)).get(2, []))
    sizes = tuple(int(_fields(bytes(axis)).get(1, [0])[0]) for axis in axes)
    return Entry(name, number(1), sizes, number(3), number(4), number(5), number(6), 7 in fields)


def _fields(message: bytes) -> dict[int, list[int | bytes]]:
    """Numbers and byte strings of a protocol buffer, by field."""
    fields: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        value: int | bytes
        wire = tag & 7
        if wire == 0:
            value, at = _varint(message, at)
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            value, at = int.from_bytes(message[at : at + width], "little"), at + width
        elif wire == 2:
            length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
        else:
            raise ValueError(f"wire type {wire}")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _damaged(path: Path, what: str) -> WeightsError:
    return WeightsError(f"{path} is damaged: {what}", allowed="an unaltered TensorFlow checkpoint", next_step=_AGAIN)


def _unread(path: Path, what: str, allowed: str) -> WeightsError:
    return WeightsError(f"{path} {what}", allowed=allowed, next_step="write the checkpoint again with tf.train.Saver")
