"""One training at a time in a folder: who comes second is told who is there, and what the dead left is gone on with."""

import errno
import json
import os
from pathlib import Path

import pytest

from kinema.core import atomic
from kinema.core.claims import Claims, Owner
from kinema.core.errors import TrainingError, UsageError
from kinema.core.progress import Silent
from kinema.evaluation import examine as examine_module
from kinema.training import config as config_module
from kinema.training import experiment
from kinema.training.recipe import make_config
from kinema.training.request import resume
from kinema.training.run import RunFolder

pytestmark = pytest.mark.usefixtures("own_cache")

SETTINGS = {"model": "resnet3d_10", "model_options": {"widen_factor": 0.125}, "frames": 4, "stride": 1, "size": 16,
            "short_side": 16, "epochs": 1, "batch_size": 8, "device": "cpu"}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


@pytest.fixture
def config(tiny_clips):
    return make_config(SETTINGS, {"data": str(tiny_clips)})


def held_by(folder, **owner):
    """A claim on `folder`, as if of another process."""
    folder.path.mkdir(exist_ok=True)
    claim = Claims(folder.path).claim(".owner")
    claim.path.write_text(json.dumps({**json.loads(claim.path.read_text()), **owner}))
    return claim


def test_two_do_not_begin_in_one_folder(config, folder):
    held_by(folder)
    with pytest.raises(UsageError) as caught:
        experiment.train(config, folder.path)
    assert f"{Owner.me()} trains in {folder.path}" in caught.value.given
    assert "--out" in caught.value.next_step
    assert not folder.config.exists()


def test_what_is_being_trained_is_not_resumed_beside_it(config, folder, kinema_command):
    experiment.train(config, folder.path)
    before = folder.state.read_bytes()
    claim = held_by(folder)
    ran = kinema_command("train", "--resume", folder.path)
    assert ran.code == 2
    assert f"{Owner.me()} trains in" in ran.err
    assert folder.state.read_bytes() == before
    with claim:
        pass
    assert resume(folder.path, {}).test is not None


@pytest.mark.parametrize("repeated", [False, True])
def test_what_another_finished_while_it_was_waited_for_is_not_written_over(config, folder, monkeypatch, repeated):
    take, before = Claims.claim_from_silent, []

    def wait(claims, name, **options):
        with monkeypatch.context() as patch:
            patch.setattr(Claims, "claim_from_silent", take)
            experiment.train(config, folder.path)
        before.append(folder.state.read_bytes())
        return take(claims, name, **options)

    monkeypatch.setattr(Claims, "claim_from_silent", wait)
    if repeated:
        assert experiment.train(config, folder.path, repeated=True).test is not None
    else:
        with pytest.raises(UsageError, match="holds a run already"):
            experiment.train(config, folder.path)
    assert [folder.state.read_bytes()] == before


def test_what_a_dead_process_held_is_gone_on_with(config, folder):
    held_by(folder, started="1")
    held_by(folder, started="1")
    experiment.train(config, folder.path)
    assert not list(folder.path.glob(".*"))


def test_a_training_is_owned_to_its_end_and_by_nobody_afterwards(grouped, folder, monkeypatch):
    owners = []
    examine = experiment.examine_samples

    def examined(*arguments, **named):
        owners.append(Claims(folder.path).holder(".owner"))
        return examine(*arguments, **named)

    monkeypatch.setattr(experiment, "examine_samples", examined)
    experiment.train(make_config(SETTINGS, {"data": str(grouped), "folds": 2}), folder.path)
    assert owners == [Owner.me()] * 2
    assert not list(folder.path.glob(".*"))


def test_a_training_that_fails_lets_go(config, folder, monkeypatch):
    monkeypatch.setattr(experiment, "fit", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        experiment.train(config, folder.path)
    assert Claims(folder.path).holder(".owner") is None
    monkeypatch.undo()
    resume(folder.path, {})


@pytest.mark.parametrize("fold", [False, True])
def test_a_process_that_was_superseded_writes_nothing_more(folder, fold):
    folder.begin()
    written = folder.fold(1) if fold else folder
    written.path.mkdir(exist_ok=True)
    with folder.owned(Silent()):
        written.write_metrics([])
        (folder.path / ".owner.2").write_text("{}")
        with pytest.raises(TrainingError, match="another has gone on with the run"), written.writing():
            written.config.write_text("mine")
    assert not written.config.exists()
    assert (folder.path / ".owner.2").exists()


@pytest.mark.parametrize("place", ["config.yaml", "metrics.json"])
def test_a_full_disk_before_and_after_training_is_told_of(grouped, folder, monkeypatch, place):
    settings = make_config(SETTINGS, {"data": str(grouped), "folds": 2})
    experiment.train(settings, folder.path)
    replacing = atomic.replacing

    def full(path):
        if Path(path) == folder.path / place:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replacing(path)

    for user in (config_module, examine_module):
        monkeypatch.setattr(user, "replacing", full)
    with pytest.raises(TrainingError, match=r"cannot write into .*: No space left on device"):
        resume(folder.path, {})
    monkeypatch.undo()
    resume(folder.path, {})


def test_a_folder_that_cannot_be_written_to_is_named(folder, monkeypatch):
    folder.begin()

    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(TrainingError, match=r"cannot write into .*: Read-only"), folder.owned(Silent()):
        pass
