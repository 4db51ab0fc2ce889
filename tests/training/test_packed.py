"""Training from shards, of a disk and of a server, beside training from the files they were made of."""

import csv
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from shard_server import DROP, ERROR, WELL, serving
from small_runs import StoppedError, same, stop_after

from kinema.core.errors import DataError, TrainingError
from kinema.core.progress import Silent
from kinema.datasets.shards import blocks
from kinema.evaluation.examine import examine
from kinema.evaluation.protocol import Views
from kinema.models.weights import read_card
from kinema.training.experiment import train
from kinema.training.recipe import load_recipe, make_config
from kinema.training.request import begin, resume

SETTINGS = {
    "model": "resnet3d_10",
    "model_options": {"widen_factor": 0.125, "conv1_t_size": 3, "dropout": 0.3},
    "frames": 8,
    "stride": 1,
    "size": 32,
    "epochs": 2,
    "batch_size": 3,
    "brightness": 0.2,
    "speed": 0.2,
    "mixup": 0.3,
    "class_weights": "balanced",
    "device": "cpu",
}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(blocks.time, "sleep", lambda _: None)


@pytest.fixture(scope="module")
def from_folder(packed_clips, tmp_path_factory):
    return train(make_config({"data": packed_clips.address, **SETTINGS}), tmp_path_factory.mktemp("run") / "run")


def last(outcome):
    return load_file(outcome.folder / "last.safetensors")


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_run_on_shards_tells_what_a_run_on_files_tells(from_folder, tiny_clips, tmp_path):
    files = train(make_config({"data": tiny_clips, **SETTINGS}), tmp_path / "files")
    folder = from_folder.folder
    assert {path.name.split(".out.")[0] for path in folder.iterdir()} == {
        path.name.split(".out.")[0] for path in files.folder.iterdir()
    }
    ours, theirs = read_card(folder / "best.safetensors"), read_card(files.folder / "best.safetensors")
    assert (ours.labels, ours.input, ours.options) == (theirs.labels, theirs.input, theirs.options)
    assert ours.provenance["data"] == theirs.provenance["data"] == tiny_clips.name
    for key in ("samples", "leaks", "warnings"):
        assert ours.provenance["split"][key] == theirs.provenance["split"][key]
    assert from_folder.test.protocol == files.test.protocol
    assert from_folder.test.warnings == files.test.warnings

    mine, others = rows_of(folder / "metrics.csv"), rows_of(files.folder / "metrics.csv")
    assert len(mine) == len(others) == 2
    assert mine[0].keys() == others[0].keys()
    assert all(float(row["val_loss"]) > 0 for row in mine)

    told = ("path", "start_seconds", "end_seconds", "group", "label")
    answers, expected = rows_of(folder / "predictions.csv"), rows_of(files.folder / "predictions.csv")
    assert sorted([row[key] for key in told] for row in answers) == sorted(
        [row[key] for key in told] for row in expected
    )
    figures, theirs = (json.loads((run / "metrics.json").read_text()) for run in (folder, files.folder))
    assert figures.keys() == theirs.keys()
    assert figures["video"]["n"] == theirs["video"]["n"] == 8


def test_a_run_says_what_it_read(from_folder, packed_clips):
    config = load_recipe(from_folder.folder / "config.yaml")
    assert (config["data"], config["data_sha256"]) == (packed_clips.address, packed_clips.sha256)
    provenance = read_card(from_folder.folder / "best.safetensors").provenance
    assert provenance["index_sha256"] == packed_clips.sha256
    assert provenance["packed"] == "shorter side 48 px, x264 crf 23"
    assert packed_clips.sha256 in from_folder.report.read_text()


def test_evaluating_gives_the_figures_of_the_run(from_folder, packed_clips):
    for data in (packed_clips.address, f"{packed_clips.address}/index.json"):
        found = examine(
            from_folder.weights[0], data, split="test", views=Views(), skip_broken=False, device="cpu", out=None,
            progress=Silent(),
        )  # fmt: skip
        assert found.video == from_folder.test.video
        assert found.clip == from_folder.test.clip


def test_evaluating_tells_of_leaks_and_of_what_was_trained_on(from_folder, packed_clips, tmp_path):
    def notes(data, split):
        found = examine(
            from_folder.weights[0], data, split=split, views=Views(), skip_broken=False, device="cpu", out=None,
            progress=Silent(),
        )  # fmt: skip
        return found.notes

    assert notes(packed_clips.address, "test") == ()
    assert notes(packed_clips.address, "all")[0].startswith("these videos were trained on")
    shutil.copytree(packed_clips.address, tmp_path / "leaky")
    value = json.loads((tmp_path / "leaky" / "index.json").read_text())
    value |= {"leaks": ["2 groups have clips in both train and test"], "ungrouped": 24}
    (tmp_path / "leaky" / "index.json").write_text(json.dumps(value))
    leak, doubt = notes(str(tmp_path / "leaky"), "test")
    assert leak == "2 groups have clips in both train and test"
    assert doubt.startswith("there is no group column")


def test_a_server_that_fails_in_between_changes_nothing(packed_clips, from_folder, tmp_path):
    with serving(packed_clips.address) as server:
        server.behave = lambda number, _: {3: ERROR, 5: DROP, 8: ERROR, 9: DROP}.get(number, WELL)
        outcome = begin({"data": server.url, **SETTINGS}, out=tmp_path / "run")
        assert len(server.ranges) > 10
    assert same(last(outcome), last(from_folder))
    assert outcome.test.video == from_folder.test.video
    assert load_recipe(tmp_path / "run" / "config.yaml")["data"] == server.url


def test_a_run_goes_on_when_the_server_is_up_again(packed_clips, from_folder, tmp_path):
    said = []

    class Telling(Silent):
        def log(self, message):
            said.append(message)

    with serving(packed_clips.address) as server:
        config = make_config({"data": f"{server.url}/index.json", **SETTINGS})
        down = []
        server.behave = lambda _, name: ERROR if down and name.startswith("train") else WELL

        class Cutting(Telling):
            def log(self, message):
                super().log(message)
                down.extend(["first epoch is over"] if message.startswith("epoch 1") else [])

        with pytest.raises(DataError, match="after 6 tries in a row") as caught:
            train(config, tmp_path / "run", progress=Cutting())
        assert "the server is up" in caught.value.next_step
        best = tmp_path / "run" / "best.safetensors"
        assert said[-1] == f"stopped; weights so far in {best}; go on with: kinema train --resume {tmp_path / 'run'}"
        down.clear()
        outcome = resume(tmp_path / "run", {})
    assert same(last(outcome), last(from_folder))


@pytest.mark.parametrize("stopped_after", [2, 4, 5])
def test_a_run_goes_on_in_the_middle_of_an_epoch(packed_clips, from_folder, monkeypatch, tmp_path, stopped_after):
    go_on = stop_after(monkeypatch, stopped_after)
    config = make_config({"data": packed_clips.address, **SETTINGS, "save_seconds": 0})
    with pytest.raises(StoppedError):
        train(config, tmp_path / "run")
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)["state"]
    assert (state["epoch"], state["step"]) == divmod(stopped_after, 4)
    go_on()
    outcome = resume(tmp_path / "run", {"data": packed_clips.address})
    assert same(last(outcome), last(from_folder))
    assert [row["train_loss"] for row in rows_of(tmp_path / "run" / "metrics.csv")] == [
        row["train_loss"] for row in rows_of(from_folder.folder / "metrics.csv")
    ]


def test_numbers_that_are_none_name_shard_and_place(packed_clips, tmp_path):
    settings = {"data": packed_clips.address, **SETTINGS, "optimizer": "sgd", "lr": 1e30}
    with pytest.raises(TrainingError, match=r"train-\d+\.tar:\d+\.mp4"):
        train(make_config(settings), tmp_path / "run")
