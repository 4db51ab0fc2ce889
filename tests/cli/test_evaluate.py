"""`kinema evaluate`: figures for people and programs, files if asked for."""

import json
import shutil

import pytest

from kinema.evaluation.estimate import Estimate
from kinema.evaluation.protocol import Views


@pytest.fixture(scope="module")
def best(tiny_run):
    return tiny_run / "best.safetensors"


def figures(estimate):
    return str(Estimate(**estimate))


def test_json_is_all_that_is_on_stdout(kinema_command, best, tiny_clips):
    ran = kinema_command("evaluate", best, tiny_clips, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.count("\n") == 1
    found = json.loads(ran.out)
    assert found["split"] == "test"
    assert found["video"]["n"] == 8
    assert found["clip"]["n"] > 8
    assert found["protocol"]["views"] == Views().describe(8)


def test_people_read_the_same_figures(kinema_command, best, tiny_clips):
    told = json.loads(kinema_command("evaluate", best, tiny_clips, "--json").out)
    ran = kinema_command("evaluate", best, tiny_clips)
    assert ran.code == 0
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert lines[0] == f"8 held-out videos; as the data set names its splits; {Views().describe(8)}"
    for level in ("video", "clip"):
        accuracy = figures(told[level][f"{level}_top1_accuracy"])
        assert f"{level} top-1 accuracy {accuracy} n = {told[level]['n']}" in lines
        assert f"{level} ROC-AUC {figures(told[level][f'{level}_roc_auc'])}" in lines
        assert f"{level} macro F1 {figures(told[level][f'{level}_macro_f1'])}" in lines
    for row in told["video"]["video_per_class"]:
        (line,) = [line for line in lines if line.startswith(("│ " + row["label"], "| " + row["label"]))]
        assert f"{row['recall']:.3f}" in line
        assert str(row["support"]) in line
    for warning in told["warnings"]:
        assert f"warning: {warning}" in ran.err
        assert warning not in ran.out
    assert told["warnings"]


@pytest.mark.parametrize(("split", "count"), [("train", 12), ("val", 4), ("all", 24)])
def test_the_split_is_chosen(kinema_command, best, tiny_clips, split, count):
    found = json.loads(kinema_command("evaluate", best, tiny_clips, "--json", "--split", split).out)
    assert (found["split"], found["video"]["n"]) == (split, count)


def test_stride_and_still_reach_the_views(kinema_command, best, tiny_clips):
    ran = kinema_command("evaluate", best, tiny_clips, "--json", "--stride", 8, "--still")
    found = json.loads(ran.out)
    assert found["protocol"]["views"] == Views(8, still=True).describe(8)


def test_files_are_written_where_asked(kinema_command, best, tiny_clips, tmp_path):
    ran = kinema_command("evaluate", best, tiny_clips, "--json", "--out", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.html", "metrics.json", "predictions.csv"}
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == json.loads(ran.out)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--split", "tset"], 2, "did you mean 'test'"),
        (["--device", "gpu"], 2, "no device 'gpu'"),
        (["--fusion", "bogus"], 2, "--fusion bogus without --fuse"),
        (["--stride", "9"], 2, "a hop from 1 to the window's 8 frames"),
        (["--stride", "0"], 2, "--stride"),
    ],
)
def test_mistakes_are_told_on_stderr(kinema_command, best, tiny_clips, arguments, code, said):
    ran = kinema_command("evaluate", best, tiny_clips, *arguments, "--json")
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


def test_broken_videos_stop_it_or_are_left_out(kinema_command, best, tiny_clips, tmp_path):
    shutil.copytree(tiny_clips.parent, tmp_path / "clips")
    table = tmp_path / "clips" / tiny_clips.name
    broken = (
        tmp_path / "clips" / next(line.split(",")[0] for line in table.read_text().splitlines() if ",test," in line)
    )
    broken.write_bytes(b"no video")
    ran = kinema_command("evaluate", best, table, "--json")
    assert (ran.code, ran.out) == (3, "")
    assert str(broken) in ran.err
    assert "--skip-broken" in ran.err
    found = json.loads(kinema_command("evaluate", best, table, "--json", "--skip-broken").out)
    assert found["video"]["n"] == 7
    assert [file["path"] for file in found["broken"]] == [str(broken)]
