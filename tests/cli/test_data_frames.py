import json

import numpy as np
import pytest

from kinema.cli.render_frames import read_fps
from kinema.core.errors import UsageError
from kinema.datasets.manifest import read_manifest
from kinema.video.writer import VideoWriter


@pytest.fixture
def data(tmp_path):
    for seed, name in enumerate(("calm/a.mp4", "fight/b.mp4", "fight/2/b.mp4")):
        with VideoWriter(tmp_path / "data" / name, 25, (64, 48)) as writer:
            writer.write(np.random.default_rng(seed).integers(0, 256, (6, 48, 64, 3), dtype=np.uint8))
    return tmp_path / "data"


def test_frames_are_written_and_kept_the_second_time(kinema_command, data, tmp_path):
    ran = kinema_command("data", "frames", data, tmp_path / "out", "--short-side", 24, "--workers", 0)
    assert ran.code == 0, ran.err
    assert "3 videos written: 18 frames" in ran.out
    assert "frames/s" in ran.out
    assert "renamed: fight/2/b.mp4 -> fight/b-" in ran.out
    assert str(tmp_path / "out" / "manifest.csv") in ran.out
    again = kinema_command("data", "frames", data, tmp_path / "out", "--short-side", 24, "--workers", 0)
    assert "0 videos written: 0 frames" in again.out
    assert "3 videos were there already" in again.out
    assert kinema_command("data", "check", tmp_path / "out" / "manifest.csv", "--workers", 0).code == 0


def test_json_and_parameters(kinema_command, data, tmp_path):
    arguments = ("--fps", "12.5", "--quality", 50, "--workers", 0, "--json")
    ran = kinema_command("data", "frames", data, tmp_path / "out", *arguments)
    told = json.loads(ran.out)
    assert (told["videos"], told["written"], told["kept"], told["frames"], told["broken"]) == (3, 3, 0, 9, {})
    record = json.loads((tmp_path / "out" / "calm" / "a" / "frames.json").read_text())
    assert record["parameters"] == {"short_side_px": 240, "quality": 50, "fps": "25/2"}
    assert record["fps"] == "25/2"


def test_broken_videos_are_listed_and_it_leaves_with_3(kinema_command, data, tmp_path):
    (data / "calm" / "x.mp4").write_bytes(b"no video")
    ran = kinema_command("data", "frames", data, tmp_path / "out", "--workers", 0)
    assert ran.code == 3
    assert "broken: calm/x.mp4: " in ran.out
    assert len(read_manifest(tmp_path / "out" / "manifest.csv").samples) == 3


@pytest.mark.parametrize("fps", ["fast", "1/0", "0", "-1", "nan"])
def test_rates_that_are_none_are_refused(kinema_command, data, tmp_path, fps):
    ran = kinema_command("data", "frames", data, tmp_path / "out", f"--fps={fps}")
    assert ran.code == UsageError.exit_code
    assert not (tmp_path / "out").exists()


def test_exact_rates():
    assert read_fps("30000/1001") * 1001 == 30000


def test_predict_takes_a_folder_of_frames(kinema_command, data, tmp_path, tiny_run):
    kinema_command("data", "frames", data, tmp_path / "out", "--short-side", 32, "--workers", 0)
    ran = kinema_command("predict", tiny_run / "best.safetensors", tmp_path / "out" / "calm", "--json")
    assert ran.code == 0, ran.err
    assert str(tmp_path / "out" / "calm" / "a") in ran.out
