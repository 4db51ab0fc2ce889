"""The promise of the README: the demo's own figures."""

import json
import subprocess
import sys
import time

import pytest

from kinema import demo
from kinema.core.errors import UsageError


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_demo_keeps_its_promise(seed, tmp_path):
    command = [sys.executable, "-m", "kinema", "demo", "--json", "--seed", str(seed), "--out", str(tmp_path / "demo")]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result) == {"video_accuracy", "static_accuracy", "mean_temporal_iou", "seconds", "report"}
    assert result["video_accuracy"] >= 0.95
    assert result["static_accuracy"] <= 0.65
    assert result["mean_temporal_iou"] >= 0.6
    assert 0 < result["seconds"] <= time.perf_counter() - began
    assert "selfharm" in (tmp_path / "demo" / "report.html").read_text()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"thesis\.tex"):
        demo.run(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_folders_of_a_demo_are_known_by_its_marker_and_not_by_their_names(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.mp4").write_bytes(b"a film")
    with pytest.raises(UsageError, match=f"{tmp_path} holds data, which no demo made"):
        demo._clear(tmp_path)
    assert (tmp_path / "data" / "mine.mp4").read_bytes() == b"a film"


def test_what_links_lead_to_is_left_alone(tmp_path):
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "mine.mp4").write_bytes(b"a film")
    (tmp_path / "words").write_text("mine")
    out = tmp_path / "demo"
    demo._clear(out)
    (out / "data").symlink_to(tmp_path / "films")
    (out / "run").mkdir()
    demo._clear(out)
    assert [entry.name for entry in out.iterdir()] == [".kinema-demo"]
    assert (tmp_path / "films" / "mine.mp4").read_bytes() == b"a film"
    (out / ".kinema-demo").unlink()
    (out / ".kinema-demo").symlink_to(tmp_path / "words")
    with pytest.raises(UsageError, match=r"\.kinema-demo"):
        demo._clear(out)
    assert (tmp_path / "words").read_text() == "mine"


def test_the_whole_road_in_small(tmp_path, monkeypatch):
    """Every step of the demo on a handful of clips: it runs, says what it measured, and can run again."""
    monkeypatch.setattr(demo, "_SCENES", 6)
    settings = {"epochs": 1, "batch_size": 4, "model_options": {"widen_factor": 0.125}}
    config = demo._config
    monkeypatch.setattr(demo, "_config", lambda manifest, seed: config(manifest, seed).model_copy(update=settings))
    for _ in range(2):
        result = demo.run(tmp_path / "demo", seed=1)
    assert 0 <= result.video_accuracy <= 1
    assert result.static_accuracy == 0.5  # the rendered test set is balanced, and a still difference is zero
    assert 0 <= result.mean_temporal_iou <= 1
    page = result.report.read_text()
    assert "minute.mp4" in page
    assert "data:image/png" in page
