from pathlib import Path

import pytest

from kinema.core.errors import DataError
from kinema.datasets.sample import Sample, listing, split_name

HERE = Path("/data/a.mp4")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"path": Path("a.mp4")}, "relative path a.mp4"),
        ({"label": " "}, "blank label"),
        ({"split": "tset"}, "did you mean 'test'"),
        ({"start_seconds": -0.5}, "start_seconds is -0.5"),
        ({"start_seconds": float("nan")}, "start_seconds is nan"),
        ({"start_seconds": float("inf")}, "start_seconds is inf"),
        ({"end_seconds": 0.0}, "end_seconds 0 is not after start_seconds 0"),
        ({"start_seconds": 2.0, "end_seconds": 2.0}, "end_seconds 2 is not after start_seconds 2"),
        ({"start_seconds": 3.0, "end_seconds": 2.5}, "end_seconds 2.5 is not after start_seconds 3"),
        ({"end_seconds": float("inf")}, "end_seconds inf"),
    ],
)
def test_a_sample_is_checked_when_made(wrong, message):
    with pytest.raises(DataError, match=message):
        Sample(**({"path": HERE, "label": "fight"} | wrong))


@pytest.mark.parametrize("times", [(None, None), (0.0, None), (None, 0.1), (1.5, 1.75)])
def test_a_segment_may_be_open_at_either_end(times):
    start, end = times
    sample = Sample(HERE, "fight", start_seconds=start, end_seconds=end)
    assert (sample.start_seconds, sample.end_seconds) == times


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("valid", "val"),
        ("VALIDATION", "val"),
        ("testing", "test"),
        ("x", "x"),
    ],
)
def test_split_names_have_synonyms(given, meant):
    assert split_name(given) == meant


def test_a_listing_shows_ten_and_counts_the_rest():
    assert listing(["one", "two"]) == "  one\n  two"
    assert listing(range(12)).splitlines()[-2:] == ["  9", "  ... and 2 more"]
    assert "more" not in listing(range(10))
