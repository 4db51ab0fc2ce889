"""The course of a run as curves and as a picture."""

from itertools import pairwise

import pytest
from matplotlib.figure import Figure
from PIL import Image

from kinema.training import curves as curves_file
from kinema.training.checkpoint import EpochRow
from kinema.training.curves import as_run, write_curves

WATCHED = [EpochRow(n, 1 / n, 0.1 * n, 2 / n, 0.2 * n, 0.3 * n, 10.0**-n, 5.0) for n in (1, 2, 3)]
BLIND = [EpochRow(n, 1 / n, 0.1 * n, None, None, None, 0.1, 5.0) for n in (1, 2)]


def curves(rows):
    return {(curve.figure, curve.split): (curve.epochs, curve.values) for curve in as_run("one", rows).curves}


def test_every_column_is_a_curve():
    found = curves(WATCHED)
    epochs = (1.0, 2.0, 3.0)
    expected = {
        ("loss", "train"): (1, 1 / 2, 1 / 3),
        ("clip accuracy", "train"): (0.1, 0.2, 0.3),
        ("loss", "val"): (2, 1, 2 / 3),
        ("clip accuracy", "val"): (0.2, 0.4, 0.6),
        ("video accuracy", "val"): (0.3, 0.6, 0.9),
        ("learning rate", ""): (0.1, 0.01, 0.001),
    }
    assert set(found) == set(expected)
    for key, values in expected.items():
        assert found[key][0] == epochs
        assert found[key][1] == pytest.approx(values)
    assert as_run("one", WATCHED).name == "one"


def test_what_was_not_measured_is_not_drawn():
    assert set(curves(BLIND)) == {("loss", "train"), ("clip accuracy", "train"), ("learning rate", "")}
    mixed = curves([*BLIND, EpochRow(3, 0.3, 0.3, 0.0, 0.0, 1.0, 0.1, 5.0)])
    assert mixed["loss", "train"][0] == (1.0, 2.0, 3.0)
    assert mixed["loss", "val"] == ((3.0,), (0.0,))


def test_the_picture_can_be_opened_and_shows_every_panel(tmp_path):
    widths = []
    for rows in (WATCHED[:1], BLIND, WATCHED):
        write_curves(tmp_path / "curves.png", rows)
        with Image.open(tmp_path / "curves.png") as picture:
            picture.load()
            assert picture.format == "PNG"
            assert len(picture.convert("L").getcolors()) > 10
            widths.append(picture.width)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
    assert widths[1] * 4 == widths[0] * 3 == widths[2] * 3


def drawn(monkeypatch, path, rows):
    """The panels of the picture: by title, the labels, and where a dotted line stands."""
    kept = []

    class Kept(Figure):
        def savefig(self, *arguments, **options):
            kept.append(self)
            super().savefig(*arguments, **options)

    monkeypatch.setattr(curves_file, "Figure", Kept)
    write_curves(path, rows)
    (figure,) = kept
    return {
        axes.get_title(): [
            (line.get_label(), line.get_xdata()[0]) for line in axes.lines if line.get_linestyle() == ":"
        ]
        for axes in figure.axes
    }


def test_the_best_epoch_is_marked_in_every_panel(monkeypatch, tmp_path):
    worse = EpochRow(4, 0.1, 0.5, 0.1, 0.6, 0.5, 1e-4, 5.0)
    panels = drawn(monkeypatch, tmp_path / "curves.png", [*WATCHED, worse])
    assert set(panels) == {"loss", "clip accuracy", "video accuracy", "learning rate"}
    assert all(marks == [("best: 3", 3)] for marks in panels.values())


def test_where_nothing_validates_no_epoch_is_the_best(monkeypatch, tmp_path):
    panels = drawn(monkeypatch, tmp_path / "curves.png", BLIND)
    assert list(panels.values()) == [[], [], []]


def test_another_course_is_another_picture(tmp_path):
    pictures = []
    for number, rows in enumerate((WATCHED, WATCHED, WATCHED[:2])):
        write_curves(tmp_path / f"{number}.png", rows)
        pictures.append((tmp_path / f"{number}.png").read_bytes())
    assert [one == other for one, other in pairwise(pictures)] == [True, False]
