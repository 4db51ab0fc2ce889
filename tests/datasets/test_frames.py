import json
import os
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kinema.core.errors import DataError, UsageError
from kinema.datasets import frames as frames_module
from kinema.datasets.cache import FrameCache
from kinema.datasets.frames import FrameRule, extract_frames
from kinema.datasets.manifest import read_manifest
from kinema.video.file import VideoFile
from kinema.video.frame_folder import FrameFolder
from kinema.video.frame_record import FrameRecord
from kinema.video.writer import VideoWriter

RULE = FrameRule(short_side_px=32, quality=90)


def film(path, count=8, seed=0, fps=25, pts=None):
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    still = np.asarray(Image.fromarray(blocks).resize((64, 48), Image.Resampling.BICUBIC))
    pictures = np.stack([np.roll(still, 3 * index, axis=1) for index in range(count)])
    with VideoWriter(path, fps, (64, 48), time_base=None if pts is None else Fraction(1, 90_000)) as writer:
        writer.write(pictures, pts=pts)
    return path


@pytest.fixture
def data(tmp_path):
    for seed, name in enumerate(("calm/a.mp4", "calm/b.mp4", "fight/a.mp4")):
        film(tmp_path / "data" / name, seed=seed)
    rows = ["path,label,split,group,start_seconds,end_seconds"]
    rows += ["calm/a.mp4,calm,train,cam-1,0,0.2", "calm/a.mp4,calm,train,cam-1,0.2,", "calm/b.mp4,calm,test,cam-2,,"]
    rows += ["fight/a.mp4,fight,train,cam-3,,"]
    (tmp_path / "data" / "clips.csv").write_text("\n".join(rows))
    return tmp_path / "data" / "clips.csv"


def extract(data, out, rule=RULE, workers=0):
    return extract_frames(read_manifest(data, min_classes=1), out, rule, workers=workers)


def test_the_layout_is_the_one_that_3d_resnets_reads(data, tmp_path):
    out = tmp_path / "out"
    report = extract(data, out)
    folder = out / "calm" / "a"
    pictures = [f"image_{number:05d}.jpg" for number in range(1, 9)]
    assert sorted(path.name for path in folder.iterdir()) == ["frames.json", *pictures, "n_frames"]
    assert (folder / "n_frames").read_text() == "8"
    # It counts the names in which `image` occurs.
    assert sum("image" in path.name for path in folder.iterdir()) == 8
    assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == ["calm", "fight", "manifest.csv"]
    assert [(one.frames, one.kept, one.reason) for one in report.folders] == [(8, False, None)] * 3
    assert report.folders[0].size_bytes == sum(path.stat().st_size for path in folder.glob("*.jpg"))


def test_the_manifest_keeps_labels_splits_groups_and_segments(data, tmp_path):
    extract(data, tmp_path / "out")
    before, after = read_manifest(data), read_manifest(tmp_path / "out" / "manifest.csv")
    assert [one.path for one in after.samples[:2]] == [tmp_path / "out" / "calm" / "a"] * 2
    for old, new in zip(before.samples, after.samples, strict=True):
        assert (old.label, old.split, old.group) == (new.label, new.split, new.group)
        assert (old.start_seconds, old.end_seconds) == (new.start_seconds, new.end_seconds)


def test_segments_show_the_same_frames_as_those_of_the_video(data, tmp_path):
    extract(data, tmp_path / "out")
    cache = FrameCache(32, folder=tmp_path / "kept")
    for name in (data, tmp_path / "out" / "manifest.csv"):
        one = read_manifest(name).samples[1]
        opened = cache.open(one.path, start_seconds=one.start_seconds, end_seconds=one.end_seconds)
        assert len(opened.pts) == 3
        assert opened.times == pytest.approx([0, 0.04, 0.08])


def test_pixels_are_those_of_the_video_up_to_jpeg(data, tmp_path):
    extract(data, tmp_path / "out", FrameRule(32, 95))
    with (
        VideoFile(data.parent / "calm" / "a.mp4", short_side_px=32) as video,
        FrameFolder(tmp_path / "out" / "calm" / "a", short_side_px=32) as stills,
    ):
        assert stills.times == pytest.approx([index / 25 for index in range(8)])
        ours, theirs = stills.read(range(8)).data.int(), video.read(range(8)).data.int()
        assert not stills.info.rate_assumed
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().float().mean() < 8
    assert (ours[:-1] - theirs[1:]).abs().float().mean() > 30  # a neighbour is not taken for it


def test_uneven_times_stay_exact(tmp_path):
    path = film(tmp_path / "data" / "x" / "a.mkv", count=4, pts=[0, 9000, 12_600, 45_000])
    extract(tmp_path / "data", tmp_path / "out")
    with VideoFile(path) as video, FrameFolder(tmp_path / "out" / "x" / "a") as stills:
        assert (stills.pts, stills.info.time_base) == (video.pts, video.info.time_base)
        assert stills.info.duration_seconds == pytest.approx(video.info.duration_seconds)
        assert stills.info.variable_frame_rate


def test_ntsc_rates_stay_exact(tmp_path):
    film(tmp_path / "data" / "x" / "a.mp4", fps=Fraction(30_000, 1001))
    extract(tmp_path / "data", tmp_path / "out")
    record = json.loads((tmp_path / "out" / "x" / "a" / "frames.json").read_text())
    assert (record["fps"], record["count"]) == ("30000/1001", 8)


@pytest.mark.parametrize(("fps", "kept"), [(Fraction(25, 2), [0, 2, 4, 6]), (Fraction(50), [0, 0, 1, 1, 2, 2, 3])])
def test_a_rate_takes_the_frame_shown_at_each_moment(tmp_path, fps, kept):
    film(tmp_path / "data" / "x" / "a.mp4", count=len(set(kept)) * (2 if fps < 25 else 1))
    extract(tmp_path / "data", tmp_path / "all")
    extract(tmp_path / "data", tmp_path / "some", FrameRule(32, 90, fps))
    folders = [tmp_path / name / "x" / "a" for name in ("all", "some")]
    originals, taken = ([path.read_bytes() for path in sorted(each.glob("*.jpg"))] for each in folders)
    assert taken == [originals[index] for index in kept]
    with FrameFolder(folders[1]) as stills:
        assert stills.times == pytest.approx([float(index / fps) for index in range(len(kept))])


def times_written(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}


def test_a_second_run_writes_nothing(data, tmp_path):
    extract(data, tmp_path / "out")
    before = times_written(tmp_path / "out")
    report = extract(data, tmp_path / "out")
    assert times_written(tmp_path / "out") == before
    assert all(one.kept and one.frames == 8 for one in report.folders)
    os.utime(data.parent / "calm" / "a.mp4")  # the same bytes under another date
    assert all(one.kept for one in extract(data, tmp_path / "out").folders)


@pytest.mark.parametrize(
    "what", ["no record", "damaged record", "a picture gone", "a picture empty", "another video", "another rule"]
)
def test_what_is_not_finished_is_done_again(data, tmp_path, what):
    out, rule = tmp_path / "out", RULE
    extract(data, out)
    folder = out / "calm" / "a"
    if what == "no record":
        (folder / "frames.json").unlink()
    elif what == "damaged record":
        (folder / "frames.json").write_text("{")
    elif what == "a picture gone":
        (folder / "image_00008.jpg").unlink()
    elif what == "a picture empty":
        (folder / "image_00008.jpg").write_bytes(b"")
    elif what == "another video":
        film(data.parent / "calm" / "a.mp4", count=5, seed=9)
    else:
        rule = FrameRule(24, 90)
    report = extract(data, out, rule)
    assert [one.kept for one in report.folders] == [False, what != "another rule", what != "another rule"]
    assert len(list(folder.glob("*.jpg"))) == (5 if what == "another video" else 8)
    assert FrameRecord.read(folder).count == len(list(folder.glob("*.jpg")))


def test_a_run_that_is_stopped_leaves_no_folder_of_half_a_video(data, tmp_path, monkeypatch):
    def failing(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(frames_module, "encode_jpeg", failing)
    with pytest.raises(KeyboardInterrupt):
        extract(data, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.jpg"))
    monkeypatch.undo()
    left = tmp_path / "out" / "calm" / ".a.partial"  # as a run leaves that is killed
    left.mkdir(parents=True)
    (left / "image_00001.jpg").write_bytes(b"x")
    assert all(one.frames == 8 for one in extract(data, tmp_path / "out").folders)
    assert not left.exists()


def test_a_full_disk_is_an_error_and_leaves_no_half(data, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match="No space left"):
        extract(data, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.json"))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_broken_videos_are_listed_and_their_rows_left_out(data, tmp_path, workers):
    whole = (data.parent / "calm" / "b.mp4").read_bytes()
    (data.parent / "calm" / "b.mp4").write_bytes(whole[: len(whole) // 2])
    report = extract(data, tmp_path / "out", workers=workers)
    ((path, reason),) = report.broken
    assert path == data.parent / "calm" / "b.mp4"
    assert reason
    assert not (tmp_path / "out" / "calm" / "b").exists()
    assert len(read_manifest(tmp_path / "out" / "manifest.csv").samples) == 3
    assert report.to_json()["broken"] == {"calm/b.mp4": reason}


def test_a_rate_that_no_reader_would_take_is_told(data, tmp_path):
    film(data.parent / "fight" / "a.mp4", count=8, fps=2000)
    report = extract(data, tmp_path / "out")
    assert report.broken == (
        (data.parent / "fight" / "a.mp4", "a rate of 2000 frames a second, more than a folder of frames may have"),
    )
    assert not (tmp_path / "out" / "fight" / "a").exists()


def test_jobs_can_be_sent_to_other_processes(tmp_path):
    job = frames_module._Job(tmp_path / "gone.mp4", tmp_path / "out", RULE)
    read, died = pickle.loads(pickle.dumps((frames_module._extract, frames_module._died)))
    assert "No such file" in read(pickle.loads(pickle.dumps(job))).reason
    assert "died" in died(job).reason


def test_nothing_that_decodes_is_an_error(tmp_path):
    for name in ("x/a.mp4", "y/b.mp4"):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        (tmp_path / "data" / name).write_bytes(b"no video")
    with pytest.raises(DataError, match="not one of 2 videos"):
        extract(tmp_path / "data", tmp_path / "out")


def test_videos_of_one_name_do_not_overwrite_each_other(tmp_path):
    data = tmp_path / "data"
    for seed, name in enumerate(("x/2023/c.mp4", "x/2024/c.mp4", "x/C.avi", "x/d.mp4", "y/c.mp4")):
        film(data / name, count=4 + seed, seed=seed)
    report = extract(data, tmp_path / "out")
    counts = {one.path.relative_to(data).as_posix(): len(list(one.folder.glob("*.jpg"))) for one in report.folders}
    assert counts == {"x/2023/c.mp4": 4, "x/2024/c.mp4": 5, "x/C.avi": 6, "x/d.mp4": 7, "y/c.mp4": 8}
    assert [path.relative_to(data).as_posix() for path, _ in report.renamed] == [
        "x/2023/c.mp4",
        "x/2024/c.mp4",
        "x/C.avi",
    ]
    assert (tmp_path / "out" / "x" / "d").is_dir()
    assert (tmp_path / "out" / "y" / "c").is_dir()
    assert all(one.kept for one in extract(data, tmp_path / "out").folders)


def test_labels_and_names_that_are_no_folders_lead_nowhere_else(tmp_path):
    film(tmp_path / "data" / "a.mp4")
    film(tmp_path / "data" / "b..mp4", seed=1)
    film(tmp_path / "data" / f"{'long' * 50}.mp4", seed=2)
    rows = ["path,label", "a.mp4,../../up", "b..mp4,a/b:c", f"{'long' * 50}.mp4,.hidden"]
    (tmp_path / "data" / "clips.csv").write_text("\n".join(rows))
    report = extract(tmp_path / "data" / "clips.csv", tmp_path / "deep" / "er" / "out")
    assert all(one.folder.is_relative_to(tmp_path / "deep" / "er" / "out") for one in report.folders)
    assert [one.folder.parent.name for one in report.folders] == [
        "__.._up",
        "a_b_c",
        "_hidden",
    ]
    assert len(read_manifest(tmp_path / "deep" / "er" / "out" / "manifest.csv").samples) == 3


def test_folders_of_others_are_not_replaced(data, tmp_path):
    precious = tmp_path / "out" / "calm" / "a" / "notes.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    report = extract(data, tmp_path / "out")
    assert "holds other things than frames, such as notes.txt" in dict(report.broken)[data.parent / "calm" / "a.mp4"]
    assert precious.read_text() == "mine"


def test_frames_are_not_written_among_the_videos(data, tmp_path):
    for out in (data.parent, data):
        with pytest.raises(DataError, match="cannot be written to"):
            extract(data, out)
    with pytest.raises(DataError, match="cannot be written to"):
        extract(data.parent, data.parent / "frames")
    (tmp_path / "file").touch()
    with pytest.raises(DataError):
        extract(data, tmp_path / "file" / "out")


def test_two_runs_at_once_are_kept_apart(data, tmp_path):
    with frames_module._alone_in(tmp_path / "out"), pytest.raises(DataError, match="another process"):
        extract(data, tmp_path / "out")
    assert extract(data, tmp_path / "out").written


def test_frames_of_frames_can_be_taken(data, tmp_path):
    extract(data, tmp_path / "out")
    report = extract(tmp_path / "out" / "manifest.csv", tmp_path / "small", FrameRule(16))
    assert [one.folder.name for one in report.folders] == ["a", "b", "a"]
    with FrameFolder(tmp_path / "small" / "calm" / "a") as stills:
        assert (stills.info.height_px, stills.info.average_fps) == (16, 25)
    assert all(
        one.kept for one in extract(tmp_path / "out" / "manifest.csv", tmp_path / "small", FrameRule(16)).folders
    )


def test_progress_tells_the_rate(data, tmp_path):
    notes = []

    class Task:
        def advance(self, steps=1, note=""):
            notes.append((steps, note))

    class Bars:
        def task(self, description, total, unit, done=0):
            from contextlib import nullcontext

            assert (total, unit) == (3, "videos")
            return nullcontext(Task())

        def log(self, message):
            raise AssertionError(message)

    extract_frames(read_manifest(data), tmp_path / "out", RULE, workers=0, progress=Bars())
    assert [steps for steps, _ in notes] == [1, 1, 1]
    assert all(note.endswith("frames/s") for _, note in notes)


@pytest.mark.parametrize("wrong", [{"short_side_px": 0}, {"quality": 96}, {"quality": 0}, {"fps": Fraction(0)}])
def test_rules_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError):
        FrameRule(**wrong)


def test_a_network_trains_and_is_examined_on_folders_of_frames(tiny_clips, tmp_path):
    from kinema.core.progress import Silent
    from kinema.evaluation.examine import examine
    from kinema.evaluation.protocol import Views
    from kinema.inference.predictor import load
    from kinema.training.experiment import train
    from kinema.training.recipe import make_config

    extract(tiny_clips, tmp_path / "frames", FrameRule(32))
    source = tmp_path / "frames" / "manifest.csv"
    settings = {
        "data": source,
        "model": "resnet3d_10",
        "model_options": {"widen_factor": 0.125, "conv1_t_size": 3},
        "frames": 8,
        "stride": 1,
        "size": 32,
        "epochs": 1,
        "batch_size": 4,
    }
    done = train(make_config(settings), tmp_path / "run")
    assert done.test is not None
    weights = tmp_path / "run" / "best.safetensors"
    found = examine(
        str(weights), source, split="test", views=Views(), skip_broken=False, device="cpu", out=None, progress=Silent()
    )
    assert len(found.scored) == sum(one.split == "test" for one in read_manifest(source).samples)
    folder = read_manifest(source).samples[0].path
    answer = load(weights, device="cpu").predict(folder)
    assert not answer.warnings
    (folder / "frames.json").unlink()
    guessed = load(weights, device="cpu").predict(folder)
    assert "25 a second are assumed" in guessed.warnings[0]
    assert torch.allclose(torch.tensor(answer.windows[0].probabilities), torch.tensor(guessed.windows[0].probabilities))
