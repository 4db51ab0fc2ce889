import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from kinema.cli.data import app
from kinema.core.errors import DataError
from kinema.video.writer import VideoWriter


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for number, name in enumerate(("calm/a.mp4", "fight/b.mp4", "fight/c.mp4")):
        with VideoWriter(root / name, fps=10, size=(32, 32)) as writer:
            writer.write(np.full((20, 32, 32, 3), 40 * number, np.uint8))
    (root / "notes.txt").touch()
    return root


@pytest.fixture
def broken(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "data")
    (tmp_path / "data/fight/[c].mp4").write_bytes(b"no video")
    return tmp_path / "data"


def run(*arguments):
    return CliRunner().invoke(app, ["check", "--workers", "0", *map(str, arguments)])


def test_a_whole_data_set(whole):
    done = run(whole)
    assert done.exit_code == 0
    assert f"{whole}: 3 samples in 3 videos" in done.stdout.replace("\n", "")
    assert [line.split() for line in done.stdout.splitlines() if line.startswith(("class", "calm", "fight"))] == [
        ["class", "samples", "videos", "groups", "minutes"],
        ["calm", "1", "1", "-", "0.0"],
        ["fight", "2", "2", "-", "0.1"],
    ]
    assert "no videos: notes.txt" in done.stdout
    assert "note: no groups" in done.stdout
    assert "every video decodes" in done.stdout


def test_broken_files_are_named_and_decide_the_exit_code(broken):
    done = run(broken)
    assert done.exit_code == 3
    assert "broken: fight/[c].mp4: " in done.stdout
    assert "every video decodes" not in done.stdout


def test_json_is_all_that_is_on_stdout(broken):
    done = run(broken, "--json")
    assert done.exit_code == 3
    assert list(json.loads(done.stdout)["broken"]) == ["fight/[c].mp4"]


def test_the_length_of_a_clip_is_chosen(whole):
    assert "shorter" not in run(whole).stdout
    assert "3 samples (a.mp4, …) shorter than a clip of 32 frames" in run(whole, "--frames", "32").stdout


def test_nothing_to_check(tmp_path):
    done = run(tmp_path / "nowhere")
    assert isinstance(done.exception, DataError)
    assert done.exit_code != 0
