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
