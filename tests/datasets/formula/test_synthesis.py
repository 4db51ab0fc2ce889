"""What is written: whole clips, once, the same each time, and never beside clips made otherwise."""

import json
from collections import Counter

import numpy as np
import pytest

from kinema.core.errors import DataError, UsageError
from kinema.datasets.formula import synthesis as synthesis_module
from kinema.datasets.formula.synthesis import KINDS, Synthesis, film, synthesize
from kinema.datasets.manifest import read_manifest
from kinema.video.file import VideoFile

TINY = Synthesis(seed=5, size_px=32, frames=6, fps=8)


def make(folder, count=2, kinds=("flow",), **changes):
    return synthesize(folder, clips_per_class=count, synthesis=TINY, kinds=kinds, **{"workers": 0, **changes})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formula") / "set"
    return make(folder, kinds=("fractal", "figure"))


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_manifest_names_every_clip_its_class_and_its_scene(written):
    manifest = read_manifest(written.manifest.source)
    root = manifest.root
    expected = sorted(KINDS["figure"].classes + KINDS["fractal"].classes)
    assert list(manifest.labels.require()) == expected
    assert sorted(root.glob("*/*.mp4")) == [sample.path for sample in manifest.samples]
    assert (len(manifest), written.written, written.found) == (2 * len(expected), 2 * len(expected), 0)
    for sample in manifest.samples:
        assert sample.path.parent.name == sample.label
        assert sample.group == f"{sample.label.partition('-')[0]}-{sample.path.stem}"
    groups = Counter(sample.group for sample in manifest.samples)
    assert groups == {"figure-00000": 13, "figure-00001": 13, "fractal-00000": 10, "fractal-00001": 10}
    assert (root / "manifest.csv").read_text().splitlines()[0] == "path,label,group"


def test_clips_are_h264_of_what_was_rendered(written):
    sample = written.manifest.samples[0]
    with VideoFile(sample.path) as video:
        assert len(video.pts) == 6
        assert (video.info.codec, video.info.average_fps) == ("h264", 8)
        shown = video.read(range(6)).data.permute(0, 2, 3, 1).numpy()
    rendered = film(sample.label, 0, TINY)
    assert shown.shape == rendered.shape
    assert np.abs(shown.astype(int) - rendered).mean() < 8


def test_the_folder_says_where_its_clips_come_from(written):
    text = (written.manifest.root / "README.md").read_text()
    assert "with seed 5" in text
    assert "No photograph" in text
    assert "- figure: walking, running" in text
    assert "- flow:" not in text
    record = json.loads((written.manifest.root / "synthesis.json").read_text())
    assert record == {
        "schema": "kinema.synthesis", "version": 1, "formulas": 1, "seed": 5, "size_px": 32, "frames": 6, "fps": 8,
    }  # fmt: skip


def test_the_same_arguments_give_the_same_bytes_however_many_processes_render(tmp_path):
    make(tmp_path / "one")
    make(tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    synthesize(tmp_path / "other", clips_per_class=1, synthesis=Synthesis(6, 32, 6, 8), kinds=["flow"], workers=0)
    name = "flow-boiling/00000.mp4"
    assert (tmp_path / "one" / name).read_bytes() != (tmp_path / "other" / name).read_bytes()


def test_what_is_there_is_kept_and_more_clips_add_to_it(tmp_path):
    folder = tmp_path / "set"
    first = make(folder, 1)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*.mp4")}
    lost = folder / "flow-boiling" / "00000.mp4"
    whole = lost.read_bytes()
    lost.unlink()
    again = make(folder, 2, kinds=("flow", "figure"))
    assert (first.written, first.found) == (10, 0)
    assert (again.written, again.found) == (1 + 10 + 26, 9)
    assert lost.read_bytes() == whole
    assert all(path.stat().st_mtime_ns == when for path, when in before.items() if path != lost)
    assert len(read_manifest(folder / "manifest.csv")) == 46


def test_a_run_that_is_stopped_leaves_whole_clips_and_goes_on(tmp_path, monkeypatch):
    calls = []

    def stop(label, number, what):
        calls.append(label)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return film(label, number, what)

    monkeypatch.setattr(synthesis_module, "film", stop)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "set")
    whole = list((tmp_path / "set").rglob("*.mp4"))
    assert len(whole) == 3
    (whole[0].parent / ".00000-0123abcd.mp4").write_text("half of it")  # of a process that was killed
    assert not (tmp_path / "set" / "manifest.csv").exists()
    monkeypatch.undo()
    assert make(tmp_path / "set").found == 3
    make(tmp_path / "at once")
    assert contents(tmp_path / "set") == contents(tmp_path / "at once")


def test_progress_counts_clips_and_what_was_there(tmp_path):
    told = []

    class Counting:
        def task(self, description, total, unit, done=0):
            told.append((description, total, unit, done))
            return self

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def advance(self, steps=1, note=""):
            told.append(steps)

    make(tmp_path / "set", 1)
    make(tmp_path / "set", 3, progress=Counting())
    assert told == [("rendering", 30, "clips", 10), 10, 10]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": -1}, "seed -1"),
        ({"size_px": 33}, "33 pixels"),
        ({"size_px": 30}, "30 pixels"),
        ({"frames": 1}, "1 frames"),
        ({"fps": 0}, "0 frames a second"),
    ],
)
def test_numbers_out_of_range_are_refused(changes, said):
    with pytest.raises(UsageError, match=said):
        Synthesis(**changes)


def test_kinds_classes_and_counts_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(UsageError, match="'flows'; did you mean 'flow'"):
        make(tmp_path / "set", kinds=("flows",))
    with pytest.raises(UsageError, match="no kinds"):
        make(tmp_path / "set", kinds=())
    with pytest.raises(UsageError, match="0 clips a class"):
        make(tmp_path / "set", 0)
    with pytest.raises(UsageError, match="no class 'flow-boilin'"):
        film("flow-boilin", 0, TINY)
    assert not (tmp_path / "set").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something else"):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(DataError, match="holds something else"):
        make(tmp_path / "notes.txt")


def test_clips_made_otherwise_are_not_mixed(tmp_path):
    folder = tmp_path / "set"
    make(folder, 2)
    before = contents(folder)
    with pytest.raises(DataError, match="seed 5 and 6, fps 8 and 12"):
        synthesize(folder, clips_per_class=2, synthesis=Synthesis(6, 32, 6, 12), kinds=["flow"], workers=0)
    with pytest.raises(DataError, match="holds 10 clips that this would not make"):
        make(folder, 1)
    with pytest.raises(DataError, match="holds 20 clips that this would not make"):
        make(folder, 2, kinds=("figure",))
    assert contents(folder) == before
    (folder / "synthesis.json").write_text("[]")
    with pytest.raises(DataError, match="cannot be read"):
        make(folder, 2)


def test_a_process_that_ends_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(synthesis_module, "read_apart", lambda _, items, *, died, **__: map(died, items))
    with pytest.raises(DataError, match="rendered flow-00000 died"):
        make(tmp_path / "set", workers=1)
