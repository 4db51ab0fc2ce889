import os
from contextlib import contextmanager

import av
import numpy as np
import pytest

from kinema.core.errors import UsageError
from kinema.core.progress import Silent
from kinema.datasets.inspection import inspect_file, inspect_files


def test_a_whole_file(clip):
    report = inspect_file(clip)
    assert report.reason is None
    assert (report.frames_promised, report.frames_decoded) == (24, 24)
    assert (report.fps, report.duration_seconds) == pytest.approx((12.0, 2.0))
    assert (report.width_px, report.height_px, report.codec) == (48, 32, "h264")
    assert report.size_bytes == clip.stat().st_size
    assert not report.variable_frame_rate


@pytest.mark.parametrize("sound", [False, True])
def test_sound_is_told(tmp_path, sound):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=10, width=32, height=32, pix_fmt="yuv420p")
        voice = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for _ in range(10):
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8))))
        container.mux(pictures.encode())
        if voice is not None:
            noise = np.random.default_rng(0).uniform(-0.1, 0.1, (1, 16000)).astype(np.float32)
            heard = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
            heard.sample_rate = 16000
            container.mux(voice.encode(heard))
            container.mux(voice.encode())
    report = inspect_file(path)
    assert (report.reason, report.frames_decoded, report.has_audio) == (None, 10, sound)
    assert report.to_json()["has_audio"] is sound


def test_what_it_looks_like(clip, tmp_path):
    report = inspect_file(clip)
    assert (report.look.black_share, report.look.frozen_share) == (0, 0)
    assert report.to_json()["black_share"] == 0
    (tmp_path / "broken.mp4").touch()
    assert inspect_file(tmp_path / "broken.mp4").to_json()["frozen_share"] is None


def test_the_same_content_has_the_same_digest(clip, tmp_path):
    (tmp_path / "copy.mp4").write_bytes(clip.read_bytes())
    assert inspect_file(tmp_path / "copy.mp4").sha256 == inspect_file(clip).sha256


@pytest.mark.parametrize("what", ["absent", "empty", "text", "cut", "folder"])
def test_broken_files_have_a_reason(clip, tmp_path, what):
    path = tmp_path / "broken.mp4"
    match what:
        case "empty":
            path.touch()
        case "text":
            path.write_text("not a video at all " * 100)
        case "cut":
            path.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
        case "folder":
            path.mkdir()
    report = inspect_file(path)
    assert report.reason
    assert report.path == path
    assert report.frames_decoded == 0


def test_a_damaged_real_file_tells_how_far_it_decodes(shared_video):
    report = inspect_file(shared_video / "odd" / "corrupted.mp4")
    assert report.reason is not None
    assert "cannot be decoded" in report.reason
    assert 0 < report.frames_decoded < report.frames_promised


@pytest.mark.parametrize(
    ("name", "variable"), [("part_0.mp4", True), ("testsrc2_vp9.webm", False), ("nasa_13013_rotated.mp4", False)]
)
def test_odd_real_files_are_whole(shared_video, name, variable):
    report = inspect_file(shared_video / "odd" / name)
    assert report.reason is None
    assert report.frames_decoded == report.frames_promised
    assert report.variable_frame_rate is variable


class Counting(Silent):
    """Notes what is shown."""

    def __init__(self):
        self.done, self.total = 0, None

    @contextmanager
    def task(self, description, total, unit):
        self.total = total
        yield self

    def advance(self, steps=1, note=""):
        self.done += steps


@pytest.mark.parametrize("workers", [0, 2])
def test_reports_keep_the_order_of_the_paths(clip, tmp_path, workers):
    paths = [tmp_path / f"{number}.mp4" for number in range(6)]
    for number, path in enumerate(paths):
        path.write_bytes(clip.read_bytes() if number % 2 else b"")
    progress = Counting()
    reports = inspect_files(paths, workers=workers, progress=progress)
    assert [report.path for report in reports] == paths
    assert [report.reason is None for report in reports] == [False, True] * 3
    assert (progress.done, progress.total) == (6, 6)


def test_fewer_than_no_workers(clip):
    with pytest.raises(UsageError, match="-1 workers"):
        inspect_files([clip], workers=-1, progress=Silent())


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_has_no_end_is_not_read(tmp_path, kind):
    path = tmp_path / "a.mp4"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    assert inspect_file(path).reason == f"it is a {kind}"
