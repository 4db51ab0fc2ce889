"""The folder of a run: refused where one lies, and its files that grow."""

import csv
import struct
from pathlib import Path

import pytest

from kinema.core.errors import DataError, UsageError
from kinema.training.checkpoint import EpochRow
from kinema.training.run import RunFolder

ROWS = [
    EpochRow(1, 0.75, 0.5, None, None, None, 1e-3, 12.5),
    EpochRow(2, 0.5, 0.625, 0.25, 0.5, 1.0, 1e-4, 13.0),
]


def test_a_new_folder_is_made_with_all_above_it(tmp_path):
    RunFolder(tmp_path / "a" / "b").begin()
    assert (tmp_path / "a" / "b").is_dir()


def test_an_existing_folder_without_a_run_will_do(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    RunFolder(tmp_path).begin()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_folder_with_a_run_is_refused(tmp_path):
    folder = RunFolder(tmp_path)
    folder.config.write_text("epochs: 3\n")
    with pytest.raises(UsageError, match="holds a run already") as caught:
        folder.begin()
    assert f"--resume {tmp_path}" in caught.value.next_step
    assert folder.config.read_text() == "epochs: 3\n"


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot make .*file/run: (Not a directory|File exists)") as caught:
        RunFolder(tmp_path / "file" / "run").begin()
    assert "--out" in caught.value.next_step


def test_files_lie_where_the_documentation_says(tmp_path):
    folder = RunFolder(tmp_path)
    paths = {path for path in vars(folder).values() if isinstance(path, Path)} - {tmp_path}
    named = {path.name for path in paths}
    assert named == {
        "config.yaml", "best.safetensors", "last.safetensors", "state.pt", "metrics.csv", "curves.png", "report.html",
    }  # fmt: skip
    assert all(path.parent == tmp_path for path in paths)


def test_metrics_hold_a_row_an_epoch(tmp_path):
    folder = RunFolder(tmp_path)
    for count in (1, 2):
        folder.write_metrics(ROWS[:count])
        with folder.metrics.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["epoch"] for row in rows] == ["1", "2"][:count]
    assert list(rows[0]) == [
        "epoch", "train_loss", "train_clip_accuracy", "val_loss", "val_clip_accuracy", "val_video_accuracy", "lr",
        "clips_per_second",
    ]  # fmt: skip
    assert (rows[0]["val_loss"], rows[0]["val_video_accuracy"]) == ("", "")
    assert {name: float(value) for name, value in rows[1].items()} == vars(ROWS[1])
    assert list(tmp_path.iterdir()) == [folder.metrics]


def events(path):
    """The records of a TensorBoard file: little-endian length, its checksum, the bytes, their checksum."""
    content = path.read_bytes()
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        yield content[12 : 12 + length]
        content = content[16 + length :]


def test_tensorboard_purges_what_an_interrupted_run_wrote_beyond(tmp_path):
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    with RunFolder(tmp_path).tensorboard(2) as board:
        board.add_scalar("lr", 0.5, 3)
    (file,) = tmp_path.glob("events.out.tfevents*")
    found = [Event.FromString(record) for record in events(file)]
    starts = [event.step for event in found if event.session_log.status == SessionLog.START]
    assert starts == [3]
    assert [(event.step, event.summary.value[0].tag) for event in found if event.summary.value] == [(3, "lr")]
