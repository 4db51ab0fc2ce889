import csv
import json

import pytest
from typer.testing import CliRunner

from kinema.cli.data import app
from kinema.core.errors import UsageError
from kinema.datasets.manifest import read_manifest


@pytest.fixture
def films(scenes, tmp_path):
    """A film in train, the same coded again in test, and a file that is broken."""
    root = tmp_path / "films"
    scenes.write(root / "film.mp4", scenes.frames(1, 1))
    scenes.write(root / "again.mp4", scenes.frames(1, 1), crf=34)
    (root / "broken.mp4").write_bytes(b"no video")
    (root / "leak.csv").write_text("path,label,split\nfilm.mp4,x,train\nagain.mp4,y,test\n")
    (root / "whole.csv").write_text("path,label,split\nfilm.mp4,x,train\nagain.mp4,y,train\n")
    (root / "broken.csv").write_text("path,label\nfilm.mp4,x\nbroken.mp4,y\n")
    return root


def run(*arguments):
    return CliRunner().invoke(app, ["check", "--workers", "0", *map(str, arguments)])


@pytest.mark.parametrize(("name", "code"), [("whole", 0), ("leak", 3), ("broken", 3)])
def test_broken_files_and_leaks_decide_the_exit_code(films, name, code):
    assert run(films / f"{name}.csv").exit_code == code


def test_a_leak_is_told_in_words(films):
    shown = run(films / "leak.csv").stdout
    assert "leak: 1 pair of copies or near duplicates stands in two splits" in shown
    assert "film.mp4 and again.mp4" in shown
    assert "leak:" not in run(films / "whole.csv").stdout


def test_page_and_table_are_written(films, tmp_path):
    done = run(films / "leak.csv", "--report", tmp_path / "page.html", "--table", tmp_path / "table.csv", "--json")
    assert [pair["across_splits"] for pair in json.loads(done.stdout)["alike"]] == [True]
    assert "near duplicate" in (tmp_path / "page.html").read_text()
    with (tmp_path / "table.csv").open(encoding="utf-8-sig") as opened:
        assert [row["path"] for row in csv.DictReader(opened)] == ["film.mp4", "again.mp4"]


def test_quarantine_lists_and_keeps(films):
    done = run(films / "broken.csv", "--quarantine", films)
    assert done.exit_code == 3
    assert (films / "quarantine.csv").read_text(encoding="utf-8-sig").startswith("path,reason\nbroken.mp4,")
    assert [sample.path.name for sample in read_manifest(films / "kept.csv", min_classes=1).samples] == ["film.mp4"]
    assert (films / "broken.mp4").exists()


def test_a_quarantine_elsewhere_is_refused_before_anything_is_decoded(films, tmp_path, monkeypatch):
    monkeypatch.setattr("kinema.datasets.check.check", None)
    done = run(films / "broken.csv", "--quarantine", tmp_path / "elsewhere")
    assert isinstance(done.exception, UsageError)
    assert f"--quarantine {films}" in done.exception.next_step
