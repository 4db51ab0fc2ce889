from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.core.errors import DataError, KinemaError, UsageError
from kinema.core.labels import LabelMap
from kinema.inference.result import Event, Prediction, Score, Window, to_hara

NAMED = LabelMap.of(["fight", "normal"])
UNKNOWN = LabelMap.unknown(2)


def prediction(labels: LabelMap = NAMED, source: str = "clips/a.mp4", **changes) -> Prediction:
    event = Event(labels.names[0] if labels.names else None, 0, 1.0, 3.0, peak=0.9, mean=0.7)
    parts = {
        "source": source,
        "duration_seconds": 3.0,
        "labels": labels,
        "probabilities": (0.6, 0.4),
        "windows": (Window(0.0, 2.0, (0.3, 0.7)), Window(1.0, 3.0, (0.9, 0.1))),
        "events": (event,),
        "warnings": ("2 frames did not decode",),
    }
    return Prediction(**{**parts, **changes})


@pytest.mark.parametrize("labels", [NAMED, UNKNOWN])
def test_json_survives_the_round_trip_through_text(labels):
    before = prediction(labels)
    assert Prediction.from_json(json.loads(json.dumps(before.to_json(), allow_nan=False))) == before


def test_json_has_exactly_the_documented_keys():
    record = prediction().to_json()
    assert list(record) == [
        "schema",
        "version",
        "source",
        "duration_seconds",
        "labels",
        "probabilities",
        "top",
        "windows",
        "events",
        "warnings",
    ]
    assert (record["schema"], record["version"]) == ("kinema.prediction", 1)
    assert record["labels"] == {"count": 2, "names": ["fight", "normal"]}
    assert record["windows"][0] == {"start_seconds": 0.0, "end_seconds": 2.0, "probabilities": [0.3, 0.7]}
    assert record["top"][0] == {"class_index": 0, "label": "fight", "probability": 0.6}


def test_unknown_names_are_never_invented():
    record = prediction(UNKNOWN).to_json()
    assert record["labels"] == {"count": 2, "names": None}
    assert [score["label"] for score in record["top"]] == [None, None]
    assert record["events"][0]["label"] is None
    assert to_hara([prediction(UNKNOWN)])["results"]["a"][0] == {"label": 0, "score": 0.6}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version 2"),
        ({"schema": "other"}, "'other'"),
        ({"windows": None}, "malformed"),
        ({"probabilities": ["many", 0]}, "malformed"),
        ({"probabilities": [1.0]}, "1 probabilities"),
        ({"events": [{"start": 3}]}, "malformed"),
        ({"labels": {"count": 2}}, "names"),
    ],
)
def test_from_json_says_what_is_wrong(change, said):
    with pytest.raises(DataError, match=said):
        Prediction.from_json({**prediction().to_json(), **change})


def test_from_json_of_a_record_that_lacks_a_part():
    record = prediction().to_json()
    del record["duration_seconds"]
    with pytest.raises(DataError, match="duration_seconds"):
        Prediction.from_json(record)


@pytest.mark.parametrize(
    "changes",
    [
        {"duration_seconds": -1.0},
        {"duration_seconds": math.nan},
        {"probabilities": (0.6, 0.6)},
        {"probabilities": (1.2, -0.2)},
        {"probabilities": (math.nan, 1.0)},
        {"probabilities": (1.0,)},
        {"probabilities": ()},
        {"windows": (Window(0, 1, (0.2, 0.3, 0.5)),)},
        {"windows": (Window(1, 2, (0.5, 0.5)), Window(0, 1, (0.5, 0.5)))},
        {"events": (Event("fight", 1, 0.0, 1.0, 0.5, 0.5),)},
        {"events": (Event("fight", 2, 0.0, 1.0, 0.5, 0.5),)},
    ],
)
def test_parts_that_do_not_fit_are_refused(changes):
    with pytest.raises(DataError):
        prediction(**changes)


@pytest.mark.parametrize("span", [(1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0)])
def test_windows_and_events_have_a_length(span):
    with pytest.raises(DataError, match="from"):
        Window(*span, (1.0,))
    with pytest.raises(DataError, match="from"):
        Event(None, 0, *span, 1.0, 1.0)


@pytest.mark.parametrize(("index", "peak", "mean"), [(-1, 0.5, 0.5), (0, 0.5, 0.6), (0, 1.1, 0.5), (0, 0.5, -0.1)])
def test_events_have_possible_scores(index, peak, mean):
    with pytest.raises(DataError):
        Event(None, index, 0.0, 1.0, peak, mean)


def test_top_is_sorted_with_ties_by_index():
    labels = LabelMap.of(["a", "b", "c", "d"])
    found = prediction(labels, probabilities=(0.1, 0.4, 0.1, 0.4), windows=(), events=())
    assert found.top(3) == [Score(1, "b", 0.4), Score(3, "d", 0.4), Score(0, "a", 0.1)]
    assert len(found.top(99)) == 4
    with pytest.raises(UsageError):
        found.top(0)


def test_repr_is_short():
    assert repr(prediction()) == "Prediction(clips/a.mp4: fight 0.600, 3.0 s, 2 windows, 1 events)"
    assert "class 0" in repr(prediction(UNKNOWN))


def test_hara_averaged():
    both = to_hara([prediction(), prediction(source="rtsp://host/b.avi")], top_k=1)
    assert both == {"results": {"a": [{"label": "fight", "score": 0.6}], "b": [{"label": "fight", "score": 0.6}]}}


def test_hara_by_segment_counts_frames_from_one():
    found = to_hara([prediction()], average=False, fps={"clips/a.mp4": 8.0})["results"]["a"]
    assert [entry["segment"] for entry in found] == [[1, 17], [9, 25]]
    assert found[0]["result"] == [{"label": "normal", "score": 0.7}, {"label": "fight", "score": 0.3}]


@pytest.mark.parametrize(
    ("sources", "options", "said"),
    [
        (["x/a.mp4", "y/a.avi"], {}, "two videos named 'a'"),
        (["a.mp4"], {"average": False}, "no frame rate for a.mp4"),
        (["a.mp4"], {"average": False, "fps": {"a.mp4": 0.0}}, "no frame rate"),
    ],
)
def test_hara_refuses_what_that_format_cannot_say(sources, options, said):
    with pytest.raises(KinemaError, match=said):
        to_hara([prediction(source=source) for source in sources], **options)


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=30), st.integers(1, 40))
def test_top_is_a_sorted_choice_of_distinct_classes(weights, k):
    probabilities = tuple(weight / math.fsum(weights) for weight in weights)
    found = Prediction("a", 1.0, LabelMap.unknown(len(weights)), probabilities)
    scores = found.top(k)
    assert len({score.class_index for score in scores}) == len(scores) == min(k, len(weights))
    assert [s.probability for s in scores] == sorted(probabilities, reverse=True)[:k]
