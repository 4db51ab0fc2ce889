"""The folder that a page's blocks run in, with the files that the page says it needs."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLASSES = ("normal", "selfharm")


@pytest.fixture(scope="session")
def untrimmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 12 s with one abnormal episode or more."""
    from kinema.datasets.synthetic import render_untrimmed

    path = tmp_path_factory.mktemp("untrimmed") / "minute.mp4"
    render_untrimmed(path, seconds=24, seed=0, size=(64, 48))
    return path


@pytest.fixture
def place(
    request: pytest.FixtureRequest,
    tiny_clips: Path,
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], None]:
    """Put a prepared thing, such as `clips` or `run at runs/first`, into the page's folder, the current one."""
    folder = tmp_path / "page"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def clips(target: Path) -> None:
        for label in CLASSES:
            shutil.copytree(tiny_clips.parent / label, target / label)

    def table(target: Path) -> None:
        with tiny_clips.open(newline="") as file:
            rows = [[f"clips/{row['path']}", row["label"], row["group"]] for row in csv.DictReader(file)]
        with target.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([["path", "label", "group"], *rows])

    def video(target: Path) -> None:
        shutil.copyfile(request.getfixturevalue("untrimmed"), target)

    def demo(target: Path) -> None:
        shutil.copytree(tiny_clips.parent, target / "data")
        shutil.copytree(tiny_run, target / "run")
        (target / "untrimmed").mkdir()
        video(target / "untrimmed" / "minute.mp4")

    things: dict[str, tuple[str, Callable[[Path], object]]] = {
        "clips": ("clips", clips),
        "table": ("clips.csv", table),
        "video": ("video.mp4", video),
        "weights": ("best.safetensors", lambda target: shutil.copyfile(tiny_run / "best.safetensors", target)),
        "run": ("run", lambda target: shutil.copytree(tiny_run, target)),
        "demo": ("demo", demo),
        "studies": ("docs/results", lambda target: shutil.copytree(ROOT / "docs" / "results", target)),
        "shared": ("../shared", lambda target: target.symlink_to(request.getfixturevalue("shared_video").parent)),
    }

    def put(thing: str) -> None:
        name, _, where = re.match(r"(\S+)( at (\S+))?$", thing).groups()
        usual, make = things[name]
        target = folder / (where or usual)
        target.parent.mkdir(parents=True, exist_ok=True)
        make(target)

    return put
