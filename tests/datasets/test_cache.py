"""Frames kept on disk: the very frames of the file, decoded once, within a limit, whatever befalls the folder."""

import multiprocessing
import os
import resource
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from kinema.core.cache import cache_folder
from kinema.core.errors import DataError, MediaError, UsageError
from kinema.core.progress import Silent
from kinema.datasets import cache as cache_module
from kinema.datasets.cache import FrameCache
from kinema.datasets.sample import Sample
from kinema.video.file import VideoFile
from kinema.video.source import open_recording
from kinema.video.writer import VideoWriter

SIDE = 32
CLIP_BYTES = 24 * 3 * 32 * 48


def write_clip(path, level, frames=24):
    with VideoWriter(path, fps=12, size=(48, 32)) as writer:
        writer.write(np.full((frames, 32, 48, 3), level, np.uint8))
    return path


@pytest.fixture
def kept(tmp_path):
    return FrameCache(SIDE, folder=tmp_path / "frames", limit_bytes=100 * CLIP_BYTES)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Twelve clips of 24 frames 48x32, each of another grey."""
    folder = tmp_path_factory.mktemp("greys")
    return [write_clip(folder / f"{number}.mp4", 20 * number) for number in range(12)]


@pytest.fixture
def decoded(monkeypatch):
    """The paths that are decoded, as they are."""
    paths = []

    def noting(path, **options):
        paths.append(path)
        return open_recording(path, **options)

    monkeypatch.setattr(cache_module, "open_recording", noting)
    return paths


def files(cache):
    return sorted(cache.folder.iterdir())


def test_frames_are_those_of_the_file_first_and_later(kept, clip):
    with VideoFile(clip, short_side_px=SIDE) as video:
        parts = list(video.frames())
        pts, base = video.pts, video.info.time_base
    whole = torch.cat([part.data for part in parts])
    for _ in range(2):
        found = kept.open(clip)
        assert torch.equal(found.data, whole)
        assert (found.pts, found.time_base) == (pts, base)
        assert found.times == pytest.approx([number / 12 for number in range(24)])
        picked = found.read((5, 5, 0))
        assert torch.equal(picked.data, whole[[5, 5, 0]])
        assert picked.pts == (pts[5], pts[5], pts[0])
        assert repr(found) == "CachedVideo((24, 3, 32, 48))"


def test_a_second_open_decodes_nothing(kept, clip, decoded):
    kept.open(clip)
    again = FrameCache(SIDE, folder=kept.folder)
    again.open(clip)
    assert decoded == [clip]


def test_a_segment_is_half_open(kept, clip):
    with VideoFile(clip, short_side_px=SIDE) as video:
        whole = torch.cat([part.data for part in video.frames()])
    for _ in range(2):
        found = kept.open(clip, start_seconds=0.5, end_seconds=1.0)
        assert torch.equal(found.data, whole[6:12])
        assert found.times[0] == 0
        assert kept.open(clip, end_seconds=0.5).data.shape[0] == 6
        assert kept.open(clip, start_seconds=1.5).data.shape[0] == 6
        assert kept.open(clip, start_seconds=0.5).data.shape[0] == 18
    assert len(files(kept)) == 4


def test_a_segment_behind_the_end_holds_no_frame(kept, clip):
    with pytest.raises(MediaError, match=r"no frame between 5\.0 s and 6\.0 s"):
        kept.open(clip, start_seconds=5.0, end_seconds=6.0)
    assert not kept.folder.exists()


def test_what_a_file_is_kept_under(kept, clip, tmp_path, decoded):
    """Another size, time of change, side or segment is decoded; the same file by another way is not."""
    path = tmp_path / "clip.mp4"
    shutil.copy(clip, path)
    kept.open(path)
    kept.open(path.parent / "frames" / ".." / "clip.mp4")
    (tmp_path / "link.mp4").symlink_to(path)
    kept.open(tmp_path / "link.mp4")
    assert len(decoded) == 1

    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    kept.open(path)
    assert len(decoded) == 2

    changed = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes() + bytes(8))
    os.utime(path, ns=(changed, changed))
    kept.open(path)
    assert len(decoded) == 3

    FrameCache(16, folder=kept.folder).open(path)
    kept.open(path, start_seconds=0.5)
    assert len(decoded) == 5
    assert len(files(kept)) == 5


def test_the_least_recently_used_goes_first(clips, tmp_path, decoded):
    cache = FrameCache(SIDE, folder=tmp_path / "frames", limit_bytes=int(4.5 * CLIP_BYTES))
    for number, path in enumerate(clips[:4]):
        cache.open(path)
        newest = max(files(cache), key=lambda file: file.stat().st_mtime_ns)
        os.utime(newest, (number, number))  # used in this order, long ago
    cache.open(clips[0])  # and the first once more, now
    decoded.clear()
    cache.open(clips[4])
    assert cache.size_bytes() <= cache.limit_bytes
    for path in (clips[0], clips[2], clips[3], clips[4]):
        cache.open(path)
    assert decoded == [clips[4]]
    cache.open(clips[1])
    assert decoded == [clips[4], clips[1]]


@pytest.mark.parametrize("threads", [1, 8])
def test_filling_keeps_the_limit(clips, tmp_path, monkeypatch, threads):
    monkeypatch.setattr(cache_module, "readers", lambda: threads)
    cache = FrameCache(SIDE, folder=tmp_path / "frames", limit_bytes=int(4.5 * CLIP_BYTES))
    assert cache.fill([Sample(path, "a") for path in clips], Silent()) == {}
    assert 4 * CLIP_BYTES <= cache.size_bytes() <= cache.limit_bytes


@pytest.mark.parametrize(("limit", "kept_files"), [(0, 0), (4 * CLIP_BYTES - 4, 0), (4 * CLIP_BYTES, 1)])
def test_what_takes_more_than_a_quarter_is_not_kept(clips, tmp_path, limit, kept_files):
    cache = FrameCache(SIDE, folder=tmp_path / "frames", limit_bytes=limit)
    assert len(cache.open(clips[0]).pts) == 24
    assert len(list(cache.folder.glob("*"))) == kept_files


@pytest.mark.parametrize("length", [0, 7, 200, -1000])
def test_a_truncated_file_is_decoded_again(kept, clip, decoded, length):
    whole = kept.open(clip).data.clone()
    (file,) = files(kept)
    content = file.read_bytes()
    file.write_bytes(content[:length])
    assert torch.equal(kept.open(clip).data, whole)
    assert file.read_bytes() == content
    assert len(decoded) == 2


def test_frames_stay_readable_when_the_folder_goes(kept, clip, decoded):
    kept.open(clip)
    held = kept.open(clip)
    before = held.data.clone()
    shutil.rmtree(kept.folder)
    assert torch.equal(held.read(range(24)).data, before)
    assert torch.equal(kept.open(clip).data, before)
    assert len(decoded) == 2
    assert len(files(kept)) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_folder_may_go_while_a_file_is_written(kept, clip, monkeypatch, moment):
    save = cache_module.save_file

    def save_and_lose(*arguments, **options):
        if moment == "before":
            shutil.rmtree(kept.folder)
        save(*arguments, **options)
        shutil.rmtree(kept.folder)

    monkeypatch.setattr(cache_module, "save_file", save_and_lose)
    assert len(kept.open(clip).pts) == 24
    assert not kept.folder.exists()
    monkeypatch.setattr(cache_module, "save_file", save)
    kept.open(clip)
    assert len(files(kept)) == 1


def test_a_folder_that_cannot_be_made_is_named(clip, tmp_path):
    (tmp_path / "file").touch()
    cache = FrameCache(SIDE, folder=tmp_path / "file" / "frames", limit_bytes=100 * CLIP_BYTES)
    with pytest.raises(DataError, match=r"cannot keep the frames of videos in .*file/frames") as caught:
        cache.open(clip)
    assert "KINEMA_CACHE" in caught.value.next_step


def test_frames_that_another_user_has_kept_are_read(kept, clip, decoded, monkeypatch):
    def refuse(path):
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(os, "utime", refuse)
    for _ in range(2):
        assert len(kept.open(clip).pts) == 24
    assert decoded == [clip]


def test_room_is_made_of_what_may_be_removed(clips, tmp_path, monkeypatch):
    cache = FrameCache(SIDE, folder=tmp_path / "frames", limit_bytes=int(4.5 * CLIP_BYTES))
    for path in clips[:4]:
        cache.open(path)
    theirs = min(files(cache), key=lambda file: file.stat().st_mtime_ns)
    unlink = Path.unlink

    def refuse(path, missing_ok=False):
        if path == theirs:
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    cache.open(clips[4])
    assert theirs.exists()
    assert 3 * CLIP_BYTES < cache.size_bytes() <= cache.limit_bytes


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_file_that_cannot_be_put_in_its_place_is_named(kept, clip, monkeypatch, step):
    def refuse(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[step], refuse)
    with pytest.raises(DataError, match=r"cannot keep the frames of videos in .*: .*Input/output error"):
        kept.open(clip)


def test_a_full_disk_is_named(kept, clip):
    """A limit on the size of files ends a write as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(DataError, match="cannot keep the frames of videos in") as caught:
            kept.open(clip)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "GiB" in caught.value.allowed
    assert [file for file in files(kept) if not file.name.startswith(".tmp")] == []


def test_filling_names_what_is_broken(clips, kept, tmp_path):
    cut, none, gone = tmp_path / "cut.mp4", tmp_path / "none.mp4", tmp_path / "gone.mp4"
    cut.write_bytes(clips[0].read_bytes()[:-200])
    none.write_bytes(b"no video")
    told = []

    class Noting(Silent):
        def task(self, description, total, unit):
            told.append((description, total, unit))
            return super().task(description, total, unit)

    broken = kept.fill([Sample(path, "a") for path in (clips[0], none, clips[1], cut, gone)], Noting())
    assert {sample.path for sample in broken} == {none, cut, gone}
    assert all(broken.values())
    assert "No such file" in broken[Sample(gone, "a")]
    assert len(files(kept)) == 2
    assert told == [("reading videos", 5, "videos")]


def test_a_bad_segment_is_broken_alone(clips, kept):
    spans = [(0.0, 1.0), (5.0, None), (5.0, 6.0), (1.0, None)]
    samples = [Sample(clips[0], "a", start_seconds=start, end_seconds=end) for start, end in spans]
    broken = kept.fill(samples, Silent())
    assert broken == {
        samples[1]: "no frame between 5.0 s and the end",
        samples[2]: "no frame between 5.0 s and 6.0 s",
    }


def test_filling_decodes_each_once(clips, kept, decoded):
    samples = [Sample(path, "a") for path in clips]
    for _ in range(2):
        kept.fill(samples, Silent())
    assert sorted(decoded) == sorted(clips)


@pytest.mark.parametrize(("given", "expected"), [(None, 10 * 2**30), ("0", 0), ("0.5", 2**29), ("2", 2**31)])
def test_the_limit_of_the_environment(monkeypatch, given, expected):
    if given is None:
        monkeypatch.delenv("KINEMA_CACHE_GIB", raising=False)
    else:
        monkeypatch.setenv("KINEMA_CACHE_GIB", given)
    assert FrameCache(SIDE).limit_bytes == expected


@pytest.mark.parametrize("given", ["ten", "-1", "nan", "inf", ""])
def test_a_limit_that_is_none(monkeypatch, given):
    monkeypatch.setenv("KINEMA_CACHE_GIB", given)
    with pytest.raises(UsageError, match=f"KINEMA_CACHE_GIB={given}") as caught:
        FrameCache(SIDE)
    assert "0 to keep nothing" in caught.value.allowed


@pytest.mark.parametrize(
    ("kinema", "xdg", "expected"),
    [
        ("/a", "/b", "/a"),
        (None, "/b", "/b/kinema"),
        (None, None, "/home/me/.cache/kinema"),
        ("", "", "/home/me/.cache/kinema"),
    ],
)
def test_where_frames_are_kept(monkeypatch, kinema, xdg, expected):
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in (("KINEMA_CACHE", kinema), ("XDG_CACHE_HOME", xdg)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert str(cache_folder()) == expected
    assert FrameCache(SIDE).folder == cache_folder() / "frames"


def _fill(folder, limit, paths, answers):
    cache = FrameCache(SIDE, folder=folder, limit_bytes=limit)
    broken = {}
    for _ in range(3):
        broken |= cache.fill([Sample(path, "a") for path in paths], Silent())
    levels = [int(cache.open(path).data[0, 0, 0, 0]) for path in paths]
    answers.put((broken, levels))


def test_two_processes_fill_one_folder(clips, tmp_path):
    """One that evicts what the other has just written, or is about to."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    limit = int(4.5 * CLIP_BYTES)
    orders = (clips, list(reversed(clips)))
    workers = [context.Process(target=_fill, args=(tmp_path / "frames", limit, order, answers)) for order in orders]
    for worker in workers:
        worker.start()
    found = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    expected = [int(FrameCache(SIDE, limit_bytes=0).open(path).data[0, 0, 0, 0]) for path in clips]
    assert all(broken == {} for broken, _ in found)
    assert sorted(levels for _, levels in found) == sorted([expected, expected[::-1]])
    assert not [file for file in files(FrameCache(SIDE, folder=tmp_path / "frames")) if file.name.startswith(".")]


def test_times_are_exact(kept, tmp_path):
    path = tmp_path / "ntsc.mp4"
    with VideoWriter(path, fps=Fraction(30000, 1001), size=(48, 32)) as writer:
        writer.write(np.zeros((5, 32, 48, 3), np.uint8))
    for _ in range(2):
        found = kept.open(path)
        assert [(pts - found.pts[0]) * found.time_base for pts in found.pts] == [
            Fraction(1001 * n, 30000) for n in range(5)
        ]
