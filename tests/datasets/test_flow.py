from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from kinema.core.errors import DataError, UsageError
from kinema.datasets.check import check
from kinema.datasets.check_page import write_check_page
from kinema.datasets.flow import compute_flow, flow_recipe, parse_fps, require_modality
from kinema.datasets.manifest import read_manifest
from kinema.datasets.sample import Sample
from kinema.video.flow import FlowChoice
from kinema.video.flow_record import FlowRecord, FlowSource, read_record, source_of
from kinema.video.flow_source import FlowFile
from kinema.video.writer import VideoWriter

DIS = FlowChoice("dis")
SMALL = {"fps": Fraction(10), "short_side_px": 48, "workers": 0}


def film(path, frames=5, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, 6, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    with VideoWriter(path, fps=10, size=(64, 48)) as writer:
        writer.write(pixels)


@pytest.fixture
def data(tmp_path):
    """Three videos of two classes; one of them cut into segments."""
    for number, name in enumerate(("calm/a.mp4", "calm/b.mp4", "fight/a.mp4")):
        film(tmp_path / "data" / name, seed=number)
    (tmp_path / "data" / "clips.csv").write_text(
        "path,label,split,group,start_seconds,end_seconds\n"
        "calm/a.mp4,calm,train,one,,\n"
        "calm/b.mp4,calm,val,two,0.1,0.3\n"
        "calm/b.mp4,fight,val,two,0.3,\n"
        "fight/a.mp4,fight,test,three,,\n"
    )
    return tmp_path / "data" / "clips.csv"


def flow_of(data, out, **settings):
    return compute_flow(read_manifest(data), out, DIS, **{**SMALL, **settings})


def test_the_rows_stay_what_they_are_and_point_to_flow(data, tmp_path):
    report = flow_of(data, tmp_path / "out")

    made = read_manifest(tmp_path / "out" / "manifest.csv")
    assert made.labels == read_manifest(data).labels
    rows = [(made.relative(row.path), row.label, row.split, row.group, row.start_seconds) for row in made.samples]
    assert rows == [
        ("flow/calm/a/flow.json", "calm", "train", "one", None),
        ("flow/calm/b/flow.json", "calm", "val", "two", 0.1),
        ("flow/calm/b/flow.json", "fight", "val", "two", 0.3),
        ("flow/fight/a/flow.json", "fight", "test", "three", None),
    ]
    assert (report.computed, report.found, report.fields, report.broken) == (3, 0, 12, ())
    assert [row.path for row in report.manifest.samples] == [row.path for row in made.samples]
    for row in made.samples:
        with FlowFile(row.path) as flow:
            assert flow.record.recipe == report.recipe
            assert len(flow.pts) == 4


def test_a_run_goes_on_where_it_stopped(data, tmp_path):
    first = flow_of(data, tmp_path / "out")
    kept = tmp_path / "out" / "flow" / "calm" / "a" / "flow.json"
    before = kept.stat().st_mtime_ns
    (tmp_path / "out" / "flow" / "calm" / "b" / "flow.json").write_text("cut off")
    film(data.parent / "fight" / "a.mp4", frames=7, seed=9)

    second = flow_of(data, tmp_path / "out")

    assert (second.computed, second.found, second.fields) == (2, 1, 4 + 4 + 6)
    assert kept.stat().st_mtime_ns == before
    assert second.recipe == first.recipe
    assert not list((tmp_path / "out").rglob(".*"))


@pytest.mark.slow  # processes take seconds to start
def test_processes_compute_the_same(data, tmp_path):
    flow_of(data, tmp_path / "here")
    report = flow_of(data, tmp_path / "apart", workers=2)

    assert (report.computed, report.fields) == (3, 12)
    here, apart = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.jpg")} for name in ("here", "apart")
    )
    assert len(here) == 8
    assert here == apart


def test_what_does_not_decode_is_left_out_and_named(data, tmp_path):
    (data.parent / "calm" / "b.mp4").write_bytes(b"no video")
    film(data.parent / "fight" / "a.mp4", frames=1)

    report = flow_of(data, tmp_path / "out")

    assert [row.path.parent.name for row in report.manifest.samples] == ["a"]
    assert [path.name for path, _ in report.broken] == ["b.mp4", "a.mp4"]
    assert "not a video" in report.broken[0][1]
    assert "one frame at 10" in report.broken[1][1]
    assert report.to_json()["broken"][0]["path"].endswith("b.mp4")


def test_a_segment_without_a_field_is_left_out_alone(data, tmp_path):
    data.write_text("path,label,start_seconds,end_seconds\ncalm/a.mp4,calm,0,0.2\ncalm/a.mp4,fight,0.4,\n")

    report = flow_of(data, tmp_path / "out")

    assert [row.label for row in report.manifest.samples] == ["calm"]
    assert report.broken == ((data.parent / "calm" / "a.mp4", "no field lies in the segment from 0.4 s to end"),)
    assert report.computed == 1


def test_nothing_at_all_is_an_error(data, tmp_path):
    for path in data.parent.rglob("*.mp4"):
        path.write_bytes(b"no video")

    with pytest.raises(DataError, match="not one of 3 videos has flow"):
        flow_of(data, tmp_path / "out")

    assert not (tmp_path / "out" / "manifest.csv").exists()


def test_another_recipe_needs_another_folder(data, tmp_path):
    flow_of(data, tmp_path / "out")

    with pytest.raises(DataError, match=r"computed otherwise: bound_px 20\.0 and 10\.0\n") as caught:
        flow_of(data, tmp_path / "out", bound_px=10.0)
    assert "another OUT" in caught.value.next_step
    with pytest.raises(DataError, match="algorithm dis and farneback"):
        compute_flow(read_manifest(data), tmp_path / "out", FlowChoice("farneback"), **SMALL)


def test_folders_that_hold_something_else(data, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.csv").touch()
    with pytest.raises(UsageError, match="no flow beside it"):
        flow_of(data, tmp_path / "other")
    data.unlink()
    with pytest.raises(UsageError, match="lies within the data"):
        flow_of(data.parent, data.parent / "flow")


def test_files_that_differ_in_their_ending_alone_stay_apart(tmp_path):
    for name in ("calm/a.mp4", "calm/a.mkv", "fight/b.mp4"):
        film(tmp_path / "data" / name)

    report = flow_of(tmp_path / "data", tmp_path / "out")

    folders = [report.manifest.relative(row.path.parent) for row in report.manifest.samples]
    assert folders == ["flow/calm/a.mkv", "flow/calm/a.mp4", "flow/fight/b"]


def test_a_video_called_like_a_folder_leaves_the_flow_of_what_is_in_it(tmp_path):
    for name in ("calm/cam1/c1.mp4", "calm/cam1.mp4", "fight/b.mp4"):
        film(tmp_path / "data" / name)
    rows = "path,label\ncalm/cam1/c1.mp4,calm\ncalm/cam1.mp4,calm\nfight/b.mp4,fight\n"  # the one above comes last
    (tmp_path / "data" / "clips.csv").write_text(rows)

    report = flow_of(tmp_path / "data" / "clips.csv", tmp_path / "out")

    folders = [report.manifest.relative(row.path.parent) for row in report.manifest.samples]
    assert folders == ["flow/calm/cam1/c1", "flow/calm/cam1.mp4", "flow/fight/b"]
    assert all(row.path.exists() for row in report.manifest.samples)
    assert flow_of(tmp_path / "data" / "clips.csv", tmp_path / "out").found == 3


def test_flow_of_flow_is_refused(data, tmp_path):
    flow_of(data, tmp_path / "out")

    with pytest.raises(DataError, match="is flow already"):
        flow_of(tmp_path / "out" / "manifest.csv", tmp_path / "again")


def test_the_recipe_of_a_data_set(data, tmp_path):
    report = flow_of(data, tmp_path / "out")
    samples = report.manifest.samples

    assert flow_recipe(samples) == report.recipe
    assert flow_recipe(read_manifest(data).samples) is None
    record = read_record(samples[0].path)
    other = FlowRecord(replace(record.recipe, algorithm="tvl1"), 4, 64, 48, FlowSource("a", 1, "0"))
    other.write(samples[0].path.parent)
    with pytest.raises(DataError, match="computed in 2 ways: algorithm tvl1 and dis"):
        flow_recipe(samples)
    samples[0].path.write_text("broken")
    assert flow_recipe(samples) == report.recipe


def test_stores_may_be_mixed_where_the_flow_is_the_same(data, tmp_path):
    one, other = (flow_of(data, tmp_path / store, store=store) for store in ("jpeg", "video"))

    assert flow_recipe((*one.manifest.samples, *other.manifest.samples)) == one.recipe


def test_flow_whose_videos_have_moved_is_kept_and_finds_them(data, tmp_path):
    flow_of(data, tmp_path / "out")
    stored = tmp_path / "out" / "flow" / "calm" / "a" / "flow.json"
    assert source_of(stored) == tmp_path / "data" / "calm" / "a.mp4"
    (tmp_path / "data").rename(tmp_path / "elsewhere")

    again = flow_of(tmp_path / "elsewhere" / "clips.csv", tmp_path / "out")

    assert (again.computed, again.found) == (0, 3)
    assert source_of(stored) == tmp_path / "elsewhere" / "calm" / "a.mp4"


def test_pictures_and_flow_are_not_confused():
    video, flow = (Sample(Path("/data") / name, "calm") for name in ("a.mp4", "a/flow.json"))

    require_modality([video], "rgb")
    require_modality([video], "difference")
    require_modality([flow], "flow")
    with pytest.raises(DataError, match=r"1 of 2 samples, such as /data/a\.mp4, are no flow") as caught:
        require_modality([flow, video], "flow")
    assert "kinema data flow" in caught.value.next_step
    with pytest.raises(DataError, match="are flow, and the network is fed with modality rgb") as caught:
        require_modality([flow], "rgb")
    assert "modality=flow" in caught.value.next_step


@pytest.mark.parametrize(
    ("text", "fps"), [("25", 25), ("12.5", Fraction(25, 2)), ("30000/1001", Fraction(30000, 1001))]
)
def test_rates(text, fps):
    assert parse_fps(text) == fps


@pytest.mark.parametrize("text", ["0", "-1", "fast", "1/0", "nan"])
def test_rates_that_are_none(text):
    with pytest.raises(UsageError, match="a rate of"):
        parse_fps(text)


def test_flow_is_checked_without_being_looked_at(data, tmp_path):
    data.write_text("path,label\ncalm/a.mp4,calm\ncalm/copy/a.mp4,calm\nfight/a.mp4,fight\n")
    (data.parent / "calm" / "copy").mkdir()
    (data.parent / "calm" / "copy" / "a.mp4").write_bytes((data.parent / "calm" / "a.mp4").read_bytes())
    made = flow_of(data, tmp_path / "out").manifest

    report = check(made, workers=0)

    assert report.broken == ()
    assert [(file.frames_decoded, file.fps, file.look) for file in report.files] == [(4, 10, None)] * 3
    assert not [note for note in report.notes if "frozen" in note]
    write_check_page(tmp_path / "check.html", report)
