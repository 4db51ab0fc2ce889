from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import pytest

from kinema.core.errors import MediaError, UsageError
from kinema.core.spec import InputSpec
from kinema.video.flow_record import FlowRecipe, FlowRecord, FlowSource, flow_doubts, is_flow, read_record

RECIPE = FlowRecipe("tvl1", "OpenCV 5", {"Tau": 0.25, "UseInitialFlow": False}, fps=Fraction(30000, 1001))
RECORD = FlowRecord(RECIPE, 12, 340, 256, FlowSource("a.mp4", 1234, "ab"))


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
        "source": {"name": "a.mp4", "size_bytes": 1234, "sha256": "ab"},
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
    expects = InputSpec(modality="flow", mean=(0.5, 0.5), std=(0.5, 0.5), flow="dis")

    (doubt,) = flow_doubts(RECIPE, expects)

    assert "by tvl1" in doubt
    assert "--algorithm dis" in doubt
    assert flow_doubts(RECIPE, replace(expects, flow="tvl1")) == ()
    assert flow_doubts(RECIPE, replace(expects, flow=None)) == ()
    assert flow_doubts(None, expects) == ()


def test_a_fingerprint_of_nothing(tmp_path):
    with pytest.raises(MediaError, match="No such file"):
        FlowSource.of(tmp_path / "gone.mp4")
