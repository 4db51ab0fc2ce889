"""Checksums against published values and against the definition."""

import numpy as np
import pytest

from kinema.models.convert.crc32c import crc32c, masked_crc32c


@pytest.mark.parametrize(
    ("data", "checksum"),
    [  # RFC 3720, B.4, and the usual check value
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"", 0),
    ],
)
def test_published_values(data, checksum):
    assert crc32c(data) == checksum
    assert crc32c(np.frombuffer(data, np.uint8)) == checksum


def bit_by_bit(data):
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 8, 63, 64, 65, 999, 1000])
def test_lanes_join_as_if_there_were_one(length):
    data = np.random.default_rng(length).bytes(length)
    assert crc32c(data) == bit_by_bit(data)


def test_masks_as_leveldb_does():
    plain = crc32c(b"foo")
    assert masked_crc32c(b"foo") == ((plain >> 15) + (plain << 17) + 0xA282EAD8) & 0xFFFFFFFF != plain
