from __future__ import annotations

import random
from pathlib import Path

import av
import pytest
from tests.video.conftest import SETTINGS

from kinema.core.errors import MediaError
from kinema.video.file import VideoFile
from kinema.video.structure import structural_damage

CONTAINERS = {
    "loop.gif": "gif",
    "flash.flv": "flv",
    "open_gop.ts": "mpegts",
    "open_gop.mkv": "matroska,webm",
    "vp9.webm": "matroska,webm",
    "mpeg4.avi": "avi",
    "mpeg2.mpg": "mpeg",
}
STREAM_IDS = {"mpegts": 256}


def altered(path: Path, folder: Path, change) -> Path:
    target = folder / f"altered_{path.name}"
    target.write_bytes(change(path.read_bytes()))
    return target


def told(path: Path, container: str) -> str | None:
    return structural_damage(path, container, STREAM_IDS.get(container, 0))


@pytest.mark.parametrize("name", SETTINGS)
def test_whole_files_are_whole(made_video, name):
    with VideoFile(made_video(name)) as video:
        assert sum(len(frames) for frames in video.frames()) == 48
        assert not video.damage


COPIED = {
    "open_gop.mp4": ("ts", "m2ts", "mkv", "flv"),
    "mpeg2.ts": ("ts", "m2ts", "avi", "mkv", "mpg"),
    "mpeg4.avi": ("ts", "m2ts", "avi", "mkv"),
    "mjpeg.avi": ("avi", "mkv"),
}


@pytest.mark.parametrize(("source", "suffix"), [(name, suffix) for name in COPIED for suffix in COPIED[name]])
def test_pieces_copied_without_decoding_are_whole(made_video, tmp_path, source, suffix):
    target = tmp_path / f"copied.{suffix}"
    with av.open(str(made_video(source))) as given, av.open(str(target), "w") as copy:
        stream = given.streams.video[0]
        copied = copy.add_stream_from_template(stream)
        given.seek(int(0.6 / stream.time_base), stream=stream)
        for packet in given.demux(stream):
            if packet.dts is not None:
                packet.stream = copied
                copy.mux(packet)
    with av.open(str(target)) as container:
        assert structural_damage(target, container.format.name, container.streams.video[0].id) is None


def test_a_program_stream_may_be_filled_up_with_zeros(made_video, tmp_path):
    assert told(altered(made_video("mpeg2.mpg"), tmp_path, lambda data: data + bytes(2048)), "mpeg") is None


@pytest.mark.parametrize(("name", "container"), [("animated.gif", "gif"), ("testsrc2_vp9.webm", "matroska,webm")])
def test_real_files_are_whole(shared_video, name, container):
    assert structural_damage(shared_video / "odd" / name, container) is None


@pytest.mark.parametrize("name", CONTAINERS)
def test_wherever_a_file_is_cut_its_skeleton_tells(made_video, tmp_path, name):
    whole = made_video(name)
    chance, size = random.Random(name), whole.stat().st_size
    count = 0
    for _ in range(40):
        kept = chance.randrange(size // 10, size - 4)
        if name.endswith(".ts"):
            kept -= kept % 188 == 0
        short = altered(whole, tmp_path, lambda data, at=kept: data[:at])
        count += told(short, CONTAINERS[name]) is not None
    assert count >= 36  # an FLV can be cut between two tags, with or without the length of the first


@pytest.mark.parametrize("name", CONTAINERS)
def test_bytes_that_are_missing_in_the_middle_are_told(made_video, tmp_path, name):
    broken = altered(made_video(name), tmp_path, lambda data: data[: len(data) // 2] + data[len(data) // 2 + 11 :])
    assert told(broken, CONTAINERS[name]) is not None


def test_a_checksum_tells_of_one_bit(made_video, tmp_path):
    def flip(data: bytes) -> bytes:
        middle = len(data) // 2
        return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]

    assert "checksum" in told(altered(made_video("open_gop.mkv"), tmp_path, flip), "matroska,webm")


def test_a_gif_that_lost_its_end_is_damaged_and_gives_what_decodes(made_video, tmp_path):
    short = altered(made_video("loop.gif"), tmp_path, lambda data: data[: len(data) * 2 // 3])
    with VideoFile(short, strict=False) as video:
        assert 0 < sum(len(frames) for frames in video.frames()) < 48
        assert [str(place) for place in video.damage] == ["the file ends in the middle"]
    with VideoFile(short) as video, pytest.raises(MediaError, match="ends in the middle"):
        list(video.frames())


def test_an_early_clip_of_a_file_that_is_cut_reads_without_a_word(made_video, tmp_path):
    short = altered(made_video("loop.gif"), tmp_path, lambda data: data[: len(data) * 2 // 3])
    with VideoFile(short) as video:
        assert len(video.read([0, 1, 2])) == 3
        assert sum(len(frames) for frames in video.frames(end_seconds=0.2)) == 5


def test_what_has_no_skeleton_is_not_judged(made_video):
    assert structural_damage(made_video("b_frames.mp4"), "mov,mp4,m4a,3gp,3g2,mj2") is None
    assert structural_damage(made_video("raw.h264"), "h264") is None


@pytest.mark.parametrize("container", sorted(set(CONTAINERS.values())))
@pytest.mark.parametrize("seed", range(40))
def test_any_bytes_are_walked_to_an_end(tmp_path, container, seed):
    starts = {
        "gif": b"GIF89a",
        "flv": b"FLV\1\5\0\0\0\x09",
        "mpegts": b"\x47",
        "matroska,webm": b"\x1a\x45\xdf\xa3",
        "avi": b"RIFF\0\0\0\0AVI LIST\4\0\0\0hdrl",
        "mpeg": b"\0\0\1\xba",
    }
    path = tmp_path / "any"
    chance = random.Random(seed)
    path.write_bytes(starts[container] + chance.randbytes(chance.randrange(600)))
    assert told(path, container) is None or isinstance(told(path, container), str)


def test_a_segment_that_claims_more_than_there_is_costs_no_memory(tmp_path):
    path = tmp_path / "claims.mkv"
    path.write_bytes(b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67\x08\xff\xff\xff\xff\xff\xff" + bytes(50))
    assert "longer than what holds it" in structural_damage(path, "matroska,webm")
