"""A small data set, packed into several shards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinema.datasets.manifest import Manifest, read_manifest
from kinema.datasets.shards.index import PackIndex, PackOptions
from kinema.datasets.shards.pack import pack
from kinema.video.writer import VideoWriter

SMALL = PackOptions(shard_mib=0.02, short_side_px=32, keyframe_interval_frames=8, seed=3)


def write_video(path: Path, number: int, *, frames: int = 20, size: tuple[int, int] = (64, 48), **options: Any) -> None:
    width, height = size
    noise = np.random.default_rng(number).integers(0, 256, (frames, 12, 16, 1), dtype=np.uint8)
    grey = noise.repeat(-(-height // 12), axis=1).repeat(-(-width // 16), axis=2)[:, :height, :width].repeat(3, axis=3)
    with VideoWriter(path, fps=10, size=size, **options) as writer:
        writer.write(grey)


@pytest.fixture(scope="session")
def clips_folder(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """24 videos of two classes: 18 to train on, 6 to test on."""
    root = tmp_path_factory.mktemp("videos")
    rows = ["path,label,split,group,dataset"]
    for number in range(24):
        name = f"{number:02}.mp4"
        write_video(root / name, number)
        label, split = ("calm", "fight")[number % 2], "test" if number >= 18 else "train"
        rows.append(f"{name},{label},{split},camera-{number % 5},set-{number % 2}")
    (root / "clips.csv").write_text("\n".join(rows))
    return read_manifest(root / "clips.csv")


@pytest.fixture(scope="session")
def packed(clips_folder: Manifest, tmp_path_factory: pytest.TempPathFactory) -> PackIndex:
    """`clips_folder` in shards of two or three videos each."""
    return pack(clips_folder, tmp_path_factory.mktemp("packed") / "out", options=SMALL, workers=0)


@pytest.fixture
def small() -> PackOptions:
    return SMALL


@pytest.fixture
def video() -> Callable[..., None]:
    return write_video
