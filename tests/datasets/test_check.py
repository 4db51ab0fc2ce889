import json
import shutil
from fractions import Fraction

import numpy as np
import pytest

from kinema.datasets.check import check
from kinema.datasets.manifest import Manifest, Sample, read_manifest
from kinema.datasets.splits import SplitRule, make_splits
from kinema.video.writer import VideoWriter


@pytest.fixture
def data(clip, tmp_path):
    """40 copies of a clip in two classes; two of them, 5 %, do not decode."""
    for number in range(40):
        path = tmp_path / ("calm", "fight")[number % 2] / f"{number:02}.mp4"
        path.parent.mkdir(exist_ok=True)
        shutil.copy(clip, path)
    (tmp_path / "calm/04.mp4").write_bytes(b"no video")
    (tmp_path / "fight/31.mp4").write_bytes(clip.read_bytes()[:400])
    return tmp_path


def test_broken_files_are_named_and_can_be_left_out(data):
    manifest = read_manifest(data)
    broken = dict(check(manifest, workers=0).broken)
    assert set(broken) == {data / "calm/04.mp4", data / "fight/31.mp4"}
    assert all(broken.values())
    (split,) = make_splits(manifest, SplitRule())
    left = split.leave_out(manifest, [sample for sample in manifest.samples if sample.path in broken])
    used = {manifest.samples[index].path for index in (*left.train, *left.val, *left.test)}
    assert used == {sample.path for sample in manifest.samples} - set(broken)


def test_the_report_counts_classes_and_names_what_is_broken(data):
    report = check(read_manifest(data), workers=0)
    assert [path.name for path, _ in report.broken] == ["04.mp4", "31.mp4"]
    assert [(count.label, count.samples, count.files, count.groups) for count in report.classes] == [
        ("calm", 20, 20, None),
        ("fight", 20, 20, None),
    ]
    assert report.classes[0].duration_seconds == pytest.approx(19 * 2.0)
    assert len(report.files) == 40
    assert repr(report) == "CheckReport(40 files, 2 broken, 2 notes)"


def test_the_json_form_is_whole_and_relative(data):
    (data / "notes.txt").touch()
    record = json.loads(json.dumps(check(read_manifest(data), workers=0).to_json()))
    assert (record["schema"], record["version"], record["samples"]) == ("kinema.check", 2, 40)
    assert set(record["broken"]) == {"calm/04.mp4", "fight/31.mp4"}
    assert record["ignored"] == ["notes.txt"]
    assert record["files"][0]["path"] == "calm/00.mp4"
    assert record["files"][0]["frames_decoded"] == 24


def clips(root, clip, *samples):
    """A manifest of (name, label, group, start, end) rows, every file a copy of `clip`."""
    for name, *_ in samples:
        if not (root / name).exists():
            shutil.copy(clip, root / name)
    return Manifest.of(
        root,
        [Sample(root / name, label, None, group, start, end) for name, label, group, start, end in samples],
    )


def notes(manifest, **options):
    return check(manifest, workers=0, **options).notes


def test_a_tidy_data_set_has_no_notes(clip, tmp_path):
    manifest = clips(tmp_path, clip, ("a.mp4", "x", "g", None, 1.0), ("a.mp4", "y", "g", 1.0, None))
    assert notes(manifest, clip_frames=12) == ()


def test_samples_shorter_than_a_clip(clip, tmp_path):
    rows = [("a.mp4", "x", "g", None, None), ("a.mp4", "y", "g", 1.0, None), ("b.mp4", "y", "h", 0.5, 1.0)]
    manifest = clips(tmp_path, clip, *rows)
    assert any(note.startswith("2 samples (a.mp4, …) shorter than a clip of 16 frames") for note in notes(manifest))
    assert any(
        note.startswith("1 sample (b.mp4) shorter than a clip of 12") for note in notes(manifest, clip_frames=12)
    )
    assert any(note.startswith("3 samples (a.mp4, …) shorter") for note in notes(manifest, clip_frames=25))
    assert not any("shorter" in note for note in notes(manifest, clip_frames=6))


def test_segments_beyond_the_end(clip, tmp_path):
    manifest = clips(
        tmp_path, clip, ("a.mp4", "x", "g", 0.0, 2.5), ("b.mp4", "y", "h", 2.0, 3.0), ("c.mp4", "y", "i", 1.9, 2.0)
    )
    report = check(manifest, workers=0)
    assert dict(report.broken) == {tmp_path / "b.mp4": "a sample starts at 2 s, but the video lasts 2.000 s"}
    assert "2 samples (a.mp4, …) said to end after the end of the file" in report.notes


def test_unequal_classes(clip, tmp_path):
    rows = [(f"{number}.mp4", "ab"[number == 0], f"g{number}", None, None) for number in range(5)]
    assert "'a' has 4 samples, 'b' only 1: weigh the classes" in notes(clips(tmp_path, clip, *rows))
    assert not any("weigh" in note for note in notes(clips(tmp_path, clip, *rows[:4])))


def test_copies_of_one_file(clip, tmp_path):
    manifest = clips(tmp_path, clip, ("a.mp4", "x", "g", None, None), ("b.mp4", "y", "h", None, None))
    assert "1 file (b.mp4) the same, byte for byte, as another" in notes(manifest)


def test_uneven_rates(clip, tmp_path):
    shutil.copy(clip, tmp_path / "a.mp4")
    with VideoWriter(tmp_path / "b.mp4", fps=30, size=(32, 32), time_base=Fraction(1, 1000)) as writer:
        writer.write(np.zeros((20, 32, 32, 3), np.uint8), pts=[number * number for number in range(20)])
    manifest = clips(tmp_path, clip, ("a.mp4", "x", "g", None, None), ("b.mp4", "y", "h", None, None))
    found = notes(manifest)
    assert "1 file (b.mp4) with a variable frame rate" in found
    assert any(note.startswith("2 frame rates from 12 to ") for note in found)


def test_without_groups(clip, tmp_path):
    manifest = clips(tmp_path, clip, ("a.mp4", "x", None, None, None), ("b.mp4", "y", None, None, None))
    (told,) = (note for note in notes(manifest) if note.startswith("no groups: a split cannot keep clips of one recor"))
    assert "kinema data split --group-by clusters" in told


@pytest.fixture(scope="module")
def films(scenes, tmp_path_factory):
    """One film three times (as it is, its bytes again, coded again), another of its place, and a black one."""
    root = tmp_path_factory.mktemp("films")
    scenes.write(root / "film.mp4", scenes.frames(1, 1))
    shutil.copy(root / "film.mp4", root / "copy.mp4")
    scenes.write(root / "again.mp4", scenes.frames(1, 1), crf=35)
    scenes.write(root / "place.mp4", scenes.frames(1, 2))
    scenes.write(root / "black.mp4", np.zeros((24, 32, 32, 3), np.uint8))
    return root


def of_films(films, **where):
    """A check of films, each by its stem, with their (split, group)."""
    rows = [Sample(films / f"{stem}.mp4", "x", split, group) for stem, (split, group) in where.items()]
    return check(Manifest.of(films, rows), workers=0)


def test_black_and_frozen_files_are_noted(films):
    report = of_films(films, black=(None, "g"), film=(None, "h"))
    assert "1 file (black.mp4) black for most of the frames" in report.notes
    assert "1 file (black.mp4) frozen for most of the frames" in report.notes


def test_near_duplicates_across_splits_are_leaks(films):
    report = of_films(films, film=("train", "g"), again=("test", "g"))
    assert not report.fine
    assert len(report.leaks) == 1
    assert (
        "1 pair (film.mp4 and again.mp4) of near duplicates: one film, coded, scaled, cut or mirrored differently,"
        " but in different splits" in report.notes
    )
    assert not any("different groups" in note for note in report.notes)


def test_copies_across_splits_are_leaks(films):
    report = of_films(films, film=("train", "g"), copy=("test", "h"))
    assert not report.fine
    for across in ("splits", "groups"):
        assert f"1 pair (film.mp4 and copy.mp4) of the same bytes, but in different {across}" in report.notes


def test_one_place_across_splits_is_noted_and_no_leak(films):
    report = of_films(films, film=("train", "g"), place=("val", "h"))
    assert report.fine
    assert "1 pair (film.mp4 and place.mp4) of one background, but in different splits" in report.notes


def test_what_is_alike_in_one_split_and_group_is_fine(films):
    report = of_films(films, film=("train", "g"), copy=("train", "g"), again=("train", "g"), place=("train", "g"))
    assert report.fine
    assert report.crossings == ()
    assert len(set(report.likeness.clusters)) == 1


def test_the_json_form_lists_pairs_across_splits_first(films):
    where = {"film": ("train", "g"), "copy": ("train", "g"), "place": ("test", "h"), "again": ("test", "g")}
    record = json.loads(json.dumps(of_films(films, **where).to_json()))
    assert record["alike_pairs"] == len(record["alike"]) == 6
    assert record["alike"][0].keys() == {
        "first", "second", "kind", "background", "motion", "mirrored", "across_splits", "across_groups",
    }  # fmt: skip
    assert [(pair["first"], pair["second"], pair["kind"]) for pair in record["alike"][:2]] == [
        ("film.mp4", "again.mp4", "near duplicate"),
        ("copy.mp4", "again.mp4", "near duplicate"),
    ]
    assert [pair["across_splits"] for pair in record["alike"]] == [True] * 4 + [False] * 2
    assert record["files"][0]["cluster"] == 0
    assert "look" not in record["files"][0]
