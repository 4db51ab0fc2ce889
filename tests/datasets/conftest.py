"""Files that stand for data sets; videos are real where something decodes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kinema.video.writer import VideoWriter


@pytest.fixture
def place(tmp_path: Path) -> Callable[..., Path]:
    """Make files of a few bytes below a folder; returns the folder."""

    def make(*names: str, folder: str = "data") -> Path:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(name.encode())
        return root

    return make


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real video: 24 frames of 48x32 moving stripes at 12 frames a second."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    columns = np.arange(48)[None, None, :] + 3 * np.arange(24)[:, None, None]
    frames = np.broadcast_to((columns * 5 % 256)[..., None], (24, 32, 48, 3)).astype(np.uint8)
    with VideoWriter(path, fps=12, size=(48, 32)) as writer:
        writer.write(frames)
    return path
