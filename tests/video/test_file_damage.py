"""What a damaged file gives, and what is said of it."""

from __future__ import annotations

import pickle
import random
import re
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
import torch

from kinema.core.errors import MediaError
from kinema.video.file import Damage, VideoFile
from kinema.video.frame import Frames


@pytest.fixture
def corrupted(shared_video: Path) -> Path:
    return shared_video / "odd" / "corrupted.mp4"


def until_error(frames: Iterator[Frames]) -> tuple[int, MediaError | None]:
    count = 0
    try:
        for part in frames:
            count += len(part)
    except MediaError as error:
        return count, error
    return count, None


def cut(path: Path, folder: Path, share: float = 0.6) -> Path:
    whole = path.read_bytes()
    short = folder / f"cut_{path.name}"
    short.write_bytes(whole[: int(len(whole) * share)])
    return short


def test_a_damaged_file_gives_what_decodes_and_then_raises(corrupted, capfd):
    with VideoFile(corrupted, short_side_px=32) as video:
        count, error = until_error(video.frames())
    assert count == 49
    assert error is not None
    assert error.path == corrupted
    assert "cannot be decoded: Invalid data found when processing input at 3.000 s" in error.reason
    assert error.next_step
    assert pickle.loads(pickle.dumps(error)).reason == error.reason
    assert capfd.readouterr() == ("", "")  # FFmpeg keeps quiet


def test_chunks_are_full_where_pictures_are_missing(corrupted):
    with VideoFile(corrupted, short_side_px=32, strict=False) as video:
        parts = list(video.frames(chunk_frames=13))
    assert [len(part) for part in parts] == [13, 13, 13, 10]  # the 31st of 50 is missing


def test_damage_is_only_noted_where_it_may_be(corrupted):
    with VideoFile(corrupted, short_side_px=32, strict=False) as video:
        assert video.damage == ()
        assert until_error(video.frames()) == (49, None)
        assert [place.seconds for place in video.damage] == [3.0, 3.2]
        assert until_error(video.frames())[0] == 49
        assert len(video.damage) == 2  # found twice, told once
        with pytest.raises(MediaError, match=r"3\.000 s"):
            video.read([30])
        assert len(video.read([29, 31])) == 2


def test_what_lies_before_the_damage_can_be_had(corrupted):
    with VideoFile(corrupted, short_side_px=32) as video:
        assert len(video.read(range(20))) == 20
        assert until_error(video.frames(end_seconds=2.0)) == (20, None)
        for _ in range(2):  # however often it is asked
            with pytest.raises(MediaError):
                video.read([40])
        assert len(video.read([19])) == 1


def test_a_recording_cut_off_in_its_first_fragment_is_noticed(made_video, tmp_path):
    with VideoFile(cut(made_video("fragmented.mp4"), tmp_path, 0.3), short_side_px=16) as video:
        count, error = until_error(video.frames())
    assert 0 < count < 12
    assert error is not None
    assert "of the 12 pictures that it promises" in error.reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("index_first.mp4", r"the file ends after \d+ of the 48 pictures that it promises"),
        ("vp9.webm", r"the file ends after \d\.\d+ of the 1\.92 s that it promises"),
        ("open_gop.mkv", r"the file ends after \d\.\d+ of the 1\.92 s that it promises"),
        ("flash.flv", "the file ends after|incomplete"),
        ("mpeg4.avi", "the file ends after|incomplete"),
        ("mjpeg.avi", "the file ends after|incomplete"),
    ],
)
def test_a_file_cut_off_is_noticed(made_video, tmp_path, name, reason):
    with VideoFile(cut(made_video(name), tmp_path), short_side_px=16) as video:
        count, error = until_error(video.frames())
        assert 5 < count < 40
        assert error is not None
        assert re.search(reason, error.reason)
        assert len(video.read([0, 2])) == 2


def test_the_shared_file_cut_at_sixty_percent_is_noticed(shared_video, tmp_path):
    healthy = shared_video / "odd" / "testsrc2_vp9.webm"
    with VideoFile(cut(healthy, tmp_path), short_side_px=16) as video:
        count, error = until_error(video.frames())
    assert 0 < count < 30
    assert error is not None


def damaged(path: Path, folder: Path, numbers: list[int], share: tuple[float, float]) -> Path:
    """`path` with noise over part of the packets `numbers`: from one share of their bytes to the other."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for number in numbers:
        position, size = packets[number]
        start, end = (position + int(size * part) for part in share)
        data[start:end] = random.Random(3).randbytes(end - start)
    broken = folder / path.name
    broken.write_bytes(data)
    return broken


@pytest.mark.parametrize("name", ["index_first.mp4", "mpeg4.avi", "hevc_open_gop.mp4", "mjpeg.avi"])
def test_overwritten_bytes_are_noticed(made_video, tmp_path, name):
    with VideoFile(damaged(made_video(name), tmp_path, [14, 20, 26, 32], (0.33, 1)), short_side_px=16) as video:
        _, error = until_error(video.frames())
    assert error is not None


def test_a_scratch_in_a_picture_that_stands_alone_is_noticed(made_video, tmp_path):
    path = damaged(made_video("mjpeg.avi"), tmp_path, [20], (0.5, 0.52))
    with VideoFile(path, short_side_px=16, strict=False) as video:
        assert until_error(video.frames())[0] == 47
        assert [place.seconds for place in video.damage] == [0.8]


def test_a_packet_lost_on_the_way_is_noticed(made_video, tmp_path):
    whole = made_video("open_gop.ts").read_bytes()
    middle = 188 * (len(whole) // 188 // 2)
    path = tmp_path / "lost.ts"
    path.write_bytes(whole[:middle] + whole[middle + 188 :])
    with VideoFile(path, short_side_px=16) as video:
        _, error = until_error(video.frames())
    assert error is not None
    assert "incomplete" in error.reason


def test_a_group_behind_the_damage_can_be_had_whatever_was_read_before(made_video, tmp_path):
    path = damaged(made_video("index_first.mp4"), tmp_path, [18], (0.3, 1))
    with (
        VideoFile(path, short_side_px=16) as video,
        VideoFile(made_video("index_first.mp4"), short_side_px=16) as whole,
    ):
        with pytest.raises(MediaError):
            video.read([23])
        assert torch.equal(video.read([25]).data, whole.read([25]).data)


def test_what_the_end_lacks_does_not_matter_before_it(made_video, tmp_path):
    with VideoFile(cut(made_video("vp9.webm"), tmp_path), short_side_px=16) as video:
        assert until_error(video.frames(end_seconds=0.4)) == (10, None)
        assert "that it promises" in str(until_error(video.frames(start_seconds=0.8))[1])


def test_damage_reads_like_a_sentence():
    assert str(Damage(1.5, "a picture is missing")) == "a picture is missing at 1.500 s"
    assert str(Damage(None, "reading stops early")) == "reading stops early"


@pytest.mark.slow
def test_all_real_clips_are_healthy(shared_video):
    paths = [path for name in ("surv_fight", "arid6") for path in (shared_video / name).rglob("*.mp4")]
    assert len(paths) == 375
    for path in paths:
        with VideoFile(path, short_side_px=32) as video:
            assert sum(len(part) for part in video.frames()) == len(video.pts) == video.info.frame_count
            assert video.damage == ()


def test_times_of_a_broken_file_are_read_every_time(made_video, tmp_path, monkeypatch):
    monkeypatch.setattr("kinema.video.timeline_memo._SETTLED_NANOSECONDS", -1)
    path = cut(made_video("index_first.mp4"), tmp_path)
    for _ in range(3):
        with VideoFile(path, short_side_px=16) as video:
            assert "that it promises" in str(until_error(video.frames())[1])
