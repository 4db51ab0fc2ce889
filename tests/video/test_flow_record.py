from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import pytest

from kinema.core.errors import MediaError, UsageError
from kinema.core.spec import FlowSpec, InputSpec
from kinema.video.flow_record import FlowRecipe, FlowRecord, FlowSource, flow_doubts, is_flow, read_record, source_of

RECIPE = FlowRecipe("tvl1", "OpenCV 5", {"Tau": 0.25, "UseInitialFlow": False}, fps=Fraction(30000, 1001))
RECORD = FlowRecord(RECIPE, 12, 340, 256, FlowSource("a.mp4", 1234, "ab", "../data/a.mp4"))


def test_a_record_is_read_as_it_was_written(tmp_path):
    RECORD.write(tmp_path)

    assert read_record(tmp_path / "flow.json") == RECORD
    assert json.loads((tmp_path / "flow.json").read_text()) == {
        "schema": "kinema.flow",
        "version": 1,
        "recipe": {
            "algorithm": "tvl1",
            "library": "OpenCV 5",
            "parameters": {"Tau": 0.25, "UseInitialFlow": False},
            "bound_px": 20.0,
            "fps": "30000/1001",
            "short_side_px": 256,
            "store": "jpeg",
        },
        "fields": 12,
        "width_px": 340,
        "height_px": 256,
        "source": {"name": "a.mp4", "size_bytes": 1234, "sha256": "ab", "path": "../data/a.mp4"},
    }


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"schema": "other"}, {"recipe": {}}, {"fields": "many"}, {"source": {"name": "a"}}]
)
def test_records_that_are_none(tmp_path, change):
    (tmp_path / "flow.json").write_text(json.dumps(RECORD.to_json() | change))

    with pytest.raises(MediaError, match="no record of flow"):
        read_record(tmp_path / "flow.json")


def test_text_and_nothing(tmp_path):
    with pytest.raises(MediaError, match="No such file"):
        read_record(tmp_path / "flow.json")
    (tmp_path / "flow.json").write_text("[]")
    with pytest.raises(MediaError, match="no record of flow"):
        read_record(tmp_path / "flow.json")


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"bound_px": 0}, "bounded by 0"), ({"fps": Fraction(0)}, "0 frames"), ({"store": "png"}, "stored as png")],
)
def test_recipes_that_are_none(settings, said):
    with pytest.raises(UsageError, match=said):
        FlowRecipe("dis", "OpenCV", {}, **settings)


def test_flow_is_known_by_its_record(tmp_path):
    assert is_flow(tmp_path / "flow.json")
    assert not is_flow(tmp_path / "flow.mkv")


def test_a_folder_of_frames_has_a_fingerprint(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(b"one")
    before = FlowSource.of(tmp_path / "a")
    (tmp_path / "a" / "1.jpg").rename(tmp_path / "a" / "2.jpg")

    assert (before.name, before.size_bytes) == ("a", 3)
    assert FlowSource.of(tmp_path / "a").sha256 != before.sha256


def test_another_algorithm_is_doubted():
    expects = InputSpec(modality="flow", mean=(0.5, 0.5), std=(0.5, 0.5), flow=FlowSpec("dis"))

    (doubt,) = flow_doubts(RECIPE, expects)

    assert "by tvl1" in doubt
    assert "--algorithm dis" in doubt
    assert flow_doubts(RECIPE, replace(expects, flow=RECIPE.spec)) == ()
    assert flow_doubts(RECIPE, replace(expects, flow=replace(RECIPE.spec, parameters={}))) == ()
    assert flow_doubts(RECIPE, replace(expects, flow=None)) == ()
    assert flow_doubts(None, expects) == ()


@pytest.mark.parametrize(
    ("altered", "told"),
    [
        ({"fps": "10"}, "fps 25 and not 10"),
        ({"short_side_px": 128}, "short_side_px 256 and not 128"),
        ({"bound_px": 15.0}, "bound_px 20 and not 15"),
        ({"parameters": {"Tau": 0.5}}, "Tau 0.25 and not 0.5"),
    ],
)
def test_other_settings_of_the_same_algorithm_are_doubted(altered, told):
    expects = InputSpec(modality="flow", mean=(0.5, 0.5), std=(0.5, 0.5), flow=replace(RECIPE.spec, **altered))

    (doubt,) = flow_doubts(replace(RECIPE, fps=Fraction(25), short_side_px=256, parameters={"Tau": 0.25}), expects)

    assert told in doubt
    assert "do worse" in doubt


def test_a_fingerprint_of_nothing(tmp_path):
    with pytest.raises(MediaError, match="No such file"):
        FlowSource.of(tmp_path / "gone.mp4")


@pytest.fixture
def video(tmp_path):
    """A file that stands for a video, and the record of its flow in a folder beside."""
    video, folder = tmp_path / "data" / "a.mp4", tmp_path / "flow" / "a"
    for made in (video.parent, folder):
        made.mkdir(parents=True)
    video.write_bytes(b"frames")
    replace(RECORD, source=FlowSource.of(video, seen_from=folder)).write(folder)
    return video


def test_flow_leads_back_to_its_video_wherever_both_go(tmp_path, video, monkeypatch):
    assert source_of(tmp_path / "flow" / "a" / "flow.json") == video
    assert source_of(video) == video
    monkeypatch.chdir(tmp_path / "flow")
    assert source_of("a/flow.json") == video

    tmp_path.joinpath("moved").mkdir()
    for name in ("data", "flow"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    moved = tmp_path / "moved"
    assert source_of(moved / "flow" / "a" / "flow.json") == moved / "data" / "a.mp4"


def test_the_way_to_a_video_is_no_part_of_what_it_is(video):
    assert FlowSource.of(video) == FlowSource.of(video, seen_from=video.parent)


def test_a_video_that_is_gone_or_another_one(tmp_path, video):
    flow = tmp_path / "flow" / "a" / "flow.json"
    video.write_bytes(b"other frames")
    with pytest.raises(MediaError, match="has 12 bytes, and had 6"):
        source_of(flow)
    video.unlink()
    with pytest.raises(MediaError, match="is not there") as caught:
        source_of(flow)
    assert "kinema data flow" in caught.value.next_step
    replace(RECORD, source=FlowSource("a.mp4", 6, "ab")).write(flow.parent)
    with pytest.raises(MediaError, match=r"does not say where a\.mp4 is"):
        source_of(flow)
