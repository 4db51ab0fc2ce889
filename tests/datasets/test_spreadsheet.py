import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.datasets.spreadsheet import read_cell, write_cell, write_spreadsheet

FORMULAS = ["=1+1", "+1", "-a.mp4", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''-1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(text):
    assert write_cell(text) == f"'{text}"
    assert read_cell(write_cell(text)) == text


@pytest.mark.parametrize("text", ["a.mp4", "'quoted'", "'", "", "1-2", "a=b", "한국어.mp4"])
def test_other_text_is_left_alone(text):
    assert write_cell(text) == read_cell(text) == text


@given(st.text(alphabet="'=+-@\t\rab", max_size=6))
def test_every_text_comes_back(text):
    written = write_cell(text)
    assert read_cell(written) == text
    assert not written or written[0] not in "=+-@\t\r"


@pytest.mark.parametrize(("value", "text"), [(None, ""), (True, "yes"), (False, "no"), (-1.5, "-1.5"), (0, "0")])
def test_what_is_no_text(value, text):
    assert write_cell(value) == text


def test_a_file_of_rows(tmp_path):
    path = tmp_path / "table.csv"
    write_spreadsheet(path, ("path", "n"), [("=a,b\n.mp4", -1), ("lone\udc80.mp4", None)])
    assert path.read_bytes().startswith(b"\xef\xbb\xbfpath,n\n")
    with path.open(encoding="utf-8-sig", newline="") as opened:
        rows = list(csv.reader(opened))
    assert rows[1:] == [["'=a,b\n.mp4", "-1"], ["lone\\udc80.mp4", ""]]
    assert read_cell(rows[1][0]) == "=a,b\n.mp4"
