"""Runs of a study: each once, in order, with what it needs; failures told and tried again."""

import json

import pytest

from kinema.core.claims import Claims, Owner
from kinema.core.errors import DataError, UsageError
from kinema.core.progress import Silent
from kinema.studies import work as work_module
from kinema.studies.folder import StudyFolder, standing
from kinema.studies.grid import lay_out
from kinema.studies.work import work
from kinema.studies.workers import run_study
from kinema.training.experiment import Outcome


class Lines(Silent):
    """Keeps what is logged."""

    def __init__(self):
        self.said = []

    def log(self, message):
        self.said.append(message)


@pytest.fixture
def trained(monkeypatch):
    """Stands in for training: leaves what a run leaves, and keeps the configurations in their order."""
    asked = []

    def train(config, folder, *, resumed, **_):
        asked.append((folder.name, resumed))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text("begun")
        if config.lr > 1:
            raise DataError("a rate to fail with")
        if config.lr == 1:
            raise MemoryError("no room")
        if config.lr < 1e-5:
            raise KeyboardInterrupt
        figure = {"value": 0.5, "low": 0.25, "high": 0.75}
        (folder / "metrics.json").write_text(json.dumps({"split": "test", "video": {"video_top1_accuracy": figure}}))
        return Outcome(folder, (), object(), None, (), 1.0)

    monkeypatch.setattr(work_module, "train", train)
    return asked


@pytest.fixture
def laid_out(write_study, tmp_path):
    return lambda **parts: lay_out(write_study(**parts), tmp_path / "out")


def test_pretrainings_come_first_and_nothing_is_repeated(laid_out, trained):
    grid = laid_out(
        pretraining={"sources": {"p": {"epochs": 2}}},
        axes={"source": {"p": {"pretrained": "p"}, "none": {}}, "seed": [0, 1]},
    )
    lines = Lines()
    course = run_study(grid, workers=1, progress=lines)
    assert trained == [(name, False) for name in ("p", "p,seed=0", "p,seed=1", "none,seed=0", "none,seed=1")]
    assert (len(course.done), course.failed, course.missing) == (5, {}, ())
    assert lines.said[1].startswith("2/5  p,seed=0  0.500 [0.250, 0.750]  ")
    assert "; about " in lines.said[1]
    assert run_study(grid, workers=1, progress=lines).done == course.done
    assert len(trained) == 5
    assert "5 of 5 runs are finished already" in lines.said
    assert list(StudyFolder(grid.out).claims.iterdir()) == []


def test_failures_are_told_the_others_go_on_and_a_second_call_tries_again(laid_out, trained):
    grid = laid_out(
        pretraining={"sources": {"p": {"lr": 3}}},
        axes={"how": {"none": {"lr": 2}, "well": {}, "full": {"lr": 1}, "p": {"pretrained": "p"}}},
    )
    lines = Lines()
    course = run_study(grid, workers=1, progress=lines)
    assert [name for name, _ in trained] == ["p", "none", "well", "full"]
    assert course.done == ("well",)
    assert course.failed["none"] == "a rate to fail with"
    assert "MemoryError: no room" in course.failed["full"]
    assert course.missing == ("p",)
    assert "none: failed: a rate to fail with" in lines.said
    assert "full: failed: MemoryError: no room" in lines.said
    trained.clear()
    run_study(grid, workers=1, progress=lines)
    assert trained == [("p", True), ("none", True), ("full", True)]


@pytest.mark.usefixtures("trained")
def test_a_run_that_fails_once_is_done_when_it_no_longer_does(laid_out, monkeypatch):
    grid = laid_out(axes={"how": {"a": {"lr": 2}}})
    assert run_study(grid, workers=1, progress=Silent()).failed
    monkeypatch.setattr(work_module, "train", lambda *_, **__: Outcome(grid.out, (), object(), None, (), 1.0))
    run = grid.runs[0]
    (run.folder / "metrics.json").write_text(
        '{"video": {"video_top1_accuracy": {"value": 1, "low": null, "high": null}}}'
    )
    course = run_study(grid, workers=1, progress=Silent())
    assert (course.done, course.failed, standing(run)) == (("a",), {}, "done")


@pytest.mark.usefixtures("trained")
def test_ctrl_c_lets_go_and_says_how_to_go_on(laid_out):
    grid = laid_out(axes={"lr": [0.1, 1e-6, 0.2]})
    lines = Lines()
    with pytest.raises(KeyboardInterrupt):
        run_study(grid, workers=1, progress=lines)
    assert lines.said[-1] == "stopped, 2 of 3 runs are left; the same command goes on with them"
    assert Claims(StudyFolder(grid.out).claims).holder("lr=1e-06") is None


def test_what_another_process_trains_is_waited_for_and_not_trained(laid_out, trained, monkeypatch):
    grid = laid_out(axes={"lr": [0.1, 0.2]})
    claims = Claims(StudyFolder(grid.out).claims)
    claim = claims.claim("lr=0.1")

    def other_finishes(_):
        run = grid.runs[0]
        run.folder.mkdir(parents=True)
        (run.folder / "done.json").write_text('{"seconds": 3}')
        with claim:
            pass

    monkeypatch.setattr(work_module.time, "sleep", other_finishes)
    told = []
    work(grid, {}, tell=told.append)
    assert trained == [("lr=0.2", False)]
    assert [(news.kind, news.run) for news in told] == [("began", "lr=0.2"), ("done", "lr=0.2")]


def test_a_run_whose_processes_die_again_and_again_is_given_up(laid_out, trained):
    grid = laid_out(axes={"lr": [0.1]})
    claims = Claims(StudyFolder(grid.out).claims)
    for _ in range(3):
        claim = claims.claim("lr=0.1")
        content = json.loads(claim.path.read_text())
        claim.path.write_text(json.dumps({**content, "started": "1"}))
    course = run_study(grid, workers=1, progress=Silent())
    assert "died 3 times" in course.failed["lr=0.1"]
    assert trained == []
    assert run_study(grid, workers=1, progress=Silent()).done == ("lr=0.1",)


def test_other_settings_of_a_run_are_refused_with_what_differs(laid_out, trained):
    run_study(laid_out(axes={"seed": [0, 1]}), workers=1, progress=Silent())
    trained.clear()
    run_study(
        laid_out(axes={"seed": [0, 1, 2]}, settings={"device": "auto", "workers": 1}), workers=1, progress=Silent()
    )
    assert trained == [("seed=2", False)]  # more levels, and what only concerns the machine
    with pytest.raises(UsageError) as caught:
        run_study(laid_out(axes={"seed": [0, 1, 2]}, settings={"epochs": 4, "lr": 1e-4}), workers=1, progress=Silent())
    said = str(caught.value)
    assert "the run seed=0 was begun with other settings: epochs was 1, now 4; lr was 0.001, now 0.0001" in said
    assert "and 2 more runs differ" in said
    assert "remove" in said


@pytest.mark.usefixtures("trained")
def test_other_settings_of_the_pretraining_are_refused_too(laid_out):
    parts = {"axes": {"source": {"p": {"pretrained": "p"}}}}
    run_study(laid_out(pretraining={"sources": {"p": {"epochs": 2}}}, **parts), workers=1, progress=Silent())
    with pytest.raises(UsageError, match="epochs was 2, now 3"):
        run_study(laid_out(pretraining={"sources": {"p": {"epochs": 3}}}, **parts), workers=1, progress=Silent())


@pytest.mark.usefixtures("trained")
def test_a_run_of_an_older_kinema_had_the_defaults_of_settings_it_did_not_know(laid_out):
    grid = laid_out(axes={"seed": [0]})
    run_study(grid, workers=1, progress=Silent())
    planned = grid.runs[0].folder / "planned.json"
    content = json.loads(planned.read_text())
    del content["settings"]["mixup"]
    planned.write_text(json.dumps(content))
    run_study(grid, workers=1, progress=Silent())
    with pytest.raises(UsageError, match=r"mixup was 0.0, now 0.5"):
        run_study(laid_out(axes={"seed": [0]}, settings={"mixup": 0.5}), workers=1, progress=Silent())


@pytest.mark.parametrize(
    "error", [DataError("another has gone on with it"), KeyboardInterrupt(), MemoryError("no room"), None]
)
def test_a_run_that_another_took_over_has_not_failed_here(laid_out, monkeypatch, error):
    grid = laid_out(axes={"lr": [0.1]})

    def superseded(*_, **__):
        (StudyFolder(grid.out).claims / "lr=0.1.2").write_text("{}")
        (grid.runs[0].folder / "done.json").write_text('{"seconds": 3}')
        if error is None:
            return Outcome(grid.runs[0].folder, (), object(), None, (), 1.0)
        raise error

    monkeypatch.setattr(work_module, "train", superseded)
    told = []
    work(grid, {}, tell=told.append)
    assert [news.kind for news in told] == ["began", "lost"]
    assert {path.name for path in grid.runs[0].folder.iterdir()} == {"planned.json", "done.json"}
    assert (grid.runs[0].folder / "done.json").read_text() == '{"seconds": 3}'
    assert {path.name for path in StudyFolder(grid.out).claims.iterdir()} == {"lr=0.1.1", "lr=0.1.2"}


def test_an_owner_is_itself():
    assert not Owner.me().is_dead


@pytest.mark.usefixtures("trained")
def test_what_a_killed_process_could_not_drop_is_dropped_by_the_next_call(laid_out):
    grid = laid_out(axes={"seed": [0]})
    run_study(grid, workers=1, progress=Silent())
    state = grid.runs[0].folder / "state.pt"
    state.touch()
    run_study(grid, workers=1, progress=Silent())
    assert not state.exists()


def test_a_run_that_another_finishes_between_the_look_and_the_claim_is_not_trained(laid_out, trained, monkeypatch):
    grid = laid_out(axes={"seed": [0]})
    take = Claims.claim

    def finished_meanwhile(claims, name):
        grid.runs[0].folder.mkdir(parents=True, exist_ok=True)
        (grid.runs[0].folder / "done.json").write_text('{"seconds": 3}')
        return take(claims, name)

    monkeypatch.setattr(Claims, "claim", finished_meanwhile)
    work(grid, {}, tell=lambda _: None)
    assert trained == []
