import csv
import shutil

import pytest

from kinema.core.errors import DataError, UsageError
from kinema.datasets.check import check
from kinema.datasets.check_files import TABLE_COLUMNS, require_above, write_check_table, write_quarantine
from kinema.datasets.manifest import Manifest, Sample, read_manifest
from kinema.datasets.spreadsheet import read_cell


@pytest.fixture
def report(clip, tmp_path):
    """Four files: a copy, one that is broken, one of two segments; odd names."""
    root = tmp_path / "data"
    root.mkdir()
    for name in ("=a.mp4", "b.mp4", "c.mp4"):
        shutil.copy(clip, root / name)
    (root / "@d.mp4").write_bytes(b"no video")
    rows = [
        Sample(root / "=a.mp4", "x", "train", "g"),
        Sample(root / "b.mp4", "y", "train", "h", 0.0, 1.0),
        Sample(root / "b.mp4", "-x", "test", "h", 1.0, 2.0),
        Sample(root / "c.mp4", "y"),
        Sample(root / "@d.mp4", "y"),
    ]
    return check(Manifest.of(root, rows), workers=0)


def rows(path):
    with path.open(encoding="utf-8-sig", newline="") as opened:
        return [{name: read_cell(text) for name, text in row.items()} for row in csv.DictReader(opened)]


def test_the_table_has_a_row_for_each_file(report, tmp_path):
    write_check_table(tmp_path / "table.csv", report)
    table = rows(tmp_path / "table.csv")
    assert tuple(table[0]) == TABLE_COLUMNS
    assert [row["path"] for row in table] == ["=a.mp4", "b.mp4", "c.mp4", "@d.mp4"]
    assert "\n'=a.mp4," in (tmp_path / "table.csv").read_text(encoding="utf-8-sig")
    assert [row["labels"] for row in table] == ["x", "-x;y", "y", "y"]
    assert (table[1]["splits"], table[1]["groups"], table[1]["samples"]) == ("test;train", "h", "2")
    assert [bool(row["reason"]) for row in table] == [False, False, False, True]
    assert [row["cluster"] for row in table] == ["0", "0", "0", "1"]
    assert (table[0]["frames_decoded"], table[0]["has_audio"], table[0]["black_share"]) == ("24", "no", "0.0")
    assert table[3]["black_share"] == ""


def test_quarantine_lists_what_is_broken_and_keeps_the_rest(report):
    root = report.manifest.root
    before = {path.name: path.read_bytes() for path in root.iterdir()}
    quarantine, kept = write_quarantine(root, report)
    assert rows(quarantine) == [{"path": "@d.mp4", "reason": dict(report.broken)[root / "@d.mp4"]}]
    assert read_manifest(kept).samples == report.manifest.samples[:4]
    assert {name: (root / name).read_bytes() for name in before} == before


def test_a_late_segment_takes_no_other_with_it(clip, tmp_path):
    shutil.copy(clip, tmp_path / "a.mp4")
    samples = [Sample(tmp_path / "a.mp4", "x", start_seconds=start) for start in (0.0, 1.0, 10.0)]
    quarantine, kept = write_quarantine(tmp_path, check(Manifest.of(tmp_path, samples), workers=0))
    assert [(row["path"], row["reason"][:25]) for row in rows(quarantine)] == [("a.mp4", "a sample starts at 10 s, ")]
    assert [sample.start_seconds for sample in read_manifest(kept, min_classes=1).samples] == [0, 1]


def test_a_quarantine_above_the_videos(report, tmp_path):
    quarantine, kept = write_quarantine(tmp_path, report)
    assert rows(quarantine)[0]["path"] == "data/@d.mp4"
    assert read_manifest(kept).samples == report.manifest.samples[:4]


def test_a_manifest_cannot_stand_beside_its_videos(report, tmp_path):
    with pytest.raises(UsageError, match="lie outside it") as caught:
        write_quarantine(tmp_path / "elsewhere", report)
    assert str(report.manifest.root) in caught.value.next_step
    require_above(tmp_path, report.manifest, instead="")


def test_nothing_to_keep(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    manifest = Manifest.of(tmp_path, [Sample(tmp_path / "a.mp4", "x")])
    with pytest.raises(DataError, match="nothing to keep"):
        write_quarantine(tmp_path, check(manifest, workers=0))
    assert (tmp_path / "quarantine.csv").exists()
    assert not (tmp_path / "kept.csv").exists()
