"""CRC-32C (Castagnoli), the checksum of TensorFlow's checkpoints, in numpy.

A checksum goes byte by byte, but it is linear: lanes of the data are taken side by side and joined
afterwards, which makes a hundred megabytes a matter of seconds instead of minutes.
"""

from __future__ import annotations

from math import isqrt

import numpy as np
from numpy.typing import NDArray

__all__ = ["crc32c", "masked_crc32c"]

_POLYNOMIAL = 0x82F63B78  # reflected
_ALL = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8  # of TensorFlow and LevelDB, which store no bare checksum of data that may hold checksums


def _byte_table() -> NDArray[np.uint32]:
    table = np.arange(256)
    for _ in range(8):
        table = (table >> 1) ^ (table & 1) * np.uint32(_POLYNOMIAL)
    return table.astype(np.uint32)


_TABLE = _byte_table()
_ROWS: list[int] = _TABLE.tolist()


def crc32c(data: bytes | NDArray[np.uint8]) -> int:
    """CRC-32C of `data`, 0 to 2**32 - 1."""
    values = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data.reshape(-1)
    lanes = isqrt(len(values))
    steps = len(values) // lanes if lanes else 0
    whole = lanes * steps
    state = _joined(values[:whole].reshape(lanes, steps)) if lanes else _ALL
    for value in values[whole:].tolist():
        state = _ROWS[(state ^ value) & 0xFF] ^ (state >> 8)
    return state ^ _ALL


def _joined(lanes: NDArray[np.uint8]) -> int:
    """The state after every lane, one behind the other, from the state that a checksum starts with."""
    count, steps = lanes.shape
    # Behind the lanes go the 32 single bits with nothing but zeros to read: where each of them ends says
    # where any state ends that runs through one lane's length.
    states = np.concatenate([np.zeros(count, np.uint32), np.uint32(1) << np.arange(32, dtype=np.uint32)])
    columns = np.zeros((steps, count + 32), np.uint8)
    columns[:, :count] = lanes.T
    for column in columns:
        states = _TABLE[(states ^ column) & 0xFF] ^ (states >> 8)
    ends: list[int] = states[:count].tolist()
    of_bit: list[int] = states[count:].tolist()
    state = _ALL
    for end in ends:
        run = end
        for bit in range(32):
            if state >> bit & 1:
                run ^= of_bit[bit]
        state = run
    return state


def masked_crc32c(data: bytes | NDArray[np.uint8]) -> int:
    """The checksum as TensorFlow and LevelDB store it: rotated and shifted."""
    plain = crc32c(data)
    return ((plain >> 15 | plain << 17) + _MASK_DELTA) & _ALL
