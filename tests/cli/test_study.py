"""`kinema study`: what it lists, runs, reports and refuses."""

import csv
import json
import shutil

import pytest
import yaml

SETTINGS = {
    "model": "resnet3d_10", "model_options": {"widen_factor": 0.125, "conv1_t_size": 3}, "frames": 4, "stride": 2,
    "size": 16, "short_side": 24, "epochs": 1, "batch_size": 4, "device": "cpu",
}  # fmt: skip


@pytest.fixture
def study(tiny_clips, tmp_path, monkeypatch):
    """A study of two rates on eight clips, in the current folder."""
    monkeypatch.chdir(tmp_path)
    rows = [row for row in csv.DictReader(tiny_clips.read_text().splitlines()) if row["path"].endswith("-00.mp4")]
    for number, row in enumerate(rows):
        (tmp_path / row["path"]).parent.mkdir(exist_ok=True)
        shutil.copy(tiny_clips.parent / row["path"], tmp_path / row["path"])
        row["split"] = "train" if number < 4 else "test"
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    path = tmp_path / "rates.yaml"
    path.write_text(yaml.safe_dump({"data": "clips.csv", "settings": SETTINGS, "axes": {"lr": [0.001, 0.01]}}))
    return path


def test_a_study_is_listed_run_and_told(kinema_command, study):
    listed = kinema_command("study", study.name, "--dry-run")
    assert (listed.code, listed.out.splitlines()) == (
        0, ["to run  lr=0.001", "to run  lr=0.01", "2 runs; 0 of 2 finished in studies/rates"],
    )  # fmt: skip
    assert not (study.parent / "studies").exists()
    ran = kinema_command("study", study.name)
    assert ran.code == 0, ran.err
    assert "1/2  lr=0.001  " in ran.err
    assert "2/2  lr=0.01  " in ran.err
    assert "epoch 1/1" not in ran.err
    assert "By lr" in ran.out
    assert "cannot separate" in ran.err
    assert "report   studies/rates/report.html" in ran.out
    again = kinema_command("study", study.name, "--json")
    told = json.loads(again.out)
    assert (told["done"], told["failed"], told["missing"]) == (2, {}, [])
    assert told["runs"] == ["lr=0.001", "lr=0.01"]
    assert "2 of 2 runs are finished already" in again.err
    (study.parent / "studies" / "rates" / "report.html").unlink()
    assert kinema_command("study", study.name, "--report").code == 0
    assert (study.parent / "studies" / "rates" / "report.html").exists()


def test_a_run_that_fails_leaves_with_6_and_is_named(kinema_command, study):
    content = yaml.safe_load(study.read_text())
    content["axes"] = {"how": {"well": {}, "badly": {"test_fraction": 0.2, "clip_padding": "none", "frames": 500}}}
    study.write_text(yaml.safe_dump(content))
    ran = kinema_command("study", study.name)
    assert ran.code == 6
    assert "badly: failed: " in ran.err
    assert "report   studies/rates/report.html" in ran.out
    with (study.parent / "studies" / "rates" / "results.csv").open(encoding="utf-8-sig") as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert (rows["well"]["standing"], rows["badly"]["standing"]) == ("done", "failed")
    assert rows["badly"]["error"]


def test_a_study_of_which_every_run_fails_leaves_with_6_and_its_errors_are_kept(kinema_command, study):
    content = yaml.safe_load(study.read_text())
    content["settings"] |= {"test_fraction": 0.2, "clip_padding": "none", "frames": 500}
    study.write_text(yaml.safe_dump(content))
    ran = kinema_command("study", study.name)
    assert ran.code == 6
    assert ran.out == "results  studies/rates/results.csv\n"
    assert all(f"failed: {name}: " in ran.err for name in ("lr=0.001", "lr=0.01"))
    with (study.parent / "studies" / "rates" / "results.csv").open(encoding="utf-8-sig") as file:
        assert all(row["standing"] == "failed" and row["error"] for row in csv.DictReader(file))
    again = kinema_command("study", study.name, "--json")
    told = json.loads(again.out)
    assert (again.code, list(told["failed"]), told["report"]) == (6, ["lr=0.001", "lr=0.01"], None)
    assert told["results"] == "studies/rates/results.csv"
    listed = kinema_command("study", study.name, "--dry-run")
    assert (listed.code, listed.out.splitlines()[0]) == (0, "failed  lr=0.001")


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"axis": {}}, 2, "did you mean 'axes'"),
        ({"settings": {"epochs": 0}}, 2, "2 runs (lr=0.001, lr=0.01): epochs = 0"),
        ({"data": "clisp.csv"}, 3, "2 runs (lr=0.001, lr=0.01): there is no"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(kinema_command, study, change, code, said):
    study.write_text(yaml.safe_dump({**yaml.safe_load(study.read_text()), **change}))
    ran = kinema_command("study", study.name)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert not (study.parent / "studies").exists()


@pytest.mark.parametrize("other", [["--dry-run"], ["--workers", 2]])
def test_a_report_takes_no_other_orders(kinema_command, study, other):
    ran = kinema_command("study", study.name, "--report", *other)
    assert (ran.code, ran.out) == (2, "")
    assert f"error: --report and {other[0]}\n" in ran.err


@pytest.mark.parametrize("out", ["[a]x", "[/a]"])
def test_the_folder_is_shown_as_it_is(kinema_command, study, out):
    listed = kinema_command("study", study.name, "--dry-run", "--out", f"studies/{out}")
    assert listed.code == 0
    assert listed.out.endswith(f"finished in studies/{out}\n")


def test_nothing_to_report_is_said(kinema_command, study):
    ran = kinema_command("study", study.name, "--report")
    assert ran.code == 2
    assert "no run of rates.yaml is finished in studies/rates" in ran.err
