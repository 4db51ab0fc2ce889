import json

import pytest

from kinema.core.errors import DataError
from kinema.core.labels import LabelMap, LabelPart
from kinema.datasets.classes import classes_path, read_classes, write_classes
from kinema.datasets.manifest import Manifest, read_manifest
from kinema.datasets.sample import Sample

ORDER = ("run", "fight", "calm", "행복")


@pytest.fixture
def table(place):
    root = place("fight/a.mp4", "calm/b.mp4")
    samples = [Sample(root / "fight/a.mp4", "fight"), Sample(root / "calm/b.mp4", "calm")]
    Manifest.of(root, samples, labels=LabelMap.of(ORDER)).write(root / "clips.csv")
    return root / "clips.csv"


def test_an_order_of_its_own_travels_beside_the_table(table):
    manifest = read_manifest(table)
    assert classes_path(table).name == "clips.classes.json"
    assert manifest.labels.names == ORDER
    assert manifest.targets == (1, 2)


def test_the_fingerprint_is_that_of_names_not_of_indices(table):
    ordered = read_manifest(table).fingerprint
    classes_path(table).unlink()
    plain = read_manifest(table)
    assert plain.labels.names == ("calm", "fight")
    assert plain.fingerprint == ordered


def test_an_order_that_holds_no_longer_is_removed(table):
    manifest = read_manifest(table)
    Manifest.of(manifest.source, manifest.samples).write(table)
    assert not classes_path(table).exists()
    assert read_manifest(table).labels.names == ("calm", "fight")


def test_parts_come_back(tmp_path):
    parts = (LabelPart("a", ("x", "y"), (0, 1)), LabelPart("b", ("x",), (2,)))
    labels = LabelMap(3, ("a/x", "a/y", "b/x"), parts)
    write_classes(tmp_path / "m.csv", labels)
    assert read_classes(tmp_path / "m.csv").parts == parts


def test_classes_that_no_sample_has_do_not_make_two(place):
    root = place("fight/a.mp4")
    Manifest.of(root, [Sample(root / "fight/a.mp4", "fight")], labels=LabelMap.of(ORDER)).write(root / "one.csv")
    with pytest.raises(DataError, match="all 1 videos"):
        read_manifest(root / "one.csv")


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "[]",
        '{"schema": "kinema.classes", "version": 2, "names": [], "parts": []}',
        '{"schema": "kinema.classes", "version": 1, "names": ["a"]}',
    ],
)
def test_a_file_that_gives_no_order_is_named(table, content):
    classes_path(table).write_text(content)
    with pytest.raises(DataError, match=r"clips\.classes\.json does not give an order"):
        read_manifest(table)


def test_an_order_without_a_class_of_the_table_is_refused(table):
    record = json.loads(classes_path(table).read_text())
    classes_path(table).write_text(json.dumps(record | {"names": ["fight", "run"]}))
    with pytest.raises(DataError, match="calm"):
        read_manifest(table)
