"""The course of a run as curves and as a picture."""

from itertools import pairwise

import pytest
from PIL import Image

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


def test_another_course_is_another_picture(tmp_path):
    pictures = []
    for number, rows in enumerate((WATCHED, WATCHED, WATCHED[:2])):
        write_curves(tmp_path / f"{number}.png", rows)
        pictures.append((tmp_path / f"{number}.png").read_bytes())
    assert [one == other for one, other in pairwise(pictures)] == [True, False]
