from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from kinema.core.errors import DataError
from kinema.core.labels import LabelMap
from kinema.evaluation.figures import Curve, Run, ScoreLine, Stretch, Timeline
from kinema.evaluation.metrics import Metrics, measure
from kinema.evaluation.report import BrokenFile, Fact, Mistake, Protocol, Report, Thumbnail, write_report
from kinema.inference.events import EventRule, Segment

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>.mp4'
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """What a browser would make of a report: its elements, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


def png() -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (4, 3), (200, 30, 30)).save(written, "png")
    return written.getvalue()


FIGHT = LabelMap.of(["fight", "normal"])


def metrics(level="video", labels=FIGHT, n=60, wrong=3, groups=True) -> Metrics:
    truth = np.arange(n) % labels.count
    predicted = np.where(np.arange(n) < wrong, (truth + 1) % labels.count, truth)
    scores = np.full((n, labels.count), 0.2 / (labels.count - 1))
    scores[np.arange(n), predicted] = 0.8
    names = [f"scene {i % 12}" for i in range(n)] if groups else None
    return measure(scores, truth, level=level, labels=labels, groups=names)


PLAIN = Report("fights", (metrics(),), Protocol("by source video, seed 0", "mean over 10 even windows"))


def full(name: str = "clips/a.mp4") -> Report:
    runs = tuple(
        Run(fold, (Curve("loss", "train", (1, 2), (0.5, 0.4)), Curve("loss", "val", (1, 2), (0.6, 0.5))))
        for fold in (name, "fold 2")
    )
    line = ScoreLine(name, (Segment(0, 1, 0.9), Segment(1, 2, 0.1)))
    labels = LabelMap.of([name, "normal"])
    return Report(
        title=name,
        metrics=(metrics(labels=labels), metrics("clip", labels=labels, wrong=5)),
        protocol=Protocol(name, name, note=name),
        runs=runs,
        timelines=(Timeline(name, 2.0, (line,), (), (Stretch(0, 1, name),), EventRule(), 0.5),),
        mistakes=(Mistake(name, name, "normal", 0.91, png()), Mistake("b", "normal", name, 0.8)),
        broken=(BrokenFile(name, name),),
        warnings=(f"a leak was allowed: {name}",),
        facts=(Fact("model", name),),
        thumbnails=(Thumbnail(png(), name),),
    )


def written(tmp_path, report: Report) -> str:
    path = tmp_path / "report.html"
    write_report(path, report)
    return path.read_text("utf-8")


def test_the_answer_is_one_sentence_on_top(tmp_path):
    assert PLAIN.answer == "Right on 57 of 60 held-out videos: 0.95 [0.86, 0.98]"
    text = written(tmp_path, PLAIN)
    assert f"<title>fights: {PLAIN.answer}</title>" in text
    heading = re.search(r"<h1>(.*?)</h1>", text).group(1)
    assert heading.replace("\u2011", "-").replace("\u00a0", " ") == PLAIN.answer


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"metrics": (metrics("clip"), metrics())}, "Right on 57 of 60 held-out clips: 0.95 [0.86, 0.98]"),
        (
            {"metrics": (metrics(n=2, wrong=0),), "protocol": Protocol("", "", samples="validation")},
            "Right on 2 of 2 validation videos: 1.00 [0.34, 1.00]",
        ),
    ],
)
def test_answers(changes, answer):
    assert replace(PLAIN, **changes).answer == answer


def test_everything_given_is_shown(tmp_path):
    page = Page(written(tmp_path, full()))
    for shown in (
        "Before you rely on this",
        "A leak was allowed",
        "1 file was broken or skipped",
        "60 held-out videos of 2 classes, from 12 groups",
        "95 % Wilson, 60 samples taken as independent",
        "video top-1, over groups",
        "clip macro F1",
        "Training",
        "Classes, clip level",
        "Macro average",
        "temporal IoU 0.50",
        "Worst mistakes",
        "0.91",
        "Broken or skipped files 1",
        "Pictures",
        "Facts",
    ):
        assert shown in page.text, shown
    assert page.tags.count("svg") == 1 + 2 + 1
    assert page.tags.count("img") == 2
    assert not page.open, "every element is closed"


def test_parts_without_content_are_left_out(tmp_path):
    page = Page(written(tmp_path, replace(PLAIN, metrics=(metrics(n=6000, wrong=300),))))
    for absent in ("Before you", "Training", "Videos over time", "Worst", "Broken", "Pictures", "Facts", "Note"):
        assert absent not in page.text
    assert page.text.count("0.950 [0.944, 0.955]") == 1


def test_no_figure_is_called_just_accuracy(tmp_path):
    assert "accuracy" not in Page(written(tmp_path, full())).text.lower()


def test_hostile_names_are_text_and_nothing_else(tmp_path):
    plain, hostile = (Page(written(tmp_path, full(name))) for name in ("clips/a.mp4", HOSTILE))
    assert "script" not in hostile.tags
    assert hostile.tags.count("img") == plain.tags.count("img")
    assert not [name for name, _ in hostile.attributes if name.startswith("on")]
    assert hostile.text.count(HOSTILE) >= 10


def test_nothing_is_fetched(tmp_path):
    page = Page(written(tmp_path, full("https://example.org/a.mp4")))
    linked = [v for name, v in page.attributes if name in ("src", "href", "xlink:href", "srcset", "action", "data")]
    assert linked
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in linked)
    text = written(tmp_path, PLAIN)
    assert "default-src 'none'" in text
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text


def test_ids_are_unique(tmp_path):
    page = Page(written(tmp_path, full()))
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_many_classes_list_what_is_confused(tmp_path):
    labels = LabelMap.of([f"act {i:02}" for i in range(30)])
    text = written(tmp_path, replace(PLAIN, metrics=(metrics(labels=labels, n=90, wrong=2),)))
    assert "Most often confused" in text
    assert '<td>act 00</td><td>act 01</td><td class="number">1 of 3</td>' in text
    assert "Most often confused" not in written(tmp_path, PLAIN)


def test_unknown_names_and_unknown_groups_are_said(tmp_path):
    page = Page(written(tmp_path, replace(PLAIN, metrics=(metrics(labels=LabelMap.unknown(2), groups=False),))))
    assert "Class names are unknown: classes are shown by their index." in page.text
    assert "class 1" in page.text
    assert "groups unknown" in page.text


def test_figures_that_are_missing_say_why(tmp_path):
    single = measure(
        [[0.9, 0.1]] * 5, [0] * 5, level="video", labels=LabelMap.of(["fight", "normal"]), groups=["a"] * 5
    )
    page = Page(written(tmp_path, replace(PLAIN, metrics=(single,))))
    assert "none: no sample of class 1" in page.text
    assert "bound nothing" in page.text


def test_warnings_are_said_once():
    doubled = replace(PLAIN, metrics=(metrics(), metrics()), warnings=("a", "a"))
    assert len(set(doubled.all_warnings)) == len(doubled.all_warnings)


def test_names_that_are_no_valid_text_do_not_stop_a_report(tmp_path):
    text = written(tmp_path, replace(PLAIN, broken=(BrokenFile("caf\udce9.mp4", "truncated"),)))
    assert "caf&#56553;.mp4" in text


def test_the_same_report_is_the_same_file(tmp_path):
    assert written(tmp_path, full()) == written(tmp_path, full())
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Thumbnail(b"GIF89a", "a"),
        lambda: Mistake("a", "b", "c", 0.5, b"<svg onload=alert(1)>"),
        lambda: replace(PLAIN, metrics=()),
    ],
)
def test_what_cannot_be_shown_is_refused(wrong):
    with pytest.raises(DataError):
        wrong()
