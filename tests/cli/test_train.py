"""`kinema train`: settings from three places, one answer on stdout, the course on stderr."""

import csv
import json
import shutil

import pytest
import yaml

from kinema.models.weights import read_card

SMALL = (
    "--model", "resnet3d_10", "--set", "model_options.widen_factor=0.125", "--set", "model_options.conv1_t_size=3",
    "--frames", 8, "--stride", 2, "--size", 32, "--epochs", 1, "--batch-size", 4, "--device", "cpu",
)  # fmt: skip


@pytest.fixture
def few(tiny_clips, tmp_path):
    """Eight of the rendered clips, with a split column."""
    rows = list(csv.DictReader(tiny_clips.read_text().splitlines()))
    chosen = [row for row in rows if "-00.mp4" in row["path"]]
    for row in chosen:
        target = tmp_path / "few" / row["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_clips.parent / row["path"], target)
    table = tmp_path / "few" / "clips.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(chosen)
    return table


def settings_of(folder):
    return yaml.safe_load((folder / "config.yaml").read_text())


def test_json_is_all_that_is_on_stdout(kinema_command, few, tmp_path):
    ran = kinema_command("train", few, *SMALL, "--seed", 5, "--out", tmp_path / "run", "--json")
    assert ran.code == 0, ran.err
    assert ran.out.count("\n") == 1
    told = json.loads(ran.out)
    assert told["folder"] == str(tmp_path / "run")
    assert told["weights"] == [str(tmp_path / "run" / "best.safetensors")]
    assert told["report"] == str(tmp_path / "run" / "report.html")
    assert told["seconds"] > 0
    assert told["test"] == json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert "epoch 1/1: train loss " in ran.err
    settings = settings_of(tmp_path / "run")
    assert (settings["frames"], settings["stride"], settings["size"], settings["seed"]) == (8, 2, 32, 5)
    assert read_card(told["weights"][0]).options["widen_factor"] == 0.125


@pytest.mark.parametrize("given", [("--epochs", 3, "--set", "total_steps=100"), ("--stride", 2, "--set", "fps=8")])
def test_one_thing_said_in_two_ways_is_refused_wherever_it_is_said(kinema_command, few, tmp_path, given):
    ran = kinema_command("train", few, *given, "--out", tmp_path / "run")
    assert ran.code == 2
    assert "say the same thing in two ways" in ran.err
    assert not (tmp_path / "run").exists()


def test_people_read_where_things_lie_and_what_they_are_worth(kinema_command, few, tmp_path):
    ran = kinema_command("train", few, *SMALL, "--out", tmp_path / "run")
    assert ran.code == 0, ran.err
    told = json.loads((tmp_path / "run" / "metrics.json").read_text())
    accuracy = told["video"]["video_top1_accuracy"]
    assert f"video top-1 accuracy {accuracy['value']:.2f} [{accuracy['low']:.2f}, {accuracy['high']:.2f}]" in ran.out
    assert f"weights  {tmp_path / 'run' / 'best.safetensors'}" in ran.out
    assert f"report   {tmp_path / 'run' / 'report.html'}" in ran.out
    assert "epoch 1/1" in ran.err
    assert "epoch 1/1" not in ran.out


def test_where_nothing_is_held_out_no_report_is_named(kinema_command, few, tmp_path):
    rows = [line.replace(",test,", ",train,").replace(",val,", ",train,") for line in few.read_text().splitlines()]
    few.write_text("\n".join(rows) + "\n")
    nothing = ("--set", "val_fraction=0", "--set", "test_fraction=0")
    ran = kinema_command("train", few, *SMALL, *nothing, "--out", tmp_path / "run")
    assert ran.code == 0, ran.err
    assert ran.out == f"weights  {tmp_path / 'run' / 'best.safetensors'}\n"
    assert not (tmp_path / "run" / "report.html").exists()


def test_a_recipe_gives_way_to_set_and_both_to_options(kinema_command, few, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump({"lr": 0.1, "momentum": 0.5, "epochs": 9, "label_smoothing": 0.2}))
    ran = kinema_command(
        "train",
        few,
        *SMALL,
        "--recipe",
        recipe,
        "--set",
        "lr=0.01",
        "--set",
        "momentum=0.25",
        "--out",
        tmp_path / "run",
    )
    assert ran.code == 0, ran.err
    settings = settings_of(tmp_path / "run")
    assert [settings[name] for name in ("lr", "momentum", "epochs", "label_smoothing")] == [0.01, 0.25, 1, 0.2]


def test_a_finished_run_resumes_to_its_figures(kinema_command, few, tmp_path):
    first = kinema_command("train", few, *SMALL, "--out", tmp_path / "run", "--json")
    again = kinema_command("train", "--resume", tmp_path / "run", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["test"] == json.loads(first.out)["test"]
    assert "resumed after 1 epochs" in again.err


def test_a_repeated_command_begins_then_goes_on(kinema_command, few, tmp_path):
    command = ("train", few, *SMALL, "--out", tmp_path / "run", "--resume-or-begin", "--json")
    first, again = kinema_command(*command), kinema_command(*command)
    assert (first.code, again.code) == (0, 0), again.err
    assert "resumed" not in first.err
    assert "resumed after 1 epochs" in again.err
    assert json.loads(again.out)["test"] == json.loads(first.out)["test"]


def test_a_repeated_command_with_another_setting_is_refused(kinema_command, tiny_run):
    ran = kinema_command("train", "--recipe", tiny_run / "config.yaml", "--out", tiny_run, "--resume-or-begin",
                         "--epochs", 7)  # fmt: skip
    assert (ran.code, ran.out) == (2, "")
    assert f"epochs = 7, but the run in {tiny_run} was begun with 1" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "no data to train on"),
        (["few", "--model", "resnet3d_10", "--set", "lr"], 2, "--set key=value"),
        (["few", "--model", "resnet3d_10", "--set", "epoch=3"], 2, "did you mean 'epochs'?"),
        (["few", "--model", "resnet3d_10", "--epochs", "0"], 2, "epochs = 0"),
        (["few", "--weights", "absent.safetensors"], 5, "absent.safetensors"),
        (["few", "--recipe", "kinema-smal"], 2, "did you mean 'kinema-small'?"),
        (["few", "--folds", "3"], 2, "--folds 3, but"),
        (["--resume", "absent"], 2, "no run in absent"),
    ],
)
def test_mistakes_are_told_on_stderr_before_anything_is_written(
    kinema_command, few, tmp_path, monkeypatch, arguments, code, said
):
    monkeypatch.chdir(tmp_path)
    ran = kinema_command("train", *(few if word == "few" else word for word in arguments), "--json")
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert said in ran.err
    assert not (tmp_path / "runs").exists()


def test_resuming_takes_no_other_setting(kinema_command, tiny_run):
    for arguments in (["--epochs", 5], ["--out", "elsewhere"], ["--set", "lr=3"], ["--resume-or-begin"]):
        ran = kinema_command("train", "--resume", tiny_run, *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert "beside --resume" in ran.err


def test_a_run_is_not_overwritten(kinema_command, few, tiny_run):
    ran = kinema_command("train", few, *SMALL, "--out", tiny_run)
    assert (ran.code, ran.out) == (2, "")
    assert "holds a run already" in ran.err


def test_the_folder_is_named_after_data_and_model(kinema_command, few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = kinema_command("train", few, *SMALL, "--json")
    assert json.loads(ran.out)["folder"] == "runs/clips-resnet3d_10"
    assert (tmp_path / "runs" / "clips-resnet3d_10" / "best.safetensors").exists()
