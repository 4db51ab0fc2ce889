"""Published data sets in miniature: their true names and folders, one encoded clip copied to each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kinema.datasets.manifest import Manifest, read_manifest
from kinema.datasets.published.formats import import_published
from kinema.datasets.published.listed import Imported


@pytest.fixture
def lay(clip: Path, tmp_path: Path) -> Callable[..., Path]:
    """Put `videos` (copies of a clip) and `texts` (contents by name) below a folder; returns the folder."""

    def make(*videos: str, folder: str = "data", **texts: str) -> Path:
        root = tmp_path / folder
        for name in videos:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(clip, root / name)
        for name, text in texts.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        return root

    return make


@pytest.fixture
def taken() -> Callable[..., tuple[Imported, Manifest]]:
    """Import, write, and read the manifest back."""

    def take(name: str, root: Path, **options: object) -> tuple[Imported, Manifest]:
        found = import_published(name, root, **options)
        found.write(root / "manifest.csv")
        return found, read_manifest(root / "manifest.csv", min_classes=1)

    return take
