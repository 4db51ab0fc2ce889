"""`kinema predict`: what is on stdout, what on stderr, and with which exit code it ends."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from kinema.inference.predictor import load
from kinema.inference.result import Prediction
from kinema.models.weights import load_weights, save_weights
from kinema.video.file import VideoFile
from kinema.video.writer import VideoWriter


@pytest.fixture(scope="module")
def best(tiny_run):
    return tiny_run / "best.safetensors"


@pytest.fixture(scope="module")
def clips(tiny_clips):
    return sorted((tiny_clips.parent / "normal").glob("*.mp4"))


@pytest.fixture
def damaged(clips, tmp_path):
    """A video of which some frames decode, and one of which none does."""
    with VideoFile(clips[0]) as video, VideoWriter(tmp_path / "whole.mkv", fps=10, size=(64, 48)) as writer:
        for frames in video.frames():
            writer.write(frames.data)
    content = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "whole.mkv").unlink()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) * 6 // 10])
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    return tmp_path


def records(ran):
    """Each line of stdout as JSON; nothing but such lines may be there."""
    assert ran.out.endswith("\n")
    return [json.loads(line) for line in ran.out.splitlines()]


def test_json_is_one_object_a_video_and_nothing_else(kinema_command, best, clips):
    ran = kinema_command("predict", best, *clips[:3], "--json", "--device", "cpu")
    assert (ran.code, ran.err) == (0, "")
    found = records(ran)
    assert [record["source"] for record in found] == [str(path) for path in clips[:3]]
    predictor = load(best, device="cpu")
    for record, path in zip(found, clips, strict=False):
        assert Prediction.from_json(record) == predictor.predict(path)


@pytest.mark.parametrize("k", [1, 2, 9])
def test_top_k(kinema_command, best, clips, k):
    (record,) = records(kinema_command("predict", best, clips[0], "--json", "--top-k", k))
    assert len(record["top"]) == min(k, 2)
    assert len(record["probabilities"]) == 2
    ran = kinema_command("predict", best, clips[0], "--top-k", k, "--enter", 1, "--leave", 1)
    assert sum(name in ran.out.split() for name in ("normal", "selfharm")) == min(k, 2)


def test_people_read_the_figures(kinema_command, best, clips):
    ran = kinema_command("predict", best, clips[0], "--enter", 0.01, "--leave", 0)
    found = load(best).predict(clips[0])
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == f"{clips[0]}  2.0 s"
    for line, score in zip(lines[1:3], found.top(2), strict=True):
        assert line.split()[0] == f"{score.probability:.3f}"
        assert line.split()[-1] == score.label
        assert line.count("█") == round(score.probability * 20)
    assert "0.00 s to     2.00 s  selfharm, peak 0." in lines[3]
    assert len(lines) == 4


def test_the_timeline_is_a_strip_a_class(kinema_command, best, clips):
    assert "|" not in kinema_command("predict", best, clips[0]).out
    ran = kinema_command("predict", best, clips[0], "--timeline", "--enter", 1, "--leave", 1)
    strips = [line for line in ran.out.splitlines() if line.startswith("  |")]
    assert [line.rsplit(maxsplit=1)[-1] for line in strips] == [
        score.label for score in load(best).predict(clips[0]).top(2)
    ]
    for line in strips:
        strip = line.split("|")[1]
        assert len(strip) == 60
        assert set(strip) <= set("▁▂▃▄▅▆▇█")


def test_window_and_stride_reach_the_network(kinema_command, best, clips):
    arguments = ("predict", best, clips[0], "--json", "--window", 16, "--stride", 5)
    (record,) = records(kinema_command(*arguments))
    expected = load(best).predict(clips[0], window_frames=16, hop_frames=5)
    assert [window["start_seconds"] for window in record["windows"]] == [w.start_seconds for w in expected.windows]
    assert record["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
    ran = kinema_command("predict", best, clips[0], "--window", 4, "--stride", 5)
    assert (ran.code, ran.out) == (2, "")
    assert "a hop from 1 to the window's 4 frames" in ran.err


@pytest.mark.parametrize(
    ("options", "events"),
    [
        (["--enter", 0.001, "--leave", 0], 1),
        (["--enter", 1, "--leave", 1], 0),
        (["--enter", 0.001, "--leave", 0, "--min-seconds", 2.1], 0),
    ],
)
def test_the_rule_for_events_is_taken(kinema_command, best, clips, options, events):
    (record,) = records(kinema_command("predict", best, clips[0], "--json", *options))
    assert [event["label"] for event in record["events"]] == ["selfharm"] * events


def test_a_rule_that_contradicts_itself(kinema_command, best, clips):
    ran = kinema_command("predict", best, clips[0], "--enter", 0.3, "--leave", 0.5)
    assert (ran.code, ran.out) == (2, "")
    assert "open at 0.3 and close below 0.5" in ran.err


def test_folders_and_patterns(kinema_command, best, clips, tiny_clips):
    folder = tiny_clips.parent
    by_folder = records(kinema_command("predict", best, folder / "normal", "--json"))
    assert [record["source"] for record in by_folder] == [str(path) for path in clips]
    by_pattern = records(kinema_command("predict", best, folder / "*" / "scene-000-*.mp4", "--json"))
    assert [record["source"] for record in by_pattern] == sorted(map(str, folder.glob("*/scene-000-*.mp4")))
    twice = records(kinema_command("predict", best, clips[0], folder / "normal", "--json"))
    assert len(twice) == len(clips)


@pytest.mark.parametrize("json_asked", [True, False])
def test_a_video_that_cannot_be_read_does_not_keep_the_others(kinema_command, best, clips, damaged, json_asked):
    options = ["--json"] if json_asked else []
    ran = kinema_command("predict", best, clips[0], damaged / "broken.mp4", clips[1], *options)
    assert ran.code == 4
    assert "broken.mp4" not in ran.out
    assert f"error: cannot read {damaged / 'broken.mp4'}" in ran.err
    assert all(str(path) in ran.out for path in clips[:2])
    if json_asked:
        assert len(records(ran)) == 2


@pytest.mark.parametrize("missing", ["absent.mp4", "empty", "*.wmv"])
def test_a_name_that_leads_nowhere_does_not_keep_the_others(kinema_command, best, clips, tmp_path, missing):
    (tmp_path / "empty").mkdir()
    ran = kinema_command("predict", best, clips[0], tmp_path / missing, clips[1], clips[0], "--json")
    assert ran.code == 4
    assert f"error: cannot read {tmp_path / missing}: " in ran.err
    assert [record["source"] for record in records(ran)] == [str(path) for path in clips[:2]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fusion", "bogus"], "--fusion bogus without --fuse"),
        (["--raft-weights", "raft.pth"], "RAFT's weights raft.pth for "),
        ([""], "a blank source"),
    ],
)
def test_what_would_be_ignored_or_cannot_be_is_refused(kinema_command, best, clips, arguments, said):
    ran = kinema_command("predict", best, clips[0], *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert f"error: {said}" in ran.err
    assert "allowed: " in ran.err


def test_damage_is_told_beside_the_answer(kinema_command, best, damaged):
    ran = kinema_command("predict", best, damaged / "cut.mkv")
    assert ran.code == 0
    assert ran.out.startswith(f"{damaged / 'cut.mkv'}  ")
    assert f"warning: {damaged / 'cut.mkv'}: damaged: " in ran.err
    (record,) = records(kinema_command("predict", best, damaged / "cut.mkv", "--json"))
    assert "frames that decode" in record["warnings"][0]


def test_a_video_too_short_for_its_weights_does_not_keep_the_others(kinema_command, best, clips, tmp_path):
    with VideoFile(clips[0]) as video, VideoWriter(tmp_path / "short.mp4", fps=10, size=(64, 48)) as writer:
        writer.write(video.read(range(5)).data)
    loaded = load_weights(best)
    spec = replace(loaded.card.input, clip=replace(loaded.card.input.clip, padding="none"))
    save_weights(tmp_path / "strict.safetensors", loaded.model, replace(loaded.card, input=spec))
    ran = kinema_command("predict", tmp_path / "strict.safetensors", tmp_path / "short.mp4", clips[0], "--json")
    assert ran.code == 3
    assert f"error: {tmp_path / 'short.mp4'}: a video with 5 frames on the clip grid" in ran.err
    assert [record["source"] for record in records(ran)] == [str(clips[0])]


@pytest.mark.parametrize(
    ("weights", "source", "device", "code"),
    [
        ("absent.safetensors", "clip.mp4", "cpu", 5),
        ("best", "absent.mp4", "cpu", 4),
        ("best", "*.nothing", "cpu", 4),
        ("best", "clip.mp4", "gpu", 2),
    ],
)
def test_exit_codes(kinema_command, best, clips, tmp_path, weights, source, device, code):
    shutil.copy(clips[0], tmp_path / "clip.mp4")
    path = best if weights == "best" else tmp_path / weights
    ran = kinema_command("predict", path, tmp_path / source, "--device", device, "--json")
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("error: ")


@pytest.mark.parametrize("name", ["a:fire:[b].mp4", "[bold]x[/].mp4", "한글 이름.mp4"])
def test_names_are_shown_as_they_are(kinema_command, best, clips, tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    shutil.copy(clips[0], path)
    assert kinema_command("predict", best, path).out.startswith(f"{path}  2.0 s\n")
    assert records(kinema_command("predict", best, path, "--json"))[0]["source"] == str(path)


def test_a_reader_that_leaves_ends_it_well(best, clips):
    """As in `kinema predict … --json | head -1`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kinema", "predict", best, *clips, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    messages = process.stderr.read().decode()
    process.stderr.close()
    assert (process.wait(timeout=60), messages) == (0, "")
