"""Fixtures every room's tests may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Networks of the tests are small: on a busy machine one thread outruns two. Set before torch loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings
from numpy.typing import NDArray

# The same examples each time, and no time limit on a busy machine.
settings.register_profile("kinema", deadline=None, derandomize=True)
settings.load_profile("kinema")

SHARED = Path(os.environ.get("KINEMA_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared_video() -> Path:
    """The folder of real clips beside a checkout; tests that need it skip where it is absent."""
    folder = SHARED / "video"
    if not folder.is_dir():
        pytest.skip(f"the real clips are not at {folder}; set KINEMA_SHARED to the folder that holds video/")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KINEMA_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("needs_gpu") and not torch.cuda.is_available():
        if os.environ.get("KINEMA_REQUIRE_GPU"):
            pytest.fail("KINEMA_REQUIRE_GPU is set and torch finds no GPU")
        pytest.skip("needs a GPU")


@pytest.fixture(scope="session")
def tiny_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of 24 rendered clips of 2 s: 6 scenes, two classes, scene-wise splits."""
    from kinema.datasets.synthetic import render_dataset

    folder = tmp_path_factory.mktemp("tiny")
    return render_dataset(folder, scenes=6, clips_per_scene=4, seed=3, size=(64, 48), seconds=2.0)


@dataclass(frozen=True)
class Ran:
    """What a command left behind: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


@pytest.fixture
def kinema_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run `kinema ARGUMENTS` in this process, as a terminal 200 columns wide would."""
    from kinema.cli.app import main

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr("sys.argv", ["kinema", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture(scope="session")
def tiny_run(tiny_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training on `tiny_clips`: a network that runs, not one that is right."""
    from kinema.training.experiment import train
    from kinema.training.recipe import make_config

    folder = tmp_path_factory.mktemp("tiny-run") / "run"
    settings = {
        "data": tiny_clips,
        "model": "resnet3d_10",
        "model_options": {"widen_factor": 0.125, "conv1_t_size": 3},
        "frames": 8,
        "stride": 1,
        "size": 32,
        "epochs": 1,
        "batch_size": 4,
    }
    train(make_config(settings), folder)
    return folder


class Scenes:
    """Small rendered places: a background of patches that stands still, and a bright block that moves over it."""

    @staticmethod
    def frames(place: int, motion: int, *, count: int = 48, size: tuple[int, int] = (96, 64)) -> NDArray[np.uint8]:
        """uint8 (T, H, W, 3): one `place` has one background, one `motion` one path of the block."""
        width, height = size
        patches = np.random.default_rng(place).integers(20, 160, (8, 12), np.uint8)
        pictures = np.repeat(np.kron(patches, np.ones((height // 8, width // 12), np.uint8))[None], count, axis=0)
        start = np.random.default_rng(1000 + motion).uniform(0, 2 * np.pi, 2)
        speed, side = 0.15 + 0.05 * (motion % 5), height // 4
        for number, picture in enumerate(pictures):
            across, down = (np.sin(start + speed * number * np.array([1.0, 1.3])) + 1) / 2
            x, y = int(across * (width - side)), int(down * (height - side))
            picture[y : y + side, x : x + side] = 250
        return np.repeat(pictures[..., None], 3, axis=3)

    @staticmethod
    def write(path: Path, pictures: NDArray[np.uint8], *, crf: int = 20) -> Path:
        """Write `pictures` (T, H, W, 3) as a video of 12 frames a second."""
        from kinema.video.writer import VideoWriter

        with VideoWriter(path, fps=12, size=(pictures.shape[2], pictures.shape[1]), crf=crf) as writer:
            writer.write(pictures)
        return path

    @staticmethod
    def halved(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Half as wide and half as high."""
        count, height, width, _ = pictures.shape
        return pictures.reshape(count, height // 2, 2, width // 2, 2, 3).mean(axis=(2, 4)).round().astype(np.uint8)


@pytest.fixture(scope="session")
def scenes() -> Scenes:
    """Renders places that are known to be the same or not."""
    return Scenes()
