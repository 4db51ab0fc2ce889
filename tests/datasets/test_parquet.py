from unicodedata import normalize

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinema.core.errors import DataError, UsageError
from kinema.core.labels import LabelMap
from kinema.datasets.manifest import Manifest, read_manifest
from kinema.datasets.parquet import read_parquet, write_parquet
from kinema.datasets.sample import Sample


@pytest.fixture
def write(place):
    """Put `columns` into a Parquet file beside videos of the usual names."""

    def make(columns, **options):
        root = place("fight/a.mp4", "fight/b.mp4", "calm/c.mp4", "calm/영상 1.mp4")
        pq.write_table(
            columns if isinstance(columns, pa.Table) else pa.table(columns), root / "clips.parquet", **options
        )
        return root / "clips.parquet"

    return make


def read(source, **options):
    return read_parquet(source, allow_absolute=False, **options)


def test_all_columns(write):
    source = write(
        {
            "label": ["fight", " calm ", "calm"],
            "path": ["fight/a.mp4", "calm\\c.mp4", normalize("NFD", "calm/영상 1.mp4")],
            "start_seconds": [0.0, None, 1.5],
            "end_seconds": [2, None, None],
            "split": ["train", "validation", None],
            "group": [7, 8, None],
            "dataset": pa.array(["x", "y", ""]).dictionary_encode(),
        }
    )
    root = source.parent
    assert read(source) == [
        Sample(root / "fight/a.mp4", "fight", "train", "7", 0.0, 2.0, "x"),
        Sample(root / "calm/c.mp4", "calm", "val", "8", None, None, "y"),
        Sample(root / "calm/영상 1.mp4", "calm", None, None, 1.5, None, None),
    ]


def test_seconds_may_be_text_and_rows_of_nothing_are_left_out(write):
    source = write(
        {"path": ["fight/a.mp4", "", None], "label": ["fight", None, " "], "end_seconds": [" 1.5", "", None]}
    )
    assert [sample.end_seconds for sample in read(source)] == [1.5]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("fight/a.mp4", None, None, None), "row 1: a blank label"),
        ((None, "fight", None, None), "row 1: a blank path"),
        (("fight/a.mp4", "fight", "tset", None), "row 1: unknown split 'tset'; did you mean 'test'?"),
        (("fight/a.mp4", "fight", None, -1.0), "row 1: start_seconds is -1"),
        (("fight/a.mp4", "fight", None, float("nan")), "row 1: start_seconds is nan"),
        (("fight/aa.mp4", "fight", None, None), "row 1: no file fight/aa.mp4; did you mean 'a.mp4'"),
        (("../outside.mp4", "fight", None, None), "row 1: ../outside.mp4 leads out of"),
        (("fight/b.mp4", "calm", None, None), "row 2: fight/b.mp4 again, 'fight' here and 'calm' on row 1"),
    ],
)
def test_rows_that_cannot_be_used_are_named(write, row, message):
    path, label, split, start = row
    source = write(
        {
            "path": [path, "fight/b.mp4"],
            "label": [label, "fight"],
            "split": pa.array([split, None], pa.string()),
            "start_seconds": pa.array([start, None], pa.float64()),
        }
    )
    with pytest.raises(DataError) as caught:
        read(source)
    assert message in caught.value.given
    assert "1 of the 2 rows" in caught.value.given


def test_rows_keep_their_numbers_over_groups_of_rows(write):
    source = write({"path": ["fight/a.mp4", "fight/x.mp4"], "label": ["fight", "fight"]}, row_group_size=1)
    with pytest.raises(DataError, match=r"row 2: no file fight/x\.mp4"):
        read(source)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["a.mp4"], "label": ["x"], "lable": ["x"]}, "unknown column 'lable'; did you mean 'label'"),
        ({"path": ["a.mp4"]}, "has no column 'label', only path"),
        ({"path": pa.array([], pa.string()), "label": pa.array([], pa.string())}, "has a header and no row"),
        ({"path": [b"a.mp4"], "label": ["x"]}, "column 'path' of .* holds binary"),
        ({"path": ["a.mp4"], "label": [0.5]}, "column 'label' of .* holds double"),
        ({"path": ["a.mp4"], "label": [["x"]]}, "column 'label' of .* holds list"),
        ({"path": ["a.mp4"], "label": ["x"], "end_seconds": [True]}, "column 'end_seconds' of .* holds bool"),
    ],
)
def test_tables_of_something_else(write, columns, message):
    with pytest.raises(DataError, match=message):
        read(write(columns))


def test_a_column_twice(write):
    table = pa.Table.from_arrays([pa.array(["a"])] * 3, names=["path", "label", "label"])
    with pytest.raises(DataError, match="has column 'label' twice"):
        read(write(table))


@pytest.mark.parametrize("content", [b"", b"path,label\n", b"PAR1" + bytes(64) + b"PAR1"])
def test_what_is_no_parquet_file(tmp_path, content):
    source = tmp_path / "clips.parquet"
    source.write_bytes(content)
    with pytest.raises(DataError, match="is no Parquet file"):
        read(source)


def test_a_damaged_file_is_named(write):
    source = write({"path": ["fight/a.mp4"] * 1000, "label": ["fight"] * 1000}, compression="zstd")
    content = bytearray(source.read_bytes())
    content[4:60] = bytes(56)
    source.write_bytes(content)
    with pytest.raises(DataError):
        read(source)


@pytest.fixture
def samples(place):
    root = place("fight/a.mp4", "calm/c.mp4", "calm/영상 1.mp4")
    return [
        Sample(root / "fight/a.mp4", "=fight", "train", "-g", 0.1, 2.5, "한국"),
        Sample(root / "calm/c.mp4", 'calm, "x"', "val", None, None, None, "y"),
        Sample(root / "calm/영상 1.mp4", "calm", "test", "'-g", None, 1e-9, "y"),
    ]  # fmt: skip


def test_what_is_written_is_read_back(samples):
    root = samples[0].path.parents[1]
    manifest = Manifest.of(root, samples, labels=LabelMap.of(["calm", "=fight", 'calm, "x"', "none"]))
    for name in ("x.csv", "x.parquet"):
        manifest.write(root / name)
        back = read_manifest(root / name)
        assert (back.samples, back.labels) == (manifest.samples, manifest.labels)
    assert pq.read_table(root / "x.parquet").column_names == [
        "path", "label", "split", "group", "start_seconds", "end_seconds", "dataset"
    ]  # fmt: skip
    assert pq.read_table(root / "x.parquet")["label"].to_pylist() == ["=fight", 'calm, "x"', "calm"]


def test_only_columns_in_use_are_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "out.parquet"
    write_parquet(target, [Sample(tmp_path / "a.mp4", "a")], ["a.mp4"])
    assert pq.read_table(target).column_names == ["path", "label"]
    before = target.read_bytes()
    with pytest.raises(ValueError, match="length"):
        write_parquet(target, [Sample(tmp_path / "a.mp4", "a")], ["a.mp4", "b.mp4"])
    assert target.read_bytes() == before
    assert list(tmp_path.glob("*.parquet")) == [target]


def test_both_forms_of_one_name_have_one_order_of_classes(samples):
    root = samples[0].path.parents[1]
    manifest = Manifest.of(root, samples, labels=LabelMap.of(["calm", "=fight", 'calm, "x"']))
    manifest.write(root / "x.csv")
    with pytest.raises(DataError, match=r"x\.csv lies beside x\.parquet, and has its classes in another order"):
        Manifest.of(root, samples).write(root / "x.parquet")
    assert read_manifest(root / "x.csv").labels == manifest.labels
    assert not (root / "x.parquet").exists()
    Manifest.of(root, samples).write(root / "y.parquet")


def test_without_pyarrow(monkeypatch, samples, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "x.parquet").touch()
    with pytest.raises(UsageError, match="need the package pyarrow") as caught:
        read_manifest(tmp_path / "x.parquet")
    assert caught.value.next_step == 'pip install "kinema[parquet]"'
    with pytest.raises(UsageError, match="need the package pyarrow"):
        write_parquet(tmp_path / "y.parquet", samples, ["a", "b", "c"])
