"""What a run remembers comes back whole, or the refusal says why."""

import math

import pytest
import torch

from kinema.core.errors import TrainingError
from kinema.training.checkpoint import EpochRow, RunState, load_state, save_state

ROW = EpochRow(1, 0.7, 0.5, 0.6, 0.5, 0.75, 1e-3, 12.0)
BLIND = EpochRow(2, 0.6, 0.5, None, None, None, 1e-3, 12.0)


def parts(features=2):
    torch.manual_seed(0)
    model = torch.nn.Linear(features, 2)
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


def learn(model, optimizer, times=3):
    for _ in range(times):
        model(torch.ones(1, model.in_features)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.pt"


def test_everything_comes_back(path):
    model, optimizer = parts()
    learn(model, optimizer)
    state = RunState(
        epoch=2, step=5, loss_sum=1.5, correct=7, clips=10, seconds=2.5, best=(0.75, -0.6),
        plateau={"factor": 0.1, "best": math.inf, "waited": 1}, rows=[ROW, BLIND],
    )  # fmt: skip
    save_state(path, state, model, optimizer)
    other, its_optimizer = parts()
    assert load_state(path, other, its_optimizer) == state
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    # The optimizer's moments came along: both go the same way from here.
    learn(model, optimizer)
    learn(other, its_optimizer)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_an_old_state_is_replaced_and_nothing_else_is_left(path):
    model, optimizer = parts()
    for epoch in (1, 2):
        save_state(path, RunState(epoch=epoch), model, optimizer)
    assert load_state(path, model, optimizer).epoch == 2
    assert list(path.parent.iterdir()) == [path]


def test_closing_an_epoch_begins_the_next():
    state = RunState(epoch=0, step=3, loss_sum=2.0, correct=4, clips=8, seconds=1.0, best=(1.0,))
    state.finish_epoch(ROW)
    assert state == RunState(epoch=1, best=(1.0,), rows=[ROW], trained_seconds=1.0)
    state.seconds = 2.0
    state.finish_epoch(ROW)
    assert state.trained_seconds == 3.0


def test_states_do_not_share_what_they_collect():
    RunState().rows.append(ROW)
    RunState().plateau["factor"] = 0.5
    assert RunState() == RunState(rows=[], plateau={})


def whole(model, optimizer):
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "state": {}, "rows": []}


@pytest.mark.parametrize("length", [0, 1, 20, 0.5, 0.99])
def test_a_damaged_state_is_refused(path, length):
    model, optimizer = parts()
    save_state(path, RunState(epoch=3), model, optimizer)
    content = path.read_bytes()
    path.write_bytes(content[: length if isinstance(length, int) else int(len(content) * length)])
    with pytest.raises(TrainingError, match=r"state\.pt cannot be resumed from: \w+: ") as caught:
        load_state(path, model, optimizer)
    assert "--weights" in caught.value.next_step
    assert "\n" not in caught.value.given


@pytest.mark.parametrize("content", [b"this is text", b"PK\x03\x04" + bytes(50), bytes(100)])
def test_what_is_no_state_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(TrainingError, match="cannot be resumed from"):
        load_state(path, *parts())


@pytest.mark.parametrize(
    "spoil",
    [
        list,
        lambda good: {key: value for key, value in good.items() if key != "state"},
        lambda good: {key: value for key, value in good.items() if key != "rows"},
        lambda good: good | {"state": {"unheard_of": 1}},
        lambda good: good | {"rows": [{"epoch": 1}]},
        lambda good: good | {"model": []},
        lambda good: good | {"model": {}},
        lambda good: good | {"optimizer": {}},
        lambda good: good | {"optimizer": {"state": {}, "param_groups": []}},
    ],
)
def test_a_state_of_another_version_is_refused(path, spoil):
    torch.save(whole(*parts()), path)
    assert load_state(path, *parts()) == RunState()
    torch.save(spoil(whole(*parts())), path)
    with pytest.raises(TrainingError, match="cannot be resumed from"):
        load_state(path, *parts())


def test_a_state_of_another_network_is_refused(path):
    save_state(path, RunState(), *parts())
    with pytest.raises(TrainingError, match="cannot be resumed from"):
        load_state(path, *parts(features=3))


def test_nothing_in_a_state_is_run(path, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    torch.save({"model": Trap()}, path)
    with pytest.raises(TrainingError, match="cannot be resumed from"):
        load_state(path, *parts())
    assert not (tmp_path / "sprung").exists()


def test_no_state_at_all(tmp_path):
    with pytest.raises(TrainingError, match="no state to resume from at") as caught:
        load_state(tmp_path / "absent.pt", *parts())
    assert "without --resume" in caught.value.next_step
