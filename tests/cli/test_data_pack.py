import json

import numpy as np
import pytest

from kinema.video.writer import VideoWriter


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data"
    for number, name in enumerate(("train/calm/a.mp4", "train/fight/b.mp4", "test/fight/c.mp4")):
        with VideoWriter(root / name, fps=10, size=(64, 48)) as writer:
            writer.write(np.full((20, 48, 64, 3), 40 * number, np.uint8))
    return root


def test_a_data_set_is_packed_and_shown(kinema_command, data, tmp_path):
    ran = kinema_command("data", "pack", data, tmp_path / "out", "--workers", 0)
    assert ran.code == 0
    assert f"{tmp_path / 'out'}: 3 samples in " in ran.out
    rows = [line.split()[:4] for line in ran.out.splitlines() if line.startswith(("train", "test"))]
    assert rows == [["train", "2", "2", "1"], ["test", "1", "1", "1"]]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "index.json",
        "test-000000.tar",
        "train-000000.tar",
    ]


def test_options_arrive(kinema_command, data, tmp_path):
    given = {"shard-mib": 0.001, "short-side": 32, "crf": 30, "keyframe": 9, "seed": 5}
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    ran = kinema_command("data", "pack", data, tmp_path / "out", "--workers", 0, "--json", *words)
    index = json.loads(ran.out)
    assert index["schema"] == "kinema.pack"
    assert tuple(index["options"].values()) == (0.001, 32, 30, 9, 5)
    assert len(index["splits"]["train"]["shards"]) == 2
    assert index == json.loads((tmp_path / "out/index.json").read_text())


def test_broken_videos_are_listed_and_decide_the_exit_code(kinema_command, data, tmp_path):
    (data / "train/calm/[x].mp4").write_bytes(b"no video")
    ran = kinema_command("data", "pack", data, tmp_path / "out", "--workers", 0)
    assert ran.code == 3
    assert "left out: train/calm/[x].mp4: " in ran.out
    assert "1 of 4 samples left out" in ran.out
    assert "\ntrain" in ran.out


def test_a_segment_that_is_left_out_is_named(kinema_command, data, tmp_path):
    rows = ["path,label,start_seconds,end_seconds", "train/calm/a.mp4,calm,0,1", "train/calm/a.mp4,calm,7,9"]
    (data / "clips.csv").write_text("\n".join(rows))
    ran = kinema_command("data", "pack", data / "clips.csv", tmp_path / "out", "--workers", 0)
    assert ran.code == 3
    assert "left out: train/calm/a.mp4 from 7 s to 9 s: no frame between 7.0 s and 9.0 s" in ran.out


def test_an_impossible_option(kinema_command, data, tmp_path):
    ran = kinema_command("data", "pack", data, tmp_path / "out", "--short-side", 33)
    assert ran.code == 2
    assert "short_side_px 33" in ran.err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def packed(kinema_command, tiny_clips, tmp_path):
    ran = kinema_command("data", "pack", tiny_clips, tmp_path / "packed", "--short-side", 48, "--workers", 0)
    assert ran.code == 0
    return tmp_path / "packed"


def test_packed_data_is_trained_on_evaluated_and_predicted(kinema_command, packed, tiny_clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("--frames", 8, "--stride", 1, "--size", 32, "--epochs", 1, "--set", "model_options.widen_factor=0.125")
    ran = kinema_command("train", "packed", "--model", "resnet3d_10", *words, "--json")
    assert (ran.code, ran.err.count("error")) == (0, 0)
    told = json.loads(ran.out)
    assert told["folder"] == "runs/packed-resnet3d_10"
    assert told["test"]["video"]["n"] == 8
    (weights,) = told["weights"]

    figures = json.loads(kinema_command("evaluate", weights, "packed", "--json", "--out", "found").out)
    assert figures["video"] == told["test"]["video"]
    assert "as the data set names its splits" in figures["protocol"]["split"]
    assert (tmp_path / "found" / "report.html").exists()
    everything = json.loads(kinema_command("evaluate", weights, packed / "index.json", "--split", "all", "--json").out)
    assert everything["video"]["n"] == 24

    ran = kinema_command("predict", weights, "packed", tiny_clips.parent / "normal", "--json")
    assert ran.code == 0
    sources = [json.loads(line)["source"] for line in ran.out.splitlines()]
    assert len(sources) == 12 + 24
    names = {f"packed/{path.relative_to(tiny_clips.parent)}" for path in tiny_clips.parent.glob("*/*.mp4")}
    assert set(sources[12:]) == names


def test_what_evaluating_cannot_do_with_shards(kinema_command, tiny_run, data, packed, tmp_path):
    kinema_command("data", "pack", data, tmp_path / "others", "--workers", 0)
    best = tiny_run / "best.safetensors"
    ran = kinema_command("evaluate", best, tmp_path / "others")
    assert ran.code == 3
    assert "labels that the network does not know: fight" in ran.err
    ran = kinema_command("evaluate", best, tmp_path / "others", "--split", "val")
    assert ran.code == 3
    assert "has no split 'val', only train, test" in ran.err
    assert "allowed: train, test, all" in ran.err
    (packed / "train-000000.tar").write_bytes(b"gone")
    ran = kinema_command("predict", best, packed)
    assert ran.code == 3
    assert "train-000000.tar" in ran.err


def test_segments_are_called_by_their_times(kinema_command, tiny_run, data, tmp_path):
    rows = ["path,label,start_seconds,end_seconds", "train/calm/a.mp4,x,0,1", "train/fight/b.mp4,y,0.5,"]
    (data / "clips.csv").write_text("\n".join(rows))
    kinema_command("data", "pack", data / "clips.csv", tmp_path / "out", "--workers", 0)
    ran = kinema_command("predict", tiny_run / "best.safetensors", tmp_path / "out", "--json")
    sources = {json.loads(line)["source"] for line in ran.out.splitlines()}
    assert sources == {f"{tmp_path}/out/train/calm/a.mp4#t=0,1", f"{tmp_path}/out/train/fight/b.mp4#t=0.5"}


def test_leaks_are_told_when_packing(kinema_command, data, tmp_path):
    rows = ["path,label,split,group", "train/calm/a.mp4,x,train,1", "train/fight/b.mp4,y,test,1"]
    (data / "clips.csv").write_text("\n".join(rows))
    ran = kinema_command("data", "pack", data / "clips.csv", tmp_path / "out", "--workers", 0)
    assert ran.code == 0
    assert "1 group has clips in both train and test; training on these shards needs --allow-leak" in ran.err
