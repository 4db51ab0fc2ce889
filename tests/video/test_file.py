from __future__ import annotations

import random
import threading
import time
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from kinema.core.errors import UsageError
from kinema.video.file import VideoFile
from kinema.video.frame import Frames
from kinema.video.handle import Handle
from kinema.video.picture import _SCALING
from kinema.video.timeline import read_timeline
from kinema.video.timeline_memo import TimelineMemo

# name, pts of the first frame, units from frame to frame, frames that decode, pts of the last
ODD = [
    ("animated.gif", 0, 10, 4, 30),
    ("demo.mp4", 0, 512, 280, 142848),
    ("discard_first_keyframe.mp4", 0, 512, 25, 12288),
    ("h264_10bits.mp4", 0, 512, 30, 14848),
    ("nasa_13013_rotated.mp4", 0, 1001, 17, 16016),
    ("test.mp4", 0, 512, 300, 153088),
    ("test_non_zero_start.mp4", 127995, 512, 12, 133627),
    ("testsrc2_mpeg4.mp4", 0, 512, 1, 0),
    ("testsrc2_odd_height_and_width_444.mp4", 0, 512, 25, 12288),
    ("v_Biking_g05_c02.avi", 0, 1, 201, 200),
    ("video_90.mov", 0, 640, 3, 1280),
]
UNEVEN = {
    # the last frame comes one late
    "part_0.mp4": (*range(0, 31 * 512, 512), 16384),
    # thirtieths of a second, rounded to milliseconds
    "testsrc2_vp9.webm": tuple(round(number * 1000 / 30) for number in range(30)),
}
MADE = [
    "b_frames.mp4", "b_pyramid.mp4", "open_gop.mp4", "open_gop.mkv", "open_gop.ts", "hevc_open_gop.mp4",
    "intra_refresh.mp4", "all_intra.mp4", "fragmented.mp4", "variable.mkv", "mpeg2.mpg", "mpeg4.avi",
    "mpeg4_b_frames.avi", "h264_b_frames.avi", "raw.h264", "hidden_frames.webm", "vp9.webm", "flash.flv", "mjpeg.avi",
    "loop.gif",
]  # fmt: skip


def all_frames(video: VideoFile, **range_: float | None) -> Frames:
    return Frames.join(list(video.frames(chunk_frames=7, **range_)))


def bare(path: Path) -> list[av.VideoFrame]:
    """Every frame that FFmpeg shows, by the plainest loop there is."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def assert_read_is_what_frames_gave(path: Path, draws: int = 12) -> None:
    chance = random.Random(path.name)
    with VideoFile(path, short_side_px=32) as video:
        sequence = all_frames(video)
        assert sequence.pts == video.pts
        count = len(video.pts)
        questions = [[0], [count - 1], list(range(count // 2, min(count, count // 2 + 5)))]
        questions += [[chance.randrange(count) for _ in range(chance.randint(1, 6))] for _ in range(draws)]
        for indices in questions:
            answer = video.read(indices)
            assert answer.pts == tuple(video.pts[index] for index in indices)
            assert torch.equal(answer.data, sequence.take(indices).data), indices
        assert video.damage == ()


@pytest.mark.parametrize(("name", "first", "step", "count", "last"), ODD, ids=[row[0] for row in ODD])
def test_times_of_odd_files(shared_video, name, first, step, count, last):
    path = shared_video / "odd" / name
    with VideoFile(path, short_side_px=16) as video:
        frames = all_frames(video)
        assert video.pts == frames.pts == tuple(range(first, first + count * step, step))
        assert (video.pts[0], video.pts[-1], len(frames)) == (first, last, count)
    assert [frame.pts for frame in bare(path)] == list(frames.pts)


@pytest.mark.parametrize("name", UNEVEN)
def test_uneven_times_of_odd_files(shared_video, name):
    path = shared_video / "odd" / name
    with VideoFile(path, short_side_px=16) as video:
        assert video.pts == all_frames(video).pts == UNEVEN[name]
    assert [frame.pts for frame in bare(path)] == list(UNEVEN[name])


@pytest.mark.parametrize("name", [row[0] for row in ODD] + list(UNEVEN))
def test_a_frame_of_an_odd_file_is_the_same_by_index(shared_video, name):
    assert_read_is_what_frames_gave(shared_video / "odd" / name, draws=5)


@pytest.fixture(params=["kept", "sought", "remembered"])
def road(request, monkeypatch):
    """How `read` comes by packets: from those kept when times were read, or by seeking, with times read before."""
    memo = TimelineMemo()
    if request.param == "remembered":
        monkeypatch.setattr("kinema.video.timeline_memo._SETTLED_NANOSECONDS", -1)
    else:
        monkeypatch.setattr(memo, "remember", lambda *_: None)
    if request.param == "sought":
        monkeypatch.setattr("kinema.video.handle._KEPT_BYTES", 0)
    monkeypatch.setattr("kinema.video.file._MEMO", memo)
    return request.param


@pytest.mark.parametrize("name", MADE)
def test_a_frame_is_the_same_by_index(made_video, name, road):
    if road == "remembered":
        with VideoFile(made_video(name)) as video:
            assert video.pts
    assert_read_is_what_frames_gave(made_video(name))


@pytest.mark.parametrize("name", ["b_frames.mp4", "variable.mkv", "vp9.webm"])
def test_times_are_read_once(made_video, name, road, monkeypatch):
    with VideoFile(made_video(name), short_side_px=16) as video:
        times, first = video.pts, video.read([30])
    reads = []
    monkeypatch.setattr("kinema.video.file.read_timeline", lambda *_: reads.append(1) or read_timeline(*_))
    with VideoFile(made_video(name), short_side_px=16) as video:
        assert video.pts == times
        assert torch.equal(video.read([30]).data, first.data)
    assert len(reads) == (0 if road == "remembered" else 1)


def test_a_small_file_is_read_from_disk_once(made_video, monkeypatch):
    opened = []
    monkeypatch.setattr("kinema.video.file.Handle", lambda *given, **named: opened.append(1) or Handle(*given, **named))
    monkeypatch.setattr("kinema.video.handle.Handle.rewind", lambda _: None)
    monkeypatch.setattr("kinema.video.file._MEMO", TimelineMemo(most_bytes=0))
    with VideoFile(made_video("b_frames.mp4"), short_side_px=16) as video:
        whole = all_frames(video)
    assert opened == [1]
    monkeypatch.setattr("kinema.video.handle.Handle._sought", lambda *_: pytest.fail("reads the file again"))
    with VideoFile(made_video("b_frames.mp4"), short_side_px=16) as video:
        for indices in ([40, 41], [3], [20]):
            assert torch.equal(video.read(indices).data, whole.take(indices).data)


@pytest.mark.parametrize("name", MADE)
def test_pixels_are_those_ffmpeg_shows_in_its_order(made_video, name):
    with VideoFile(made_video(name)) as video:
        ours = all_frames(video).data.permute(0, 2, 3, 1).numpy()
    theirs = np.stack(
        [frame.reformat(format="rgb24", interpolation=_SCALING).to_ndarray() for frame in bare(made_video(name))]
    )
    assert np.array_equal(ours, theirs)
    assert np.abs(theirs[1:].astype(int) - theirs[:-1]).mean(axis=(1, 2, 3)).min() > 18  # no two are alike


@pytest.mark.parametrize("name", ["h264_b_frames.avi", "raw.h264", "mpeg4_b_frames.avi"])
def test_containers_without_times_are_timed_by_count(made_video, name):
    with VideoFile(made_video(name)) as video:
        times = video.read(range(48)).pts_seconds
        assert all(later - earlier == pytest.approx(1 / 25) for earlier, later in pairwise(times))


RANGES = [
    # start, end -> frames, in a file of 48 at 25 fps (0.04 s apart)
    (0.0, None, range(48)),
    (0.0, 0.04, range(1)),
    (0.04, 0.12, range(1, 3)),
    (0.041, 0.121, range(2, 4)),
    (0.5, 0.5, range(0)),
    (1.88, 99.0, range(47, 48)),
    (1.881, None, range(0)),
]


@pytest.mark.parametrize("name", ["b_frames.mp4", "open_gop.ts", "h264_b_frames.avi", "intra_refresh.mp4"])
@pytest.mark.parametrize(("start", "end", "expected"), RANGES)
def test_ranges_hold_their_start_and_not_their_end(made_video, name, start, end, expected):
    with VideoFile(made_video(name), short_side_px=16) as video:
        parts = list(video.frames(start_seconds=start, end_seconds=end, chunk_frames=5))
        assert tuple(pts for part in parts for pts in part.pts) == tuple(video.pts[index] for index in expected)
        if parts:
            assert torch.equal(Frames.join(parts).data, video.read(list(expected)).data)


def test_every_frame_starts_a_range_at_its_own_time(made_video):
    with VideoFile(made_video("variable.mkv"), short_side_px=16) as video:
        for index, pts in enumerate(video.pts):
            seconds = float((pts - video.pts[0]) * video.info.time_base)
            assert next(video.frames(start_seconds=seconds, chunk_frames=1)).pts == (video.pts[index],)


def test_chunks_have_the_size_asked_for(made_video):
    with VideoFile(made_video("b_frames.mp4"), short_side_px=16) as video:
        assert [len(part) for part in video.frames(chunk_frames=20)] == [20, 20, 8]
        assert [tuple(part.data.shape) for part in video.frames(chunk_frames=100)] == [(48, 3, 16, 24)]


def test_the_same_bytes_every_time_and_with_more_threads(made_video):
    found = []
    for threads in (1, 2, 2, 3):
        with VideoFile(made_video("b_pyramid.mp4"), short_side_px=40, threads=threads) as video:
            found.append(all_frames(video).data)
            found.append(video.read(range(48)).data)
            found.append(torch.cat([video.read([index]).data for index in range(48)]))
    assert all(torch.equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize(
    ("asked", "small", "decoding", "converting"), [(1, True, 1, 0), (2, True, 1, 1), (4, True, 3, 1), (2, False, 2, 0)]
)
def test_who_works_with_how_many_threads(made_video, monkeypatch, asked, small, decoding, converting):
    if not small:
        monkeypatch.setattr("kinema.video.handle._SMALL_PIXELS", 96 * 64 - 1)
    with VideoFile(made_video("b_frames.mp4"), short_side_px=16, threads=asked) as video:
        assert (video._handle.stream.thread_count, video._handle.converting_threads) == (decoding, converting)
        before = threading.active_count()
        video.read([3])
        assert threading.active_count() == before + converting
        frames = video.frames(chunk_frames=4)
        next(frames)
        assert threading.active_count() == before + 2 * converting
        frames.close()
        assert threading.active_count() == before + converting
    assert threading.active_count() == before


def test_a_failure_beside_is_raised_in_front(made_video, monkeypatch):
    with VideoFile(made_video("b_frames.mp4"), short_side_px=16, threads=2) as video:
        monkeypatch.setattr("kinema.video.file.Painter.paint", lambda *_: pytest.fail("cannot be converted"))
        with pytest.raises(pytest.fail.Exception, match="cannot be converted"):
            video.read(range(10))
        with pytest.raises(pytest.fail.Exception, match="cannot be converted"):
            next(video.frames())
        monkeypatch.undo()
        assert len(video.read(range(10))) == 10


def test_reading_on_takes_no_second_seek(made_video, monkeypatch):
    with VideoFile(made_video("b_frames.mp4"), short_side_px=16) as video:
        video.read([13])
        sought = []
        monkeypatch.setattr(video._handle, "packets_from", lambda *_: sought.append(1))
        video.read(range(14, 30))
        video.read([29, 31])
        assert not sought
        monkeypatch.undo()
        real = video._handle.packets_from
        monkeypatch.setattr(video._handle, "packets_from", lambda *asked: sought.append(1) or real(*asked))
        video.read([0])
        sought.clear()
        video.read([47])  # a keyframe lies between, far enough for a seek to pay
        assert sought


def test_keyframes_found_to_be_none_are_not_tried_again(made_video, monkeypatch):
    with VideoFile(made_video("intra_refresh.mp4"), short_side_px=16) as video:
        sought = []
        real = video._handle.packets_from
        monkeypatch.setattr(video._handle, "packets_from", lambda *asked: sought.append(1) or real(*asked))
        video.read([15])
        assert len(sought) == 2  # from the keyframe, then from the start
        video.read([30, 45])
        assert len(sought) == 2


def test_asking_what_a_file_is_does_not_disturb_reading_on(made_video):
    with (
        VideoFile(made_video("b_frames.mp4"), short_side_px=16) as video,
        VideoFile(video.path, short_side_px=16) as other,
    ):
        video.read([10])
        assert video.info.frame_count == 48
        assert torch.equal(video.read([11]).data, other.read([11]).data)


@pytest.mark.parametrize("indices", [[], [-1], [48], [0, 99]])
def test_indices_out_of_range_are_refused(made_video, indices):
    with VideoFile(made_video("b_frames.mp4")) as video, pytest.raises(UsageError, match="from 0 to 47"):
        video.read(indices)


@pytest.mark.parametrize(
    ("settings", "range_", "said"),
    [
        ({"short_side_px": 0}, {}, "short side of 0"),
        ({"threads": 0}, {}, "0 decoder threads"),
        ({}, {"chunk_frames": 0}, "chunks of 0"),
        ({}, {"start_seconds": -1.0}, "from -1.0"),
        ({}, {"start_seconds": 2.0, "end_seconds": 1.0}, "from 2.0 to 1.0"),
    ],
)
def test_impossible_arguments_are_refused_at_once(made_video, settings, range_, said):
    with pytest.raises(UsageError, match=said), VideoFile(made_video("b_frames.mp4"), **settings) as video:
        video.frames(**range_)


# --- handles, threads, processes ---


def handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_two_hundred_clips_leave_no_handle_and_no_thread(made_video):
    paths = [made_video("b_frames.mp4"), made_video("open_gop.mkv")]
    before, tasks, own = handles(), threads(), threading.active_count()
    for number in range(200):
        with VideoFile(paths[number % 2], short_side_px=16, threads=1 + number % 2) as video:
            video.read(range(number % 32, number % 32 + 8))
    assert handles() == before
    assert threading.active_count() == own
    deadline = time.monotonic() + 10
    while threads() != tasks and time.monotonic() < deadline:  # the last one, joined, may not have left the system yet
        time.sleep(0.001)
    assert threads() == tasks


def test_a_dropped_generator_releases_its_handle(made_video):
    with VideoFile(made_video("b_frames.mp4"), short_side_px=16) as video:
        video.read([5])  # so that they share none
        before = handles()
        frames = video.frames(chunk_frames=4)
        next(frames)
        assert handles() == before + 1
        frames.close()
        assert handles() == before


def test_a_generator_that_took_the_handle_releases_it_too(made_video):
    before = handles()
    with VideoFile(made_video("b_frames.mp4"), short_side_px=16) as video:
        frames = video.frames(chunk_frames=4)
        first = next(frames)
        assert handles() == before + 1
        assert torch.equal(video.read([0, 1]).data, first.data[:2])
        assert handles() == before + 2
    assert handles() == before + 1
    frames.close()
    assert handles() == before


def test_reading_between_chunks_disturbs_neither(made_video):
    with VideoFile(made_video("b_frames.mp4"), short_side_px=16) as video:
        whole = all_frames(video)
        parts = []
        for part in video.frames(chunk_frames=5):
            parts.append(part)
            assert torch.equal(video.read([40, 2]).data, whole.take([40, 2]).data)
            assert video.info.frame_count == 48
        assert torch.equal(Frames.join(parts).data, whole.data)


def test_a_closed_file_says_so_instead_of_crashing(made_video):
    with VideoFile(made_video("b_frames.mp4")) as video:
        frames = video.frames(chunk_frames=40)
        next(frames)
    video.close()
    assert sum(len(part) for part in frames) == 8  # reads through a handle of its own
    with pytest.raises(UsageError, match="closed"):
        video.read([0])


def test_a_failing_block_releases_the_file(made_video):
    before = handles()
    with pytest.raises(UsageError), VideoFile(made_video("b_frames.mp4")) as video:  # noqa: PT012 - it must be open
        video.read([3])
        video.read([99])
    assert handles() == before


class Clips(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        with VideoFile(self.path, short_side_px=16) as video:
            return video.read(range(index, index + 8)).data


def test_worker_processes_read_the_same(made_video):
    clips = Clips(made_video("b_frames.mp4"))
    loader = torch.utils.data.DataLoader(clips, batch_size=2, num_workers=2)
    assert torch.equal(torch.cat(list(loader)), torch.stack([clips[index] for index in range(6)]))


def test_a_name_may_hold_anything(made_video, tmp_path):
    path = tmp_path / "거리 [1] 100%d a:b.mp4"
    path.write_bytes(made_video("b_frames.mp4").read_bytes())
    with VideoFile(path, short_side_px=16) as video:
        assert len(video.read([0])) == 1
        assert repr(video) == f"VideoFile('{path}', short_side_px=16)"
