"""Fixtures every room's tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

SHARED = Path(os.environ.get("KINEMA_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared_video() -> Path:
    """The folder of real clips beside a checkout; tests that need it skip where it is absent."""
    folder = SHARED / "video"
    if not folder.is_dir():
        pytest.skip(f"the real clips are not at {folder}; set KINEMA_SHARED to the folder that holds video/")
    return folder


@pytest.fixture(autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


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
