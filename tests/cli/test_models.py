"""`kinema models`: a table and a drawing for people, JSON for programs."""

import json

import pytest
import torch
from typer.testing import CliRunner

from kinema.cli import models, render
from kinema.core.errors import UsageError
from kinema.core.labels import LabelMap
from kinema.core.spec import InputSpec
from kinema.models.download import RemoteFile
from kinema.models.published import downloads_folder, weights_path
from kinema.models.records import lookup
from kinema.models.records.lookup import list_records
from kinema.models.records.record import ClassSet, Licence, WeightsRecord
from kinema.models.weights import ModelCard, read_card, save_weights
from kinema.models.zoo import create_model, list_models
from kinema.training.recipe import list_recipes, recipe_text


def run(monkeypatch, *arguments, width=200):
    # Wide unless said otherwise: what is looked for must not be broken over lines.
    monkeypatch.setattr(render.stdout, "width", width)
    result = CliRunner().invoke(models.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_list_names_every_model(monkeypatch):
    lines = run(monkeypatch, "list").splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(list_models())]] == list_models()
    line = next(line for line in lines if line.startswith("resnet3d_18 "))
    assert " ".join(line.split()) == "resnet3d_18 33.4M 16.6 16x112² 66.1 K400 val, mean top-1/5 video MIT"
    assert next(line for line in lines if line.startswith("c3d ")).split()[-2:] == ["-", "-"]
    assert "as its publisher states it" in lines[len(list_models()) + 2]


def test_list_as_json(monkeypatch):
    rows = {row["name"]: row for row in json.loads(run(monkeypatch, "list", "--json"))}
    assert sorted(rows) == list_models()
    assert rows["resnet3d_18"]["input"]["clip"]["frames"] == 16
    assert [weights["name"] for weights in rows["r3d_18"]["weights"]] == ["r3d_18-kinetics400"]
    assert rows["c3d"]["weights"] == []


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("arguments", [("list",), ("list", "--weights")])
def test_tables_fit_their_terminal(monkeypatch, width, arguments):
    for line in run(monkeypatch, *arguments, width=width).splitlines():
        assert len(line) <= width
        assert "…" not in line


def test_narrow_figures_still_say_what_they_are(monkeypatch):
    figures = {line.split()[0]: line for line in run(monkeypatch, "list", "--weights", width=80).splitlines() if line}
    assert figures["resnet3d_50-kinetics400"].split()[1:] == ["400", "72.2*", "val", "not", "stated", "hand"]
    assert figures["s3d-kinetics400"].split()[1:4] == ["400", "68.4", "clip"]
    assert figures["i3d-kinetics400"].split()[1:4] == ["400", "68.4", "test"]
    assert figures["resnext3d_101-kinetics400-ucf101"].split()[1:5] == ["101", "90.7", "UCF101", "level?"]
    assert figures["resnet3d_50-kinetics700"].split()[1:3] == ["700?", "-"]


def test_list_of_weights_names_every_record(monkeypatch):
    lines = run(monkeypatch, "list", "--weights").splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(list_records())]] == [r.name for r in list_records()]


def test_list_of_weights_as_json(monkeypatch):
    told = {record["name"]: record for record in json.loads(run(monkeypatch, "list", "--weights", "--json"))}
    assert list(told) == [record.name for record in list_records()]
    i3d = told["i3d-flow-kinetics400"]
    assert (i3d["architecture"], i3d["in_channels"], i3d["input"]["modality"]) == ("i3d", 2, "flow")
    assert len(i3d["files"]) == 2
    assert i3d["figures"][0]["percent"] == 61.5
    assert i3d["figures"][0]["protocol"].startswith("Kinetics-400, test; video level")
    assert told["resnet3d_50-kinetics700"]["classes"]["known"] is False
    assert told["resnet3d_50-kinetics700"]["direct_link"] is False


def test_list_of_recipes_says_a_line_of_each(monkeypatch):
    lines = run(monkeypatch, "list", "--recipes").splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(list_recipes())]] == list_recipes()
    assert lines[1].split(maxsplit=1)[1].strip() == "C3D on UCF101 from random weights, 60,000 steps."
    found = json.loads(run(monkeypatch, "list", "--recipes", "--json"))
    assert [row["name"] for row in found] == list_recipes()
    assert found[0]["settings"]["lr"] == 0.003
    with pytest.raises(UsageError, match="--weights and --recipes"):
        run(monkeypatch, "list", "--recipes", "--weights")


def test_a_recipe_is_shown_as_it_is_written(monkeypatch):
    assert run(monkeypatch, "show", "hara2017", width=40) == recipe_text("hara2017")
    assert json.loads(run(monkeypatch, "show", "hara2017", "--json"))["schedule"] == "plateau"


def test_show_draws_stages_and_options(monkeypatch):
    text = run(monkeypatch, "show", "resnet3d_50")
    assert "47,018,576 parameters, 20.1 GFLOPs" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "clip 3 x 16 x 112 x 112" in lines
    assert "conv1 64 x 8 x 28 x 28 65,984" in lines
    assert any(line.startswith("layer4 2048 x 1 x 4 x 4 29,120,512 █") for line in lines)
    assert any(line.startswith("shortcut B A or B where shapes change") for line in lines)


def test_show_as_json(monkeypatch):
    told = json.loads(run(monkeypatch, "show", "resnet3d_10", "--json"))
    assert told["stages"][-1] == {"name": "fc", "shapes": [[400]], "parameters": 512 * 400 + 400}
    assert {"name": "shortcut", "value": "B"}.items() <= told["options"][0].items()


def test_show_tells_of_the_weights_there_are(monkeypatch):
    lines = [line.strip() for line in run(monkeypatch, "show", "resnet3d_50").splitlines()]
    after = lines[lines.index("published weights") + 1 :]
    assert after[0] == "resnet3d_50-kinetics400"
    assert after[1] == "400 classes of Kinetics-400, named"
    assert after[2].startswith("mean of top-1 and top-5 72.2: Kinetics-400, val; video level; windows of 16 frames")
    assert after[3] == "weights: not stated; code: MIT; its file brought by hand"
    assert "1139 classes of Kinetics-700 + Moments in Time + STAIR Actions, names unknown" in after
    assert "none known" in run(monkeypatch, "show", "c3d")
    assert [record["name"] for record in json.loads(run(monkeypatch, "show", "s3d", "--json"))["weights"]] == [
        "s3d-kinetics400"
    ]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["i3d", "slowfast_r50", "densenet3d_264", "i3d_two_stream", "swin3d_t"])
def test_a_network_fits_its_terminal(monkeypatch, width, name):
    for line in run(monkeypatch, "show", name, width=width).splitlines():
        assert len(line) <= width


def test_streams_of_one_stage_stand_below_each_other(monkeypatch):
    lines = [" ".join(line.split()) for line in run(monkeypatch, "show", "slowfast_r50", width=80).splitlines()]
    first = next(number for number, line in enumerate(lines) if line.startswith("res2 "))
    assert lines[first].startswith("res2 320 x 8 x 56 x 56 240,224")
    assert lines[first + 1] == "32 x 32 x 56 x 56"


def test_show_tells_all_about_weights(monkeypatch):
    text = run(monkeypatch, "show", "r2plus1d_18-kinetics400")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "network r2plus1d_18" in lines
    assert any(line.startswith("figure top-1 67.5, top-5 86.2: Kinetics-400, split not stated; vid") for line in lines)
    assert any(line.startswith("figure top-1 57.5, top-5 78.8: Kinetics-400, split not stated; clip") for line in lines)
    assert "file r2plus1d_18-91a641e6.pth; SHA-256 begins with 91a641e6" in lines
    assert "https://download.pytorch.org/models/r2plus1d_18-91a641e6.pth" in lines
    assert json.loads(run(monkeypatch, "show", "rgb_imagenet", "--json"))["name"] == "i3d-kinetics400-imagenet"


def test_download_prints_the_path_of_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "cache"))
    record = WeightsRecord(
        name="resnet3d_10-toy",
        architecture="resnet3d_10",
        publisher="somebody",
        files=(RemoteFile("toy.pth", page="https://example.org"),),
        classes=ClassSet("toy", 2),
        licence=Licence("MIT"),
        options={"widen_factor": 0.125},
    )
    monkeypatch.setitem(lookup._TABLE, record.name, record)
    downloads_folder().mkdir(parents=True)
    torch.save(create_model("resnet3d_10", 2, widen_factor=0.125).state_dict(), downloads_folder() / "toy.pth")
    path = tmp_path / "cache" / "weights" / "resnet3d_10-toy.safetensors"

    assert run(monkeypatch, "download", record.name).splitlines()[-1] == str(path)
    assert not read_card(path).labels.is_known

    (tmp_path / "names.txt").write_text("calm\nfight\n")
    copy = tmp_path / "named.safetensors"
    told = run(monkeypatch, "download", record.name, "--out", str(copy), "--labels", str(tmp_path / "names.txt"))
    assert told.splitlines()[-1] == str(copy)
    assert read_card(copy).labels.names == ("calm", "fight")


def test_labels_need_a_copy_to_stand_in():
    with pytest.raises(UsageError, match="--labels without --out"):
        CliRunner().invoke(models.app, ["download", "x3d_s-kinetics400", "--labels", "a"], catch_exceptions=False)


def test_a_misspelt_name_is_answered():
    with pytest.raises(UsageError, match="did you mean 'resnet3d_18'"):
        CliRunner().invoke(models.app, ["show", "resnet_18"], catch_exceptions=False)


def test_publish_writes_a_folder_that_is_read_again(tmp_path, monkeypatch):
    card = ModelCard("resnet3d_10", {"widen_factor": 0.125}, 3, LabelMap.of(["calm", "fight"]), InputSpec(), {})
    save_weights(tmp_path / "w.safetensors", create_model("resnet3d_10", 2, widen_factor=0.125), card)
    folder = tmp_path / "net"

    told = run(monkeypatch, "publish", str(tmp_path / "w.safetensors"), str(folder))
    assert told == f"{folder}: model.safetensors, config.json, README.md\n"
    assert weights_path(str(folder)) == folder / "model.safetensors"

    (folder / "README.md").write_text("# Mine\n")
    told = json.loads(run(monkeypatch, "publish", str(folder), str(folder), "--json"))
    assert told == {"place": str(folder), "written": ["model.safetensors", "config.json"], "kept": ["README.md"]}
