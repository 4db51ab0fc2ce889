import hashlib
import os

import numpy as np
import pytest
import torch

from kinema.core.errors import DataError, MediaError
from kinema.core.progress import Silent
from kinema.datasets.cache import FrameCache
from kinema.datasets.check import check
from kinema.datasets.content import content_sha256, content_size_bytes, content_stamp, rate_notes
from kinema.datasets.inspection import inspect_file
from kinema.datasets.manifest import read_manifest
from kinema.datasets.sample import Sample
from kinema.video.frame_folder import FrameFolder
from kinema.video.still import encode_jpeg


def frames_in(folder, count=6, seed=0):
    folder.mkdir(parents=True)
    pictures = np.random.default_rng(seed).integers(0, 256, (count, 3, 4, 6), dtype=np.uint8).repeat(8, 2).repeat(8, 3)
    for index, picture in enumerate(torch.from_numpy(pictures)):
        (folder / f"image_{index + 1:05d}.jpg").write_bytes(encode_jpeg(picture, 90))
    return folder


def test_a_folder_is_all_of_its_pictures(tmp_path):
    folder = frames_in(tmp_path / "a")
    size, digest = content_size_bytes(folder), content_sha256(folder)
    assert size == sum(path.stat().st_size for path in folder.iterdir())
    (folder / "frames.json").write_text('{"fps": 25}')  # tells about them, and is none
    assert (content_size_bytes(folder), content_sha256(folder)) == (size, digest)
    picture = folder / "image_00003.jpg"
    picture.write_bytes(picture.read_bytes()[:-1] + b"x")
    assert content_size_bytes(folder) == size
    assert content_sha256(folder) != digest


def test_a_file_is_its_bytes(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"video")
    assert content_size_bytes(path) == 5
    assert content_sha256(path) == hashlib.sha256(b"video").hexdigest()
    assert content_stamp(path) == (5, path.stat().st_mtime_ns)


@pytest.mark.parametrize("what", ["picture", "record", "removed"])
def test_the_stamp_of_a_folder_changes_with_what_is_in_it(tmp_path, what):
    folder = frames_in(tmp_path / "a")
    before = content_stamp(folder)
    assert content_stamp(folder) == before
    if what == "picture":
        os.utime(folder / "image_00002.jpg", ns=(1, 1))
    elif what == "record":
        (folder / "frames.json").write_text('{"fps": 30}')
    else:
        (folder / "image_00006.jpg").unlink()
    assert content_stamp(folder) != before


def test_what_is_neither_is_refused(tmp_path):
    with pytest.raises(MediaError, match="without numbered pictures"):
        content_size_bytes(tmp_path)
    with pytest.raises(OSError, match="No such"):
        content_sha256(tmp_path / "gone")


def test_a_guessed_rate_is_told_once(tmp_path):
    told, one, two = (frames_in(tmp_path / name) for name in "abc")
    (told / "frames.json").write_text('{"fps": 30}')
    samples = [Sample(path, "x") for path in (told, one, two, one)]
    assert rate_notes(samples[:1]) == ()
    assert "frames in b:" in rate_notes(samples[1:2])[0]
    (note,) = rate_notes(samples)
    assert "b and 1 more: 25 a second are assumed" in note


@pytest.fixture
def data(tmp_path):
    """Two classes of two folders each, one of them deeper."""
    for number, name in enumerate(("calm/a", "calm/2024/b", "fight/c", "fight/d")):
        frames_in(tmp_path / "data" / name, seed=number)
    return tmp_path / "data"


def test_class_folders_may_hold_folders_of_frames(data):
    (data / "fight" / "empty").mkdir()
    (data / "fight" / "c" / "n_frames").write_text("6")
    manifest = read_manifest(data)
    assert [manifest.relative(sample.path) for sample in manifest.samples] == [
        "calm/2024/b", "calm/a", "fight/c", "fight/d",
    ]  # fmt: skip
    assert manifest.labels.names == ("calm", "fight")
    assert not manifest.ignored
    assert manifest.fingerprint == read_manifest(data).fingerprint
    (data / "fight" / "c" / "image_00006.jpg").unlink()
    assert manifest.fingerprint != read_manifest(data).fingerprint


def test_pictures_directly_in_a_class_folder_are_no_sample(data):
    (data / "calm" / "cover1.jpg").write_bytes(b"x")
    assert [path.name for path in read_manifest(data).ignored] == ["cover1.jpg"]


def test_rows_may_name_folders_of_frames(data):
    source = data / "clips.csv"
    source.write_text("path,label,start_seconds,end_seconds\ncalm/a,calm,,\nfight/c/,fight,0.04,0.12\n")
    manifest = read_manifest(source)
    assert [sample.path for sample in manifest.samples] == [data / "calm" / "a", data / "fight" / "c"]
    cache = FrameCache(16)
    segment = manifest.samples[1]
    opened = cache.open(segment.path, start_seconds=segment.start_seconds, end_seconds=segment.end_seconds)
    assert opened.pts == (1, 2)


@pytest.mark.parametrize(
    ("given", "reason"), [("fight", "a folder, but not of numbered"), ("calm/x", "no file calm/x")]
)
def test_rows_that_name_other_folders_are_refused(data, given, reason):
    source = data / "clips.csv"
    source.write_text(f"path,label\ncalm/a,calm\n{given},fight\n")
    with pytest.raises(DataError, match=reason):
        read_manifest(source)


def test_cached_frames_are_those_of_the_folder_until_it_changes(data, tmp_path):
    cache, folder = FrameCache(16, folder=tmp_path / "kept"), data / "calm" / "a"
    with FrameFolder(folder, short_side_px=16) as video:
        expected = video.read(range(6)).data
    for _ in range(2):
        assert torch.equal(cache.open(folder).data, expected)
    (folder / "image_00006.jpg").unlink()
    assert len(cache.open(folder).pts) == 5


def test_a_broken_folder_is_broken_for_cache_and_inspection(data, tmp_path):
    (data / "calm" / "a" / "image_00002.jpg").unlink()
    manifest = read_manifest(data)
    reasons = FrameCache(16, folder=tmp_path / "kept").fill(manifest.samples, Silent())
    ((sample, reason),) = reasons.items()
    assert sample.path == data / "calm" / "a"
    assert "image_00002.jpg: the picture is missing" in reason
    report = inspect_file(data / "calm" / "a")
    assert "image_00002.jpg" in report.reason
    assert (report.frames_promised, report.frames_decoded) == (6, 5)


def test_check_tells_of_guessed_rates(data):
    (data / "calm" / "a" / "frames.json").write_text('{"fps": 30}')
    report = check(read_manifest(data), workers=0, clip_frames=4)
    assert not report.broken
    assert any("3 sources (b, …) of frames without a rate: 25 frames a second are assumed" in n for n in report.notes)
    assert sum(file["rate_assumed"] for file in report.to_json()["files"]) == 3
