"""An examination: which videos it chooses, what it refuses, what it leaves behind."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinema.core.errors import BrokenFilesError, DataError, UsageError, WeightsError
from kinema.core.labels import LabelMap
from kinema.core.progress import Silent
from kinema.datasets.cache import FrameCache
from kinema.datasets.manifest import read_manifest
from kinema.datasets.sample import Sample
from kinema.datasets.splits import SplitRule, make_splits
from kinema.evaluation import examine as examine_module
from kinema.evaluation.examine import (
    _write_predictions,
    examine,
    pool,
    report_of,
    write_examination,
)
from kinema.evaluation.part import describe_rule, readable
from kinema.evaluation.protocol import ScoredVideo, Views
from kinema.evaluation.report import BrokenFile, Protocol
from kinema.models.weights import load_weights, save_weights


def run(weights, data, **options):
    asked = {"split": "test", "views": Views(), "skip_broken": False, "device": "cpu", "out": None, **options}
    return examine(weights, data, **asked, progress=Silent())


@pytest.fixture(scope="module")
def best(tiny_run):
    return tiny_run / "best.safetensors"


@pytest.fixture
def unsplit(tiny_clips, tmp_path):
    """The rendered clips with their groups and without a split column."""
    for label in ("normal", "selfharm"):
        shutil.copytree(tiny_clips.parent / label, tmp_path / "clips" / label)
    rows = list(csv.DictReader(tiny_clips.read_text().splitlines()))
    table = tmp_path / "clips" / "clips.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label", "group"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return table


@pytest.fixture
def weights_of(best, tmp_path):
    """The same network with another card."""

    def write(**changes):
        loaded = load_weights(best)
        path = tmp_path / "other.safetensors"
        save_weights(path, loaded.model, replace(loaded.card, **changes))
        return path

    return write


def paths(found):
    return [video.sample.path for video in found.scored]


@pytest.mark.parametrize("split", ["train", "val", "test", "all"])
def test_the_split_of_the_column_is_taken(best, tiny_clips, split):
    found = run(best, tiny_clips, split=split)
    samples = read_manifest(tiny_clips).samples
    wanted = [sample.path for sample in samples if split in (sample.split, "all")]
    assert paths(found) == wanted
    assert found.video.n == len(wanted)
    assert found.split == split
    said = "all samples of the data set" if split == "all" else "as the data set names its splits"
    assert found.protocol.split == said
    called = {"train": "training", "val": "validation", "test": "held-out", "all": "labelled"}[split]
    assert found.protocol.samples == called


def test_a_split_that_the_data_does_not_name_is_made_again(unsplit, weights_of):
    manifest = read_manifest(unsplit)
    (split,) = make_splits(manifest, SplitRule(by="group", seed=4))
    weights = weights_of(provenance={"split": split.to_json()})
    for name in ("train", "val", "test"):
        found = run(weights, unsplit, split=name)
        assert paths(found) == [manifest.samples[index].path for index in getattr(split, name)]
        assert found.protocol.split == "split by group, seed 4"


def test_a_fold_is_made_again(unsplit, weights_of):
    manifest = read_manifest(unsplit)
    fold = make_splits(manifest, SplitRule(by="group", folds=3, seed=1))[2]
    found = run(weights_of(provenance={"split": fold.to_json()}), unsplit)
    assert paths(found) == [manifest.samples[index].path for index in fold.test]
    assert found.protocol.split == "3 folds, split by group, seed 1, fold 3"


def test_leaks_and_warnings_of_a_split_come_along(unsplit, weights_of):
    rule = SplitRule(by="random", seed=0, allow_leak=True)
    (split,) = make_splits(read_manifest(unsplit), rule)
    assert split.leaks
    found = run(weights_of(provenance={"split": split.to_json()}), unsplit)
    assert set(split.leaks) <= set(found.warnings)
    assert set(split.leaks) <= set(found.to_json()["warnings"])


def test_other_data_than_was_split_is_refused(unsplit, weights_of):
    (split,) = make_splits(read_manifest(unsplit), SplitRule(by="group"))
    weights = weights_of(provenance={"split": split.to_json()})
    rows = unsplit.read_text().splitlines()
    unsplit.write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(DataError, match="not the data set that was split"):
        run(weights, unsplit)
    assert run(weights, unsplit, split="all").video.n == 23


def test_a_split_nobody_knows_is_refused(best, tiny_clips, unsplit, weights_of):
    with pytest.raises(DataError, match="neither do the weights") as caught:
        run(weights_of(provenance={}), unsplit)
    assert "--split all" in caught.value.next_step
    with pytest.raises(UsageError, match="--split tset; did you mean 'test'"):
        run(best, tiny_clips, split="tset")


def test_other_data_than_the_weights_were_trained_on_is_told(unsplit, weights_of):
    (split,) = make_splits(read_manifest(unsplit), SplitRule(by="group"))
    rows = [row.rpartition(",")[0] for row in unsplit.read_text().splitlines()]
    unsplit.write_text("\n".join(rows))  # no groups any more
    with pytest.raises(DataError, match=r"cannot be made again: .* no groups") as caught:
        run(weights_of(provenance={"split": split.to_json()}), unsplit)
    assert "--split all" in caught.value.next_step


def test_a_split_that_another_program_recorded_is_none(unsplit, weights_of):
    for record in ({"train": "list01"}, {"rule": None, "fold": 1, "samples": 3}):
        with pytest.raises(DataError, match="neither do the weights"):
            run(weights_of(provenance={"split": record}), unsplit)


def test_leaks_of_the_column_are_told(best, tiny_clips, tmp_path):
    shutil.copytree(tiny_clips.parent, tmp_path / "clips")
    table = tmp_path / "clips" / tiny_clips.name
    assert not run(best, table).notes
    rows = list(csv.DictReader(table.read_text().splitlines()))
    named = {row["group"] for row in rows}

    def written(columns, **changes):
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(row | changes for row in rows)
        return run(best, table)

    assert len(named) == 6
    assert written(["path", "label", "split", "group"], group="one room").notes == (
        "1 group has clips in both train and val",
        "1 group has clips in both train and test",
        "1 group has clips in both val and test",
    )
    found = written(["path", "label", "split"])
    assert found.notes[0].startswith("there is no group column")
    assert set(found.notes) <= set(found.warnings)


def test_all_of_what_was_trained_on_is_told(best, tiny_clips, unsplit):
    assert run(best, tiny_clips, split="all").notes[0].startswith("these videos were trained on")
    assert not any("trained on" in note for note in run(best, tiny_clips, split="test").notes)
    rows = unsplit.read_text().splitlines()
    unsplit.write_text("\n".join(rows[:-1]))
    assert run(best, unsplit, split="all").notes == ()


def test_layers_that_were_never_trained_are_told(weights_of, tiny_clips):
    found = run(weights_of(provenance={"fresh_tensors": ["fc.weight", "fc.bias"]}), tiny_clips)
    assert found.warnings[0].startswith("fc.weight, fc.bias had no values when the weights were converted")


def test_labels_that_the_network_does_not_know_are_named(best, unsplit):
    unsplit.write_text(unsplit.read_text().replace(",normal,", ",nromal,"))
    with pytest.raises(DataError, match="does not know: nromal") as caught:
        run(best, unsplit, split="all")
    assert caught.value.allowed == "normal, selfharm"


def test_a_network_whose_classes_nobody_named_is_refused(weights_of, tiny_clips):
    with pytest.raises(WeightsError, match="names of these 2 classes are unknown"):
        run(weights_of(labels=LabelMap.unknown(2)), tiny_clips)


def test_fewer_classes_than_the_network_has_will_do(best, tiny_clips):
    rows = [line for line in tiny_clips.read_text().splitlines() if ",selfharm," not in line]
    table = tiny_clips.parent / "one-class.csv"
    table.write_text("\n".join(rows) + "\n")
    found = run(best, table, split="all")
    assert found.video.labels.names == ("normal", "selfharm")
    assert [row.support for row in found.video.per_class] == [12, 0]


def test_broken_files_stop_it_or_are_left_out_and_listed(best, unsplit, tmp_path):
    broken = min((unsplit.parent / "normal").glob("*.mp4"))
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(BrokenFilesError) as caught:
        run(best, unsplit, split="all")
    assert list(caught.value.broken) == [broken]
    assert caught.value.total == 24
    found = run(best, unsplit, split="all", skip_broken=True, out=tmp_path / "out")
    assert found.video.n == 23
    assert broken not in paths(found)
    assert [file.path for file in found.broken] == [str(broken)]
    assert any("1 broken" in warning for warning in found.warnings)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["broken"][0]["path"] == str(broken)
    assert broken.name in (tmp_path / "out" / "report.html").read_text()


@pytest.fixture
def segments(tiny_clips, tmp_path):
    """Two recordings of 2 s as five segments, one of them behind the end."""
    samples = read_manifest(tiny_clips).samples
    for name, label in (("a", "normal"), ("b", "selfharm")):
        shutil.copy(next(sample.path for sample in samples if sample.label == label), tmp_path / f"{name}.mp4")
    rows = ["a.mp4,normal,0,1", "a.mp4,normal,1,2", "a.mp4,normal,10,", "b.mp4,selfharm,0,1", "b.mp4,selfharm,1,2"]
    (tmp_path / "segments.csv").write_text("\n".join(["path,label,start_seconds,end_seconds", *rows]))
    return tmp_path / "segments.csv"


def test_a_bad_segment_takes_no_other_with_it(best, segments):
    first = segments.with_name("a.mp4")
    with pytest.raises(BrokenFilesError) as caught:
        run(best, segments, split="all")
    assert caught.value.broken == {first: "no frame between 10.0 s and the end"}
    assert caught.value.total == 2
    found = run(best, segments, split="all", skip_broken=True)
    assert [video.sample.start_seconds for video in found.scored] == [0, 1, 0, 1]
    assert [file.path for file in found.broken] == [f"{first} from 10 s to the end"]


def test_a_file_without_a_readable_segment_is_listed_once(best, segments):
    segments.with_name("a.mp4").write_bytes(b"no video")
    found = run(best, segments, split="all", skip_broken=True)
    assert found.video.n == 2
    assert [file.path for file in found.broken] == [str(segments.with_name("a.mp4"))]


def test_broken_files_of_other_splits_do_not_matter(best, tiny_clips, tmp_path):
    shutil.copytree(tiny_clips.parent, tmp_path / "clips")
    table = tmp_path / "clips" / tiny_clips.name
    trained = next(sample.path for sample in read_manifest(table).samples if sample.split == "train")
    trained.write_bytes(b"no video")
    assert run(best, table).video.n == 8


def test_not_one_readable_video(tmp_path):
    samples = [Sample(tmp_path / f"{name}.mp4", "a") for name in "ab"]
    for sample in samples:
        sample.path.write_bytes(b"no video")
    with pytest.raises(DataError, match="not one of these videos"):
        readable(samples, FrameCache(32), skip_broken=True, progress=Silent())


def test_the_files_it_leaves(best, tiny_clips, tmp_path):
    found = run(best, tiny_clips, out=tmp_path / "new" / "out")
    folder = tmp_path / "new" / "out"
    assert {path.name for path in folder.iterdir()} == {"report.html", "metrics.json", "predictions.csv"}
    assert json.loads((folder / "metrics.json").read_text()) == json.loads(json.dumps(found.to_json()))
    rows = list(csv.DictReader((folder / "predictions.csv").read_text().splitlines()))
    for row, video in zip(rows, found.scored, strict=True):
        assert tiny_clips.parent / row["path"] == video.sample.path
        assert row["group"] == video.sample.group
        assert row["label"] == video.sample.label
        assert row["predicted"] == ("normal", "selfharm")[int(video.video.argmax())]
        assert [float(row["p_normal"]), float(row["p_selfharm"])] == pytest.approx(video.video.tolist(), abs=1e-6)
    page = (folder / "report.html").read_text()
    assert f"best.safetensors on {tiny_clips.name}" in page
    assert "sliding windows of 8 frames every 4 frames" in page


def test_a_folder_is_called_by_its_name(best, unsplit, tmp_path, monkeypatch):
    monkeypatch.chdir(unsplit.parent)
    run(best, ".", split="all", out=tmp_path / "out")
    assert "best.safetensors on clips" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("out", ["taken", "taken/below"])
def test_what_cannot_be_written_is_told_before_anything_is_read(best, tiny_clips, tmp_path, monkeypatch, out):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setattr(examine_module, "part_of", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(DataError, match="taken is a file") as caught:
        run(best, tiny_clips, out=tmp_path / out)
    assert "--out" in caught.value.next_step


def test_windows_that_leave_gaps_are_told_before_anything_is_read(best, tiny_clips, monkeypatch):
    monkeypatch.setattr(examine_module, "part_of", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(UsageError, match="windows of 8 frames every 9 frames"):
        run(best, tiny_clips, views=Views(9))


def test_views_reach_the_scores_and_the_protocol(best, tiny_clips):
    usual, dense = run(best, tiny_clips), run(best, tiny_clips, views=Views(1))
    assert dense.clip.n > 3 * usual.clip.n
    assert "every 1 frames" in dense.protocol.views
    still = run(best, tiny_clips, views=Views(still=True))
    assert "middle frame" in still.to_json()["protocol"]["views"]
    assert any((one.clips != other.clips).any() for one, other in zip(usual.scored, still.scored, strict=True))


ABC = LabelMap.of(["a", "b", "c"])


def scored(label, rows, group=None, name="v.mp4", **times):
    return ScoredVideo(Sample(Path("/clips") / name, label, group=group, **times), np.array(rows, np.float32))


def pooled(videos, **options):
    return pool(videos, ABC, split="test", protocol=Protocol("a split", "views"), root=Path("/clips"), **options)


def test_both_levels_are_measured_by_hand():
    """A video's score is the mean of its windows: right at one level may be wrong at the other."""
    found = pooled(
        [
            scored("a", [[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2]], name="1.mp4"),
            scored("b", [[0.1, 0.8, 0.1]], name="2.mp4"),
            scored("c", [[0.2, 0.2, 0.6], [0.2, 0.2, 0.6]], name="3.mp4"),
        ]
    )
    assert found.video.confusion == ((0, 1, 0), (0, 1, 0), (0, 0, 1))
    assert found.clip.confusion == ((2, 1, 0), (0, 1, 0), (0, 0, 2))
    assert (found.video.n, found.clip.n) == (3, 6)
    assert found.clip.groups == 3  # clips of one video belong together
    assert found.video.groups is None


def test_segments_of_one_file_are_a_group():
    videos = [scored("a", [[1, 0, 0]], start_seconds=start) for start in (0.0, 1.0)]
    found = pooled([*videos, scored("b", [[0, 1, 0]], name="other.mp4")])
    assert (found.video.n, found.video.groups) == (3, 2)


def test_groups_reach_both_levels():
    sure = [[0.8, 0.1, 0.1]]
    found = pooled([scored("a", sure * 2, group, f"{i}.mp4") for i, group in enumerate(["x", "x", "y", None])])
    assert found.video.groups == found.clip.groups == 3


def test_mistakes_are_shown_surest_first(best):
    card = load_weights(best).card
    videos = [scored("a", [[0.1, 0.9 - n / 100, n / 100]], name=f"{n:02}.mp4") for n in range(25)]
    found = pooled([*videos, scored("b", [[0.0, 1.0, 0.0]], name="right.mp4")])
    mistakes = report_of("title", found, card).mistakes
    assert len(mistakes) == 20
    assert [mistake.path for mistake in mistakes] == [f"{n:02}.mp4" for n in range(20)]
    assert (mistakes[0].truth, mistakes[0].prediction) == ("a", "b")
    assert mistakes[0].probability == pytest.approx(0.9)


def test_segments_and_strange_places_are_written_in_full(best, tmp_path):
    outside = ScoredVideo(Sample(Path("/else/v.mp4"), "b"), np.array([[0.2, 0.3, 0.5]], np.float32))
    found = pooled([scored("a", [[1, 0, 0]], start_seconds=1.5, end_seconds=2.5), outside])
    write_examination(tmp_path, found, report_of("title", found, load_weights(best).card))
    assert (tmp_path / "predictions.csv").read_text().splitlines() == [
        "path,start_seconds,end_seconds,group,label,predicted,p_a,p_b,p_c",
        "v.mp4,1.5,2.5,,a,a,1.000000,0.000000,0.000000",
        "/else/v.mp4,,,,b,c,0.200000,0.300000,0.500000",
    ]


def test_warnings_are_told_once_and_notes_first():
    sure = [[0.8, 0.1, 0.1]]
    broken = [BrokenFile("/clips/x.mp4", "cut short")]
    found = pooled([scored("a", sure), scored("b", sure)], notes=["a leak", "a leak"], broken=broken)
    assert found.warnings[:2] == ("a leak", "1 broken or skipped files count nowhere")
    assert len(found.warnings) == len(set(found.warnings))
    assert set(found.video.warnings) <= set(found.warnings)


@pytest.mark.parametrize(
    ("fold", "folds", "said"),
    [
        (None, None, "split by group, seed 7"),
        (None, 5, "5 folds, split by group, seed 7"),
        (0, 5, "5 folds, split by group, seed 7, fold 1"),
    ],
)
def test_a_rule_in_words(fold, folds, said):
    rule = SplitRule(by="group", folds=folds, seed=7)
    assert describe_rule({"rule": rule.to_json(), "fold": fold}) == said


def test_nothing_is_written_unasked(best, tiny_clips, monkeypatch):
    monkeypatch.setattr(examine_module, "write_examination", lambda *_: pytest.fail("written"))
    run(best, tiny_clips)


def test_predictions_hold_no_formula(best, tiny_clips, tmp_path):
    from dataclasses import replace

    found = run(best, tiny_clips)
    first = found.scored[0]
    evil = replace(first, sample=replace(first.sample, path=found.root / "=cmd.mp4", group="@x", label="-y"))
    _write_predictions(tmp_path / "p.csv", replace(found, scored=(evil,)))
    (row,) = csv.DictReader((tmp_path / "p.csv").read_text().splitlines())
    assert [row[name] for name in ("path", "group", "label")] == ["'=cmd.mp4", "'@x", "'-y"]


def test_names_that_are_no_text_are_spelt_out(best, tmp_path):
    name = "caf\udce9.mp4"  # what Python makes of a byte that is not UTF-8
    broken = [BrokenFile(f"/clips/{name}", "cut short")]
    found = pooled([scored("a", [[1, 0, 0]], name=name), scored("b", [[0, 1, 0]])], broken=broken)
    write_examination(tmp_path, found, report_of("title", found, load_weights(best).card))
    assert (tmp_path / "predictions.csv").read_text().splitlines()[1].startswith("caf\\udce9.mp4,")
    assert json.loads((tmp_path / "metrics.json").read_text())["broken"][0]["path"] == f"/clips/{name}"
    assert (tmp_path / "report.html").exists()


def test_other_names_are_written_as_they_are(best, tmp_path):
    broken = [BrokenFile("/clips/넘어짐.mp4", "cut short")]
    found = pooled([scored("a", [[1, 0, 0]]), scored("b", [[0, 1, 0]])], broken=broken)
    write_examination(tmp_path, found, report_of("title", found, load_weights(best).card))
    assert "/clips/넘어짐.mp4" in (tmp_path / "metrics.json").read_text(encoding="utf-8")
