from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest

from kinema.core.errors import DataError
from kinema.core.labels import LabelMap
from kinema.evaluation.figures import (
    Curve,
    Run,
    ScoreLine,
    Stretch,
    Timeline,
    draw_confusion,
    draw_panel,
    draw_timeline,
    panel_names,
)
from kinema.evaluation.metrics import Metrics, measure
from kinema.inference.events import EventRule, Segment, events_in
from kinema.inference.result import Event, Prediction, Window

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '<script>alert("$x$")</script> & 한국어'


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter(f"{SVG}text")]


def styles(svg: str) -> str:
    return " ".join(element.get("style", "") for element in ET.fromstring(svg).iter())


def run(name: str = "fold 1") -> Run:
    epochs = (1.0, 2.0, 3.0)
    return Run(
        name,
        (
            Curve("loss", "train", epochs, (0.7, 0.5, 0.3)),
            Curve("loss", "val", epochs, (0.8, math.nan, 0.5)),
            Curve("learning rate", "", epochs, (0.1, 0.01, 0.001), log_scale=True),
        ),
    )


def metrics(labels: LabelMap, n: int = 40) -> Metrics:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, labels.count, n)
    scores = rng.random((n, labels.count)) + np.eye(labels.count)[truth]
    return measure(scores / scores.sum(axis=1, keepdims=True), truth, level="video", labels=labels)


def prediction(labels: LabelMap) -> Prediction:
    windows = tuple(Window(s, s + 2.0, (p, 1 - p)) for s, p in [(0.0, 0.1), (1.0, 0.9), (2.0, 0.9), (8.0, 0.2)])
    events = events_in(windows, labels, EventRule())
    return Prediction("a.mp4", 10.0, labels, (0.525, 0.475), windows, events)


def test_panels_in_order_of_appearance():
    assert panel_names([run(), run("fold 2")]) == ("loss", "learning rate")
    assert panel_names([]) == ()


@pytest.mark.parametrize(
    ("runs", "name", "legend"),
    [
        ([run()], "loss", ["validation", "training"]),
        ([run(), run("fold 2")], "loss", ["fold 1", "fold 2", "validation", "training"]),
        ([run()], "learning rate", []),
    ],
)
def test_a_panel_says_which_line_is_which(runs, name, legend):
    drawn = draw_panel(name, runs)
    words = [text for text in texts(drawn) if not text.replace(".", "").replace("e−", "").isdigit()]  # noqa: RUF001
    assert words == ["epoch", *legend]
    assert ("stroke-dasharray" in styles(drawn)) == ("training" in legend)


def test_learning_rates_are_plain_numbers():
    assert {"0.1", "0.01", "0.001"} <= set(texts(draw_panel("learning rate", [run()])))


def test_a_run_of_one_epoch_is_seen():
    lone = Run("a", (Curve("loss", "val", (1.0,), (0.5,)),))
    drawn = draw_panel("loss", [lone])
    assert "<use" in drawn
    assert "1" in texts(drawn)
    assert not {"0.98", "1.00", "1.02"} & set(texts(drawn))


def test_unknown_panels_and_uneven_curves_are_refused():
    with pytest.raises(DataError, match="learning rate"):
        draw_panel("accuracy", [run()])
    with pytest.raises(DataError, match="3 epochs with 1 values"):
        Curve("loss", "val", (1, 2, 3), (0.5,))


@pytest.mark.parametrize(("count", "numbers"), [(2, True), (20, True), (21, False), (101, False)])
def test_confusion_is_numbered_where_there_is_room(count, numbers):
    found = metrics(LabelMap.unknown(count), 400)
    cells = texts(draw_confusion(found))
    inside = [text for text in cells if text not in ("true", "predicted")]
    marks = 2 * count if count <= 60 else 2 * len(range(0, count, 10))
    assert len(inside) == marks + (count * count if numbers else 0)


def test_confusion_shows_every_count_under_its_names():
    found = metrics(LabelMap.of(["fight", "normal"]))
    cells = texts(draw_confusion(found))
    assert sorted(cells) == sorted(
        ["fight", "normal"] * 2 + ["true", "predicted"] + [str(c) for row in found.confusion for c in row]
    )


def test_timeline_shows_found_above_true_beneath():
    labels = LabelMap.of(["fight", "normal"])
    video = Timeline.of(prediction(labels), true=[Stretch(1.0, 4.0, "fight")], rule=EventRule(), iou=0.9)
    assert [line.label for line in video.lines] == ["fight"]
    drawn = draw_timeline(video)
    assert {"found", "true", "enter", "leave", "seconds"} <= set(texts(drawn))
    without = draw_timeline(Timeline.of(prediction(labels)))
    assert "found" in texts(without)
    assert not {"true", "enter"} & set(texts(without))


def test_timeline_of_unknown_names_shows_indices():
    video = Timeline.of(prediction(LabelMap.unknown(2)))
    assert [line.label for line in video.lines] == ["class 0", "class 1"]


def test_timeline_of_many_classes_shows_the_highest():
    labels = LabelMap.of(list("abcdefgh"))
    scores = (0.02, 0.3, 0.02, 0.2, 0.02, 0.2, 0.04, 0.2)
    video = Timeline.of(Prediction("a", 1.0, labels, scores, (Window(0, 1, scores),)))
    assert [line.label for line in video.lines] == ["b", "d", "f", "h"]


def test_timeline_breaks_where_nothing_was_looked_at():
    whole = ScoreLine("a", (Segment(0, 1, 0.5), Segment(1, 2, 0.6)))
    broken = ScoreLine("a", (Segment(0, 1, 0.5), Segment(3, 4, 0.6)))
    moves = [
        sum(
            element.get("d", "").count("M")
            for element in ET.fromstring(draw_timeline(Timeline("a", 4.0, (line,), ()))).iter(f"{SVG}path")
            if "stroke: var(--c0)" in element.get("style", "")
        )
        for line in (whole, broken)
    ]
    assert moves == [1, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Stretch(2.0, 2.0, "a"),
        lambda: Timeline("a", 0.0, (), ()),
        lambda: Timeline("a", 1.0, tuple(ScoreLine(str(i), ()) for i in range(7)), ()),
    ],
)
def test_impossible_timelines_are_refused(wrong):
    with pytest.raises(DataError):
        wrong()


def every_figure(label: str) -> list[str]:
    labels = LabelMap.of([label, "normal"])
    event = Event(label, 0, 0.0, 1.0, 0.9, 0.9)
    video = Timeline(label, 2.0, (ScoreLine(label, (Segment(0, 1, 0.9),)),), (event,), (Stretch(0, 1, label),))
    runs = [run(label), run()]
    return [draw_panel("loss", runs), draw_confusion(metrics(labels)), draw_timeline(video)]


def test_figures_are_safe_self_contained_and_take_the_pages_colours():
    for drawn in every_figure(HOSTILE):
        root = ET.fromstring(drawn)
        assert not [element for element in root.iter() if element.tag.endswith(("script", "style", "metadata"))]
        links = [value for element in root.iter() for name, value in element.attrib.items() if name.endswith("href")]
        assert all(link.startswith("#") for link in links)
        assert "#fe01" not in drawn, "a placeholder colour is left"
        assert "var(--" in drawn
        assert "font-family" not in drawn


def test_long_and_foreign_names_stay_readable():
    (panel, matrix, _) = every_figure(HOSTILE)
    assert HOSTILE in texts(panel)
    assert f"{HOSTILE[:17]}…" in texts(matrix)


def test_figures_repeat_and_leave_no_trace():
    before = dict(mpl.rcParams)
    assert every_figure("a") == every_figure("a")
    assert dict(mpl.rcParams) == before
