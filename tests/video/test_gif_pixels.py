from __future__ import annotations

import random
import time

import pytest

from kinema.video.gif_pixels import PixelCount, count_pixels
from kinema.video.structure import structural_damage

ENOUGH = 1000


def packed(codes: list[tuple[int, int]]) -> bytes:
    """(code, bits) one behind the other, the lowest bit first."""
    whole, at = 0, 0
    for code, bits in codes:
        whole |= code << at
        at += bits
    return whole.to_bytes((at + 7) // 8, "little")


def compressed(
    pixels: list[int], literal_bits: int, *, clear_when_full: bool = True, end: bool = True, most_known: int = 4096
) -> bytes:
    """`pixels` by the book: Welch's algorithm, one pixel at a time."""
    clear = 1 << literal_bits
    known: dict[tuple[int, ...], int] = {(colour,): colour for colour in range(clear)}
    codes, bits, following = [(clear, literal_bits + 1)], literal_bits + 1, clear + 2
    run: tuple[int, ...] = ()
    for pixel in pixels:
        if (*run, pixel) in known:
            run = (*run, pixel)
            continue
        codes.append((known[run], bits))
        if following < most_known:
            known[(*run, pixel)] = following
            bits = max(bits, following.bit_length())
            following += 1
        elif clear_when_full:
            codes.append((clear, bits))
            known = {(colour,): colour for colour in range(clear)}
            bits, following = literal_bits + 1, clear + 2
        run = (pixel,)
    codes.append((known[run], bits))
    if end:
        codes.append((clear + 1, max(bits, min(following, 4095).bit_length())))
    return packed(codes)


def pictures() -> list[tuple[list[int], int]]:
    chance = random.Random(0)
    return [
        ([0], 2),
        ([3] * 5000, 2),
        ([chance.randrange(4) for _ in range(20_000)], 2),
        ([chance.randrange(256) for _ in range(9000)], 8),
        ([number // 50 % 16 for number in range(30_000)], 4),
        ([chance.choice([0, 0, 0, 1]) for _ in range(40_000)], 2),
    ]


@pytest.mark.parametrize(("pixels", "literal_bits"), pictures())
@pytest.mark.parametrize("settings", [{}, {"end": False}, {"clear_when_full": False}, {"most_known": 300}])
def test_as_many_pixels_are_counted_as_were_put_in(pixels, literal_bits, settings):
    data = compressed(pixels, literal_bits, **settings)
    assert count_pixels(data, literal_bits, ENOUGH).pixels == len(pixels)
    assert count_pixels(data + b"\0more behind the end code", literal_bits, ENOUGH).pixels == len(pixels) or (
        settings == {"end": False}
    )


def test_a_wrong_bit_makes_other_numbers_most_of_the_time():
    pixels, literal_bits = pictures()[4]
    data, chance = compressed(pixels, literal_bits), random.Random(1)
    noticed = 0
    for _ in range(100):
        changed = bytearray(data)
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        noticed += count_pixels(bytes(changed), literal_bits, ENOUGH).pixels != len(pixels)
    assert noticed > 70


def test_a_code_that_stands_for_nothing_yet_is_wrong():
    assert count_pixels(packed([(4, 3), (1, 3), (7, 3), (5, 3)]), 2, ENOUGH).pixels == -1
    assert count_pixels(packed([(4, 3), (6, 3), (5, 3)]), 2, ENOUGH).pixels == -1
    assert count_pixels(packed([(4, 3), (1, 3), (6, 3), (5, 3)]), 2, ENOUGH).pixels == 3  # the entry just made


def test_counting_is_given_up_where_it_would_take_long():
    clears = packed([(256, 9)] * 3000)
    assert count_pixels(clears, 8, 50) == PixelCount(None, 50)
    assert count_pixels(clears, 8, 5000) == PixelCount(0, 3001)


def test_no_data_are_no_pixels():
    assert count_pixels(b"", 8, ENOUGH) == PixelCount(0, 1)


def gif(data: bytes, literal_bits: int, width: int, height: int, pictures: int = 1) -> bytes:
    head = b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + bytes([0x80, 0, 0]) + bytes(6)
    blocks = b"".join(bytes([len(part)]) + part for part in (data[at : at + 255] for at in range(0, len(data), 255)))
    size = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    picture = b"\x2c" + bytes(4) + size + b"\0" + bytes([literal_bits]) + blocks + b"\0"
    return head + picture * pictures + b"\x3b"


def test_a_picture_of_too_few_or_too_many_pixels_is_told(tmp_path):
    path = tmp_path / "picture.gif"
    for count, told in ((600, None), (599, "600 pixels"), (601, "600 pixels")):
        path.write_bytes(gif(compressed([number % 3 for number in range(count)], 2), 2, 30, 20))
        reason = structural_damage(path, "gif")
        assert reason is None if told is None else told in reason
    path.write_bytes(gif(compressed([0] * 600, 2), 13, 30, 20))
    assert "13 bits" in structural_damage(path, "gif")
    path.write_bytes(gif(b"any", 1, 30, 20))  # against the rules, and so without a rule to count by
    assert structural_damage(path, "gif") is None


def test_a_file_made_to_take_long_does_not(tmp_path):
    path = tmp_path / "slow.gif"
    path.write_bytes(gif(packed([(256, 9)] * 40_000), 8, 30, 20, pictures=40))
    started = time.process_time()
    structural_damage(path, "gif")
    assert time.process_time() - started < 60
