"""A full disk, a folder that is gone, damaged files: what was saved stays usable, and the message says what to do."""

import csv
import errno
import os
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_runs import SMALL, run, same, weights

from kinema.core import atomic
from kinema.core.errors import DataError, KinemaError, TrainingError, WeightsError
from kinema.core.progress import Silent
from kinema.datasets.loader import FileFeed
from kinema.training import loop
from kinema.training.checkpoint import load_state
from kinema.training.request import resume
from kinema.training.run import RunFolder

SETTINGS = {**SMALL, "val": 3, "epochs": 2, "save_seconds": 0, "optimizer": "adamw", "lr": 0.01, "flip": 0.5,
            "mixup": 0.3, "ema": 0.5}  # fmt: skip
MESSAGES = {"full": "No space left on device", "read-only": "Read-only file system", "broken": "Input/output error"}


@pytest.fixture(autouse=True)
def _quick_picture(monkeypatch):
    """A file as curves.png is one, without the second that drawing it takes."""

    def write(path, rows):
        with atomic.replacing(path) as beside:
            beside.write_text(str(len(rows)))

    monkeypatch.setattr(loop, "write_curves", write)


class Disk:
    """Fails at one write of all, counted over files (opened, written, put in place) and TensorBoard's flushes."""

    def __init__(self, monkeypatch, fault, at):
        self.fault, self.at, self.count = fault, at, 0
        place = {"read-only": (os, "open"), "full": (os, "fsync"), "broken": (Path, "replace")}[fault]
        for owner, name in (place, (loop.SummaryWriter, "flush")):
            monkeypatch.setattr(owner, name, self.failing(getattr(owner, name)))

    def failing(self, function):
        def counted(*arguments, **named):
            self.count += 1
            if self.count == self.at:
                number = {"full": errno.ENOSPC, "read-only": errno.EROFS, "broken": errno.EIO}[self.fault]
                raise OSError(number, os.strerror(number))
            return function(*arguments, **named)

        return counted


def content(job):
    state = torch.load(job.folder.state, weights_only=True)
    return weights(job), load_file(job.folder.last), load_file(job.folder.best), state["average"], rows(job)


def rows(job):
    with job.folder.metrics.open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "clips_per_second"} for row in csv.DictReader(file)]


def equal(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(equal, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def whole_and_count(job_of, fault):
    run(job_of("first", **SETTINGS))  # the frames of the videos are kept from here on
    whole = job_of("whole", **SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, fault, at=0)
        run(whole)
    return whole, disk.count


@pytest.mark.parametrize("fault", ["full", pytest.param("read-only", marks=pytest.mark.slow),
                                   pytest.param("broken", marks=pytest.mark.slow)])  # fmt: skip
def test_whichever_write_fails_the_run_goes_on_from_what_was_saved(job_of, fault):
    whole, writes = whole_and_count(job_of, fault)
    expected = content(whole)
    # A step's state each, then best weights, metrics, curves for TensorBoard, last weights, the picture, the state.
    assert writes >= 2 * (2 + 6) - 1
    for at in range(1, writes + 1):
        job = job_of(f"{at}", **SETTINGS)
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, fault, at)
            with pytest.raises(TrainingError) as caught:
                run(job)
        assert MESSAGES[fault] in caught.value.given, at
        assert "what was saved before is whole" in caught.value.given
        assert f"--resume {job.folder.path}" in caught.value.next_step
        assert caught.value.exit_code == 6
        assert not list(job.folder.path.glob(".*")), "nothing half-written lies there"
        if job.folder.state.exists():
            torch.load(job.folder.state, weights_only=True)
        for path in (job.folder.best, job.folder.last):
            assert not path.exists() or load_file(path)
        run(job, resume=True)
        assert equal(content(job), expected), at


def test_a_folder_that_is_removed_ends_the_run_and_is_not_made_again(job_of):
    job = job_of(**SETTINGS)

    class Removing(Silent):
        def log(self, message):
            if message.startswith("epoch 1/2"):
                shutil.rmtree(job.folder.path)

    with pytest.raises(TrainingError, match="was removed while its run went on") as caught:
        run(job, progress=Removing())
    assert "--out" in caught.value.next_step
    assert not job.folder.path.exists()


def test_what_killed_runs_leave_is_cleared_and_nothing_else(job_of):
    job = job_of(**SETTINGS)
    run(job)
    expected = {path.name for path in job.folder.path.iterdir()}
    left = [".state-0123abcd.pt", ".best-ffffffff.safetensors", ".metrics-00000000.csv"]
    kept = [".notes-0123abcd.txt", ".state-backup.pt", "state-0123abcd.pt", ".state-0123ABCD.pt"]
    for name in left + kept:
        (job.folder.path / name).write_text("half of it")
    run(job, resume=True)
    after = {path.name for path in job.folder.path.iterdir() if ".tfevents." not in path.name}
    assert after == {name for name in expected if ".tfevents." not in name} | set(kept)


LOST = [RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), ConnectionResetError(104, "reset"),
        EOFError()]  # fmt: skip


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_a_reader_that_is_killed_ends_the_run_in_words(job_of, monkeypatch, error):
    def lost(_):
        raise error
        yield

    monkeypatch.setattr(FileFeed, "__iter__", lost)
    job = job_of(**SETTINGS)
    with pytest.raises(TrainingError, match="a process that reads clips has ended: ") as caught:
        run(job)
    assert str(error) in caught.value.given
    assert f"--resume {job.folder.path}" in caught.value.next_step


def test_a_run_without_a_state_says_that_it_begins_anew(job_of):
    told = []

    class Telling(Silent):
        def log(self, message):
            told.append(message)

    job = job_of(**SETTINGS)
    run(job)
    expected = content(job)
    job.folder.state.unlink()
    run(job, resume=True, progress=Telling())
    assert "no state.pt to go on from: the run begins anew" in told
    assert equal(content(job), expected)


def test_one_bit_of_a_state_does_not_change_unseen(job_of):
    job = job_of(**SETTINGS)
    run(job)
    before, held = weights(job), bytearray(job.folder.state.read_bytes())
    with zipfile.ZipFile(job.folder.state) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
        tensor = archive.read(largest)
    held[held.find(tensor) + 20] ^= 1
    job.folder.state.write_bytes(held)
    assert not same(weights(job), before)  # torch reads it without a word
    with pytest.raises(TrainingError, match="does not agree with its checksum") as caught:
        run(job, resume=True)
    assert "--weights" in caught.value.next_step
    with pytest.raises(TrainingError):
        load_state(job.folder.state, torch.nn.Linear(1, 1), torch.optim.SGD([torch.zeros(1)]))


def damage(path, how):
    content = path.read_bytes()
    changed = {"empty": b"", "cut": content[: len(content) // 2], "other": bytes(range(256))}
    path.write_bytes(changed[how])


@pytest.mark.parametrize("how", ["empty", "cut", "other"])
@pytest.mark.parametrize(("name", "kind"), [("config.yaml", DataError), ("state.pt", TrainingError),
                                            ("best.safetensors", WeightsError)])  # fmt: skip
def test_a_damaged_file_is_named_with_what_to_do(tiny_run, tmp_path, name, kind, how):
    folder = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    damage(folder / name, how)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(KinemaError) as caught:
        resume(folder, {})
    assert type(caught.value) is kind
    assert name in caught.value.given
    assert "put a copy in its place" in caught.value.next_step
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.name in before}
    assert after == before


def test_settings_cut_off_between_two_lines_are_noticed(tiny_run, tmp_path):
    """What is left is YAML, and everything else would have its default."""
    folder = RunFolder(Path(shutil.copytree(tiny_run, tmp_path / "run")))
    lines = folder.config.read_text().splitlines(keepends=True)
    folder.config.write_text("".join(lines[:-3]))
    with pytest.raises(DataError, match="missing"):
        resume(folder.path, {})
