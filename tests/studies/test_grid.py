"""From a study file to its runs: every combination, settings in their order, mistakes by the name of the run."""

from pathlib import Path

import pytest
import yaml

from kinema.core.errors import DataError, UsageError
from kinema.studies.checks import check
from kinema.studies.grid import lay_out
from kinema.studies.study import read_study


@pytest.fixture
def laid_out(write_study, tmp_path):
    return lambda **parts: lay_out(write_study(**parts), tmp_path / "out")


def test_every_combination_of_levels_is_a_run(laid_out, tmp_path):
    grid = laid_out(
        axes={"model": ["resnet3d_10", "resnet3d_18"], "mode": {"fast": {"lr": 0.1}, "slow": None}, "seed": [0, 1]}
    )
    assert [run.name for run in grid.runs] == [
        f"{model},{mode},seed={seed}"
        for model in ("resnet3d_10", "resnet3d_18") for mode in ("fast", "slow") for seed in (0, 1)
    ]  # fmt: skip
    run = grid.runs[1]
    assert run.levels == {"model": "resnet3d_10", "mode": "fast", "seed": "1"}
    assert (run.config.model, run.config.lr, run.config.seed) == ("resnet3d_10", 0.1, 1)
    assert run.folder == tmp_path / "out" / "runs" / "resnet3d_10,fast,seed=1"


def test_later_settings_win_and_overrides_last(laid_out):
    grid = laid_out(
        settings={"lr": 0.1, "momentum": 0.5},
        axes={"one": {"a": {"lr": 0.2}, "b": {}}, "two": {"x": {"lr": 0.3}, "y": {}}},
        overrides=[{"where": {"one": "a", "two": ["x", "y"]}, "settings": {"lr": 0.4}}],
    )
    rates = {run.name: run.config.lr for run in grid.runs}
    assert rates == {"a,x": 0.4, "a,y": 0.4, "b,x": 0.3, "b,y": 0.1}
    assert {run.config.momentum for run in grid.runs} == {0.5}


def test_a_recipe_is_the_base_wherever_it_is_named(laid_out, tmp_path):
    (tmp_path / "mine.yaml").write_text("epochs: 7\nlr: 0.5\nmomentum: 0.25\n")
    grid = laid_out(settings={"lr": 0.1}, axes={"how": {"own": {"recipe": "mine.yaml"}, "plain": {}}})
    own, plain = (run.config for run in grid.runs)
    assert (own.lr, own.momentum) == (0.1, 0.25)
    assert (plain.lr, plain.momentum) == (0.1, 0.9)


def test_the_data_of_the_study_win_over_those_of_a_recipe(laid_out, tmp_path):
    (tmp_path / "config.yaml").write_text("data: /of/the/run\nmomentum: 0.25\n")
    axes = {"on": {"study": {}, "own": {"data": "/of/the/level"}}}
    grid = laid_out(recipe="config.yaml", data="/of/the/study", axes=axes)
    assert [run.config.data for run in grid.runs] == ["/of/the/study", "/of/the/level"]
    assert {run.config.momentum for run in grid.runs} == {0.25}
    grid = laid_out(recipe="config.yaml", data="/of/the/study", settings={"data": "/of/all"}, axes={"seed": [0]})
    assert grid.runs[0].config.data == "/of/all"


def test_a_number_is_told_with_its_own_axis(laid_out):
    grid = laid_out(axes={"frames": [4, 8], "stride": [2, 4], "how": {"4": {"lr": 0.1}, "fast": {"lr": 0.2}}})
    assert [run.name for run in grid.runs][2:5] == [
        "frames=4,stride=4,how=4",
        "frames=4,stride=4,fast",
        "frames=8,stride=2,how=4",
    ]
    grid = laid_out(
        pretraining={"axes": ["frames"], "sources": {"8": {}}},
        axes={"frames": [4, 8], "source": {"8": {"pretrained": "8"}}},
    )
    assert [run.name for run in grid.pretrainings] == ["pretraining,8,frames=4", "pretraining,8,frames=8"]


@pytest.mark.parametrize(
    ("sources", "axes", "name"),
    [
        (
            ("ucf 101", "ucf_101"),
            {"source": {"a": {"pretrained": "ucf 101"}, "b": {"pretrained": "ucf_101"}}},
            "ucf_101",
        ),
        (("UCF", "ucf"), {"source": {"a": {"pretrained": "UCF"}, "b": {"pretrained": "ucf"}}}, "ucf"),
        (("p",), {"how": {"pretraining": {"pretrained": "p"}}, "source": {"p": {}}}, "p"),
    ],
)
def test_trainings_that_would_share_a_name_are_refused(laid_out, sources, axes, name):
    plan = {"sources": {source: {"epochs": number} for number, source in enumerate(sources, start=1)}}
    with pytest.raises(UsageError, match=f"two runs would share the name pretraining,{name}: "):
        laid_out(pretraining=plan, axes=axes)


def test_what_is_left_out_is_no_run(laid_out):
    grid = laid_out(leave_out=[{"lr": 0.01, "seed": 1}])
    assert [run.name for run in grid.runs] == ["lr=0.001,seed=0", "lr=0.001,seed=1", "lr=0.01,seed=0"]
    with pytest.raises(UsageError, match="leaves no run"):
        laid_out(leave_out=[{}])


def test_a_pretraining_is_made_once_for_each_level_it_names(laid_out, tmp_path):
    grid = laid_out(
        settings={"folds": 2, "train_from": "fc", "epochs": 3},
        pretraining={
            "axes": ["model"],
            "settings": {"epochs": 9},
            "sources": {"p": {"data": "/elsewhere"}, "unused": {}},
        },
        axes={
            "model": ["resnet3d_10", "resnet3d_18"],
            "source": {"none": {}, "p": {"pretrained": "p"}},
            "seed": [0, 1],
        },
    )
    first, second = grid.pretrainings
    assert (first.name, second.name) == ("pretraining,p,resnet3d_10", "pretraining,p,resnet3d_18")
    assert (first.config.data, first.config.epochs, first.config.folds) == ("/elsewhere", 9, None)
    assert first.config.train_from is None
    by_name = {run.name: run for run in grid.runs}
    run = by_name["resnet3d_18,p,seed=1"]
    assert run.after == second.name
    assert run.config.weights == str(tmp_path / "out" / "pretraining" / "p,resnet3d_18" / "best.safetensors")
    assert (run.config.folds, run.config.epochs) == (2, 3)
    assert by_name["resnet3d_18,none,seed=1"].after is None


def test_weights_and_pretrained_replace_each_other_in_later_layers(laid_out, tmp_path):
    (tmp_path / "some.safetensors").touch()
    grid = laid_out(
        settings={"weights": "some.safetensors"},
        pretraining={"sources": {"p": {"data": "/elsewhere"}}, "settings": {"weights": None}},
        axes={"source": {"file": {}, "p": {"pretrained": "p"}}},
    )
    assert [run.after for run in grid.runs] == [None, "pretraining,p"]
    assert grid.runs[0].config.weights == str(tmp_path / "some.safetensors")


def test_settings_lie_over_each_other_as_those_of_a_training_do(laid_out):
    grid = laid_out(
        settings={"total_steps": 70},
        axes={"how": {"steps": {}, "other": {"epochs": 3, "fps": 5.0, "model_options": {"widen_factor": 0.25}}}},
    )
    steps, other = (run.config for run in grid.runs)
    assert (steps.total_steps, steps.stride, steps.model_options["widen_factor"]) == (70, 2, 0.125)
    assert (other.total_steps, other.epochs, other.stride, other.fps) == (None, 3, None, 5.0)
    assert other.model_options == {"widen_factor": 0.25, "conv1_t_size": 3}


def test_without_a_model_network_and_input_are_those_of_the_weights(tiny_run, write_study, tmp_path):
    path = write_study(axes={"how": {"asked": {"frames": 4}, "other": {"model": "resnet3d_18"}}})
    study = yaml.safe_load(path.read_text())
    study["settings"] = {"weights": str(tiny_run / "best.safetensors"), "epochs": 1}
    path.write_text(yaml.safe_dump(study))
    asked, other = (run.config for run in lay_out(path, tmp_path / "out").runs)
    assert (asked.model, asked.model_options["widen_factor"]) == ("resnet3d_10", 0.125)
    assert (asked.frames, asked.size, asked.stride) == (4, 32, 1)
    assert (other.model, other.frames, other.size) == ("resnet3d_18", 16, 112)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"axis": {}}, "axis: no such key; did you mean 'axes'"),
        ({"axes": {}}, "axes"),
        ({"axes": {"sede": [0, 1]}}, "did you mean 'seed'"),
        ({"axes": {"mode": {"a": {"lrr": 1}}}}, "no setting named 'lrr'; did you mean 'lr'"),
        ({"axes": {"mode": {False: {}}}}, "write it in quotes"),
        ({"tables": [{"rows": "sed"}]}, "tables 1: no axis 'sed'; did you mean 'seed'"),
        ({"tables": [{"row": "seed"}]}, "no such key; did you mean 'rows'"),
        ({"tables": [{"rows": "seed", "columns": "seed"}]}, "the axis 'seed' twice"),
        ({"figures": [{"lines": "lr", "where": {"seed": [0, 7]}}]}, "axis 'seed' has no level '7'"),
        ({"overrides": [{"where": {"seed": 5}, "settings": {}}]}, "overrides 1: axis 'seed' has no level '5'"),
        ({"baseline": {"lr": 3}}, "baseline: axis 'lr' has no level '3'"),
        ({"axes": {"s": {"p": {"pretrained": "p"}}}}, "run p: pretrained p, but pretraining has no such source"),
        ({"axes": {"m": {"a/b": {}, "a b": {}}}}, "two runs would share the name a_b"),
        ({"axes": {"crop_scale": [[0.7, 1], [0.5, 1]]}}, "axes, crop_scale: a list or mapping is no name: name these"),
        ({"axes": {"model_options": [{"widen_factor": 1}]}}, "name these levels, such as {narrow: {crop_scale"),
        ({"axes": {"epochs": [1, 0]}}, "run epochs=0: epochs = 0"),
        ({"axes": {"devices": [2]}}, "run devices=2: devices 2"),
        ({"axes": {"weights": ["absent.safetensors"]}}, "run absent.safetensors: no weights at"),
    ],
)
def test_mistakes_are_told_by_name(laid_out, parts, said):
    with pytest.raises((UsageError, DataError)) as caught:
        laid_out(**parts)
    assert said in str(caught.value)


def test_a_mistake_of_many_runs_is_told_once(laid_out):
    with pytest.raises(UsageError) as caught:
        laid_out(settings={"epochs": -1})
    assert "4 runs (lr=0.001,seed=0, lr=0.001,seed=1, lr=0.01,seed=0, … and 1 more): epochs = -1" in str(caught.value)


def test_networks_and_data_are_looked_at_before_anything_runs(laid_out):
    check(laid_out())
    with pytest.raises(UsageError, match=r"2 runs \(resnet3d_11,seed=0"):
        check(laid_out(axes={"model": ["resnet3d_11", "resnet3d_10"], "seed": [0, 1]}))
    with pytest.raises(DataError, match="run folder: there is no"):
        check(laid_out(axes={"where": {"table": {}, "folder": {"data": "absent"}}}))


def test_a_key_given_twice_is_refused(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("axes: {seed: [0]}\naxes: {seed: [1]}\n")
    with pytest.raises(UsageError, match="'axes' stands there twice"):
        read_study(path)


@pytest.mark.parametrize("key", ["[a, b]", "{a: 1}"])
def test_a_key_that_is_no_single_value_is_refused(tmp_path, key):
    path = tmp_path / "keys.yaml"
    path.write_text(f"axes: {{seed: [0]}}\n? {key}\n: 1\n")
    with pytest.raises(UsageError, match="a key is a single value"):
        read_study(path)


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "axes: " + "[" * 3000])
def test_what_is_no_study_is_refused(tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(UsageError):
        read_study(path)
    with pytest.raises(UsageError, match="no study at"):
        read_study(Path("absent.yaml"))


def test_paths_are_relative_to_the_study(tmp_path):
    folder = tmp_path / "deep"
    folder.mkdir()
    (folder / "study.yaml").write_text(yaml.safe_dump({"data": "../clips", "axes": {"seed": [0]}}))
    grid = lay_out(folder / "study.yaml", tmp_path / "out")
    assert grid.runs[0].config.data == str(folder / ".." / "clips")
    assert grid.runs[0].record["data"] == "../clips"


def test_stages_that_a_network_does_not_have_are_told_before_anything_runs(laid_out):
    with pytest.raises(UsageError, match=r"run two: train_from 'layer5'.*did you mean 'layer"):
        check(laid_out(axes={"from": {"one": {"train_from": "layer4"}, "two": {"train_from": "layer5"}}}))
