import json

import numpy as np
import pytest
import torch
from torchvision.models.optical_flow import raft_small

from kinema.datasets.manifest import read_manifest
from kinema.video.writer import VideoWriter


def film(path, size, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (3, size[1], size[0], 3), dtype=np.uint8)
    with VideoWriter(path, fps=10, size=size) as writer:
        writer.write(pixels)


@pytest.fixture
def data(tmp_path):
    for number, name in enumerate(("calm/a.mp4", "fight/b.mp4")):
        film(tmp_path / "data" / name, (64, 48), number)
    return tmp_path / "data"


def test_flow_is_computed_shown_and_kept(kinema_command, data, tmp_path):
    words = ("data", "flow", data, tmp_path / "out", "--algorithm", "dis", "--fps", 10, "--short-side", 48)

    ran = kinema_command(*words, "--workers", 0)

    assert ran.code == 0
    assert "flow of 2 videos: 4 fields" in ran.out
    assert "dis (OpenCV " in ran.out
    assert "at 10 fps, short side 48, within 20 pixels, stored as jpeg" in ran.out
    assert f"next: kinema train {tmp_path / 'out' / 'manifest.csv'} --set modality=flow" in ran.out
    assert len(read_manifest(tmp_path / "out" / "manifest.csv")) == 2
    again = kinema_command(*words, "--workers", 0)
    assert "flow of 2 videos, 2 of them there already: 4 fields" in again.out


def test_options_arrive(kinema_command, data, tmp_path):
    ran = kinema_command(
        "data", "flow", data, tmp_path / "out", "--algorithm", "farneback", "--fps", "25/3", "--short-side", 32,
        "--bound", 10, "--store", "video", "--workers", 0, "--json",
    )  # fmt: skip

    told = json.loads(ran.out)
    assert told["schema"] == "kinema.flow_report"
    recipe = told["recipe"]
    assert (recipe["algorithm"], recipe["fps"], recipe["short_side_px"]) == ("farneback", "25/3", 32)
    assert (recipe["bound_px"], recipe["store"]) == (10.0, "video")
    assert (told["samples"], told["computed"], told["found"], told["broken"]) == (2, 2, 0, [])
    assert (tmp_path / "out" / "flow" / "calm" / "a" / "flow.mkv").exists()


def test_raft_takes_weights(kinema_command, tmp_path):
    torch.manual_seed(0)
    torch.save(raft_small().state_dict(), tmp_path / "raft.pth")
    film(tmp_path / "data" / "calm" / "a.mp4", (128, 128), 0)

    ran = kinema_command(
        "data", "flow", tmp_path / "data", tmp_path / "out", "--algorithm", "raft", "--weights", tmp_path / "raft.pth",
        "--short-side", 128, "--fps", 10, "--workers", 0, "--json",
    )  # fmt: skip

    assert json.loads(ran.out)["recipe"]["parameters"]["network"] == "raft_small"


def test_videos_without_flow_are_named(kinema_command, data, tmp_path):
    (data / "calm" / "a.mp4").write_bytes(b"no video")

    ran = kinema_command(
        "data", "flow", data, tmp_path / "out", "--algorithm", "dis", "--fps", 10, "--short-side", 48, "--workers", 0
    )

    assert ran.code == 3
    assert "no flow: " in ran.out
    assert "a.mp4: not a video" in ran.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--algorithm", "tv-l1"), "did you mean 'tvl1'"),
        (("--fps", "fast"), "a rate of fast"),
        (("--store", "png"), "flow stored as png"),
        (("--algorithm", "raft"), "flow by raft without weights"),
        (("--bound", "0"), "flow bounded by 0"),
    ],
)
def test_mistakes(kinema_command, data, tmp_path, words, said):
    ran = kinema_command("data", "flow", data, tmp_path / "out", "--workers", 0, *words)

    assert ran.code == 2
    assert said in ran.err
    assert not (tmp_path / "out").exists()
