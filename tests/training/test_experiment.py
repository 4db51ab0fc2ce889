import csv
import json
import shutil
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from kinema.core.errors import BrokenFilesError, DataError, TrainingError, UsageError
from kinema.core.progress import Silent
from kinema.datasets.flow import compute_flow, flow_recipe
from kinema.datasets.manifest import read_manifest
from kinema.evaluation.examine import examine
from kinema.evaluation.protocol import Views
from kinema.inference.predictor import load
from kinema.models.download import RemoteFile
from kinema.models.published import downloads_folder
from kinema.models.records import lookup
from kinema.models.records.record import ClassSet, Licence, WeightsRecord
from kinema.models.weights import load_weights, read_card
from kinema.training import experiment, request
from kinema.training.experiment import train
from kinema.training.recipe import load_recipe, make_config
from kinema.training.request import begin, resume
from kinema.video.flow import FlowChoice
from kinema.video.flow_record import read_record
from kinema.video.writer import VideoWriter

SETTINGS = {
    "model": "resnet3d_10",
    "model_options": {"widen_factor": 0.125, "conv1_t_size": 3},
    "frames": 8,
    "stride": 1,
    "size": 32,
    "epochs": 1,
    "batch_size": 4,
}


def test_a_run_leaves_every_file_it_promises(tiny_run):
    names = {path.name.split(".out.")[0] for path in tiny_run.iterdir()}
    assert names == {
        "config.yaml", "metrics.csv", "curves.png", "events", "best.safetensors", "last.safetensors", "state.pt",
        "predictions.csv", "metrics.json", "report.html",
    }  # fmt: skip


def test_figures_carry_level_protocol_and_interval(tiny_run):
    found = json.loads((tiny_run / "metrics.json").read_text())
    assert found["video"]["n"] == 8
    assert found["video"]["video_top1_accuracy"]["low"] < found["video"]["video_top1_accuracy"]["high"]
    assert "sliding windows of 8 frames every 4 frames" in found["protocol"]["views"]
    card = read_card(tiny_run / "best.safetensors")
    assert [metric["level"] for metric in card.metrics] == ["video", "clip"]
    assert all("column" in metric["protocol"] for metric in card.metrics)
    assert card.provenance["recipe"]["epochs"] == 1
    assert card.labels.names == ("normal", "selfharm")


def test_predictions_list_every_test_video_once(tiny_run, tiny_clips):
    rows = list(csv.DictReader((tiny_run / "predictions.csv").read_text().splitlines()))
    test = [sample for sample in read_manifest(tiny_clips).samples if sample.split == "test"]
    assert len(rows) == len(test)
    for row in rows:
        assert row["predicted"] in ("normal", "selfharm")
        assert float(row["p_normal"]) + float(row["p_selfharm"]) == pytest.approx(1, abs=1e-5)


def test_folds_hold_out_every_video_once_and_pool(grouped, tmp_path):
    outcome = train(make_config({"data": grouped, **SETTINGS, "folds": 3}), tmp_path / "run")
    assert len(outcome.weights) == 3
    assert outcome.test.video.n == len(read_manifest(grouped)) == 24
    assert outcome.test.video.groups == 6
    rows = list(csv.DictReader((tmp_path / "run" / "predictions.csv").read_text().splitlines()))
    assert len({row["path"] for row in rows}) == 24
    held_out = [set(), set(), set()]
    for number, groups in enumerate(held_out, start=1):
        fold = csv.DictReader((tmp_path / "run" / f"fold-{number}" / "predictions.csv").read_text().splitlines())
        groups |= {row["group"] for row in fold}
    assert not held_out[0] & held_out[1]
    assert not held_out[0] & held_out[2]
    assert "3 folds" in outcome.test.protocol.split
    assert "last epoch" in outcome.test.protocol.note


def test_folds_resume_where_they_stopped(grouped, tmp_path, monkeypatch):
    """Stopped in the second fold: the first is not trained again."""
    config = make_config({"data": grouped, **SETTINGS, "folds": 3})
    whole = train(config, tmp_path / "whole").test
    fit, calls = experiment.fit, []

    def interrupted(job, fabric, **options):
        calls.append(job.folder.path.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(job, fabric, **options)

    monkeypatch.setattr(experiment, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run")
    before = (tmp_path / "run" / "fold-1" / "state.pt").stat().st_mtime_ns
    resumed = resume(tmp_path / "run", {}).test
    assert (tmp_path / "run" / "fold-1" / "state.pt").stat().st_mtime_ns == before
    assert [v.clips.tolist() for v in resumed.scored] == [v.clips.tolist() for v in whole.scored]


def test_broken_files_stop_a_run_and_are_named(grouped, tmp_path):
    broken = min((grouped.parent / "normal").glob("*.mp4"))
    broken.write_bytes(broken.read_bytes()[:500])
    config = {"data": grouped, **SETTINGS, "val_fraction": 0, "test_fraction": 0.3}
    with pytest.raises(BrokenFilesError) as caught:
        train(make_config(config), tmp_path / "run")
    assert list(caught.value.broken) == [broken]

    outcome = begin({**config, "skip_broken": True}, out=tmp_path / "other")
    assert [file.path for file in outcome.test.broken] == [str(broken)]
    assert broken.name in outcome.report.read_text()
    assert any("1 broken" in warning for warning in outcome.test.warnings)


def test_a_leak_is_named_in_every_report(grouped, tmp_path):
    settings = {"data": grouped, **SETTINGS, "split_by": "random", "allow_leak": True}
    outcome = train(make_config(settings), tmp_path / "run")
    assert any("clips in both train and test" in warning for warning in outcome.test.warnings)
    assert "clips in both train and test" in outcome.report.read_text()


def test_a_network_that_cannot_be_fed_leaves_no_folder(grouped, tmp_path):
    with pytest.raises(UsageError, match="two streams for clips of 3 channels"):
        begin({"data": grouped, "model": "two_stream", "epochs": 1}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_and_report_tell_what_was_trained_and_why_it_ended(grouped, tmp_path):
    """A head that does not move, before features that hold still, never validates better than at first."""
    settings = {**SETTINGS, "epochs": 9, "train_from": "head", "lr": 1e-20, "early_stopping": 2, "ema": 0.5}
    outcome = train(make_config({"data": grouped, **settings}), tmp_path / "run")
    told = "130 of 228,250 parameters: fc; batch norms before it hold still"
    assert read_card(outcome.weights[0]).provenance["trained"] == told
    report = outcome.report.read_text()
    assert told in report
    assert "average of the weights up to the epoch with the best validation video accuracy" in report
    assert "ended after epoch 3: the last 2 epochs validated no better than epoch 1" in report


def test_weights_bring_their_network_along(tiny_run, grouped, tmp_path):
    outcome = begin({"data": grouped, "weights": tiny_run / "best.safetensors", "epochs": 1}, out=tmp_path / "run")
    card = read_card(outcome.weights[0])
    assert (card.architecture, card.options["widen_factor"], card.input.size_px) == ("resnet3d_10", 0.125, 32)
    assert card.provenance["started_from"] == "best.safetensors"


def test_weights_may_be_published_ones_by_name(tiny_run, grouped, tmp_path, monkeypatch):
    read = load_weights(tiny_run / "best.safetensors")
    record = WeightsRecord(
        name="resnet3d_10-rendered",
        architecture="resnet3d_10",
        publisher="somebody",
        files=(RemoteFile("tiny.pth", page="https://example.org"),),
        classes=ClassSet("rendered", 2),
        licence=Licence("MIT"),
        options=read.card.options,
        fed=read.card.input,
    )
    monkeypatch.setitem(lookup._TABLE, record.name, record)
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "cache"))
    downloads_folder().mkdir(parents=True)
    torch.save(read.model.state_dict(), downloads_folder() / "tiny.pth")

    outcome = begin({"data": grouped, "weights": record.name, "epochs": 1}, out=tmp_path / "run")

    assert read_card(outcome.weights[0]).provenance["started_from"] == "resnet3d_10-rendered.safetensors"
    assert load_recipe(tmp_path / "run" / "config.yaml")["weights"] == record.name  # as on any other machine
    again = resume(tmp_path / "run", {"weights": record.name})
    assert again.weights == outcome.weights
    with pytest.raises(UsageError, match="beside --resume"):
        resume(tmp_path / "run", {"weights": "resnet3d_18-kinetics700"})


def test_a_run_says_that_it_feeds_weights_otherwise_than_before(tiny_run, grouped, tmp_path):
    told = []

    class Telling(Silent):
        def log(self, message):
            told.append(message)

    settings = {"data": grouped, "weights": tiny_run / "best.safetensors", "epochs": 1, "frames": 4, "size": 24}
    begin(settings, out=tmp_path / "run", progress=Telling())
    (line,) = [line for line in told if "tensors from" in line]
    assert "fed otherwise: size_px: 32 in the file, 24 here; frames: 8 in the file, 4 here" in line
    assert "mean" not in line  # pixel statistics are taken from the file


def test_a_run_finds_the_file_it_started_from_wherever_it_is_resumed(tiny_run, grouped, tmp_path, monkeypatch):
    shutil.copyfile(tiny_run / "best.safetensors", tmp_path / "start.safetensors")
    monkeypatch.chdir(tmp_path)
    begin({"data": grouped, "weights": "start.safetensors", "epochs": 1}, out=tmp_path / "run")
    assert load_recipe(tmp_path / "run" / "config.yaml")["weights"] == str(tmp_path / "start.safetensors")
    resume(tmp_path / "run", {"weights": "start.safetensors"})


def test_weights_of_another_modality_are_refused(tiny_run, grouped, tmp_path):
    with pytest.raises(UsageError, match="modality difference for weights trained on rgb"):
        begin(
            {"data": grouped, "weights": tiny_run / "best.safetensors"},
            assignments=["modality=difference"],
            out=tmp_path / "run",
        )


def test_a_loss_that_is_no_number_names_the_batch(grouped, tmp_path):
    settings = {"data": grouped, **SETTINGS, "optimizer": "sgd", "lr": 1e30, "epochs": 3}
    with pytest.raises(TrainingError, match=r"epoch \d, step \d") as caught:
        train(make_config(settings), tmp_path / "run")
    assert str(grouped.parent) in caught.value.given


def test_a_folder_with_a_run_is_not_overwritten(tiny_clips, tiny_run):
    with pytest.raises(UsageError, match="holds a run already"):
        train(make_config({"data": tiny_clips, **SETTINGS}), tiny_run)


def test_without_a_name_the_small_recipe_is_used(grouped, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(request, "train", lambda config, *_, **__: seen.append(config))
    begin({"data": grouped, "stride": 3}, out=tmp_path)
    begin({"data": grouped, "model": "resnet3d_18"}, out=tmp_path)
    assert (seen[0].modality, seen[0].stride, seen[0].fps) == ("difference", 3, None)
    assert (seen[1].modality, seen[1].size) == ("rgb", 112)
    with pytest.raises(UsageError, match="no data to train on"):
        begin({}, out=tmp_path)


def moving(path, rightwards, seed):
    """A texture that moves by two pixels a frame."""
    strip = np.random.default_rng(seed).integers(0, 256, (6, 12, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with VideoWriter(path, fps=10, size=(48, 48)) as writer:
        for step in range(8):
            left = 2 * (8 - step if rightwards else step)
            writer.write(np.ascontiguousarray(strip[None, :, left : left + 48]))


@pytest.fixture
def flow(tmp_path):
    """Flow by DIS of six videos whose classes differ by where things move."""
    for number in range(6):
        moving(tmp_path / "data" / ("left", "right")[number % 2] / f"{number}.mp4", number % 2, number)
    choice, manifest = FlowChoice("dis"), read_manifest(tmp_path / "data")
    report = compute_flow(manifest, tmp_path / "flow", choice, fps=Fraction(10), short_side_px=48, workers=0)
    return report.manifest.source


def test_a_network_trains_on_flow_and_remembers_its_algorithm(flow, tmp_path, monkeypatch):
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "cache"))
    settings = {**SETTINGS, "frames": 4, "modality": "flow", "val_fraction": 0.0, "test_fraction": 0.34}

    outcome = begin({"data": flow, **settings}, out=tmp_path / "run")

    card = read_card(outcome.folder / "best.safetensors")
    assert (card.in_channels, card.input.modality) == (2, "flow")
    assert card.input.flow == flow_recipe(read_manifest(flow).samples).spec
    assert (card.input.flow.algorithm, card.input.flow.fps, card.input.flow.short_side_px) == ("dis", "10", 48)
    assert (card.input.mean, card.input.std) == ((128 / 255,) * 2, (127 / 255,) * 2)
    assert card.provenance["flow"] == flow_recipe(read_manifest(flow).samples).to_json()
    assert outcome.test.video.n == 2
    best, stored = outcome.folder / "best.safetensors", read_manifest(flow).samples[0].path
    assert not [text for text in load(best, device="cpu").predict(stored).warnings if "trained on" in text]

    record = read_record(stored)
    for sample in read_manifest(flow).samples:
        replace(record, recipe=replace(record.recipe, algorithm="tvl1")).write(sample.path.parent)
    (doubt,) = [text for text in load(best, device="cpu").predict(stored).warnings if "trained on" in text]
    assert "by tvl1, and the network was trained on dis" in doubt
    views = Views()
    found = examine(best, flow, split="all", views=views, skip_broken=False, device="cpu", out=None, progress=Silent())
    assert doubt in found.warnings


def test_flow_and_pictures_are_told_apart(flow, grouped, tmp_path):
    with pytest.raises(DataError, match="are flow, and the network is fed with modality rgb"):
        begin({"data": flow, **SETTINGS}, out=tmp_path / "run")
    with pytest.raises(DataError, match="are no flow"):
        begin({"data": grouped, **SETTINGS, "modality": "flow"}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
