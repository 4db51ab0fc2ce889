from __future__ import annotations

import random
from pathlib import Path

import pytest

from kinema.core.errors import MediaError
from kinema.video.file import VideoFile
from kinema.video.structure import structural_damage

ENTRY_BYTES = 16


def rewritten(source: Path, folder: Path, change) -> Path:
    """A copy of an AVI whose bytes are a bytearray that `change` alters in place, or replaces."""
    data = bytearray(source.read_bytes())
    target = folder / "rewritten.avi"
    target.write_bytes(change(data) or data)
    return target


def index_of(data: bytearray) -> tuple[int, int]:
    """Where the entries of the index begin, and how many there are."""
    at = data.rindex(b"idx1")
    return at + 8, int.from_bytes(data[at + 4 : at + 8], "little") // ENTRY_BYTES


def add_to_entries(data: bytearray, field: int, number: int) -> None:
    first, count = index_of(data)
    for at in range(first + field, first + count * ENTRY_BYTES, ENTRY_BYTES):
        data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") + number).to_bytes(4, "little")


def told(path: Path, number: int = 0) -> str | None:
    return structural_damage(path, "avi", number)


@pytest.fixture
def avi(made_video) -> Path:
    return made_video("mjpeg.avi")


def test_uneven_times_leave_empty_pictures_in_a_whole_file(encode, scene, tmp_path):
    times = [number + number * number // 30 for number in range(48)]
    for codec, pixel_format in (("mpeg4", "yuv420p"), ("mjpeg", "yuvj420p")):
        path = encode(tmp_path / f"{codec}.avi", scene(48), codec=codec, pixel_format=pixel_format, pts=times)
        with VideoFile(path) as video:
            assert sum(len(frames) for frames in video.frames()) == 48


def test_real_avis_are_whole(shared_video):
    assert told(shared_video / "odd" / "v_Biking_g05_c02.avi") is None


@pytest.mark.parametrize("number", [1, 5, 24, 47])
def test_a_picture_whose_head_is_broken_is_told_and_the_others_stay_what_they_are(avi, tmp_path, number):
    def change(data: bytearray) -> None:
        first, _ = index_of(data)
        place = data.index(b"movi") + int.from_bytes(data[first + number * 16 + 8 : first + number * 16 + 12], "little")
        data[place : place + 4] = b"\x93\x00~!"

    broken = rewritten(avi, tmp_path, change)
    with VideoFile(broken, strict=False) as video:
        frames = [frame for chunk in video.frames() for frame in chunk.data]
        assert len(frames) == 47
        assert "should begin a picture" in str(video.damage[0])
        for index in (46, 3, 20):  # FFmpeg's index counts the lost one, and its reader does not
            assert video.read([index]).data[0].equal(frames[index])
    with VideoFile(broken) as video, pytest.raises(MediaError, match="should begin a picture"):
        list(video.frames())


def test_a_picture_that_became_shorter_is_told(avi, tmp_path):
    def change(data: bytearray) -> None:
        first, _ = index_of(data)
        place = data.index(b"movi") + int.from_bytes(data[first + 24 : first + 28], "little")
        data[place + 4] ^= 2

    assert "by the index" in told(rewritten(avi, tmp_path, change))


def test_places_may_count_from_the_beginning_of_the_file(avi, tmp_path):
    assert told(rewritten(avi, tmp_path, lambda data: add_to_entries(data, 8, data.index(b"movi")))) is None


def test_lengths_may_count_the_heads(avi, tmp_path):
    assert told(rewritten(avi, tmp_path, lambda data: add_to_entries(data, 12, 8))) is None


def test_an_index_that_leads_nowhere_is_told(avi, tmp_path):
    assert "does not lead" in told(rewritten(avi, tmp_path, lambda data: add_to_entries(data, 8, 3)))


def test_an_index_of_noise_is_told(avi, tmp_path):
    def change(data: bytearray) -> None:
        first, count = index_of(data)
        data[first : first + count * ENTRY_BYTES] = random.Random(0).randbytes(count * ENTRY_BYTES)

    assert "lists no picture" in told(rewritten(avi, tmp_path, change))


def test_the_index_of_another_stream_is_not_looked_at(avi, tmp_path):
    def change(data: bytearray) -> None:
        first, _ = index_of(data)
        sound = b"01wb" + bytes(4) + (1 << 30).to_bytes(4, "little") + bytes(4)
        data[first - 4 : first] = ((index_of(data)[1] + 1) * ENTRY_BYTES).to_bytes(4, "little")
        data[first:first] = sound

    assert told(rewritten(avi, tmp_path, change)) is None
    assert told(tmp_path / "rewritten.avi", 1) is not None


def without_index(data: bytearray) -> bytes:
    return bytes(data[: data.rindex(b"idx1")])


def test_an_index_that_was_announced_and_is_missing_is_told(avi, tmp_path):
    assert "missing" in told(rewritten(avi, tmp_path, without_index))


def test_a_recording_that_was_never_completed_has_no_index_to_miss(avi, tmp_path):
    def change(data: bytearray) -> bytes:
        data[data.index(b"avih") + 20] &= ~0x10
        return without_index(data)

    assert told(rewritten(avi, tmp_path, change)) is None


def test_large_files_may_have_another_index(avi, tmp_path):
    def change(data: bytearray) -> bytes:
        at = data.index(b"JUNK")
        data[at : at + 4] = b"indx"
        return without_index(data)

    assert told(rewritten(avi, tmp_path, change)) is None


def test_what_is_called_avi_and_is_none_is_not_judged(tmp_path):
    path = tmp_path / "other.avi"
    path.write_bytes(b"RIFF\4\0\0\0WAVE")
    assert told(path) is None
