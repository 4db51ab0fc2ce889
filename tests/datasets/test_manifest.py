import shutil
import unicodedata
from pathlib import Path

import pytest

from kinema.core.errors import DataError
from kinema.core.labels import LabelMap
from kinema.datasets import manifest as manifest_module
from kinema.datasets.manifest import Manifest, Sample, read_manifest
from kinema.video.flow_record import FlowRecipe, FlowRecord, FlowSource

CSV = "path,label\nfight/b.mp4,fight\nfight/a.mp4,fight\ncalm/c.mp4,calm\n"


@pytest.fixture
def data(place):
    return place("fight/a.mp4", "fight/b.mp4", "calm/c.mp4")


def test_a_folder_and_its_table_are_one_data_set(data):
    folder = read_manifest(data)
    (data / "clips.csv").write_text(CSV)
    table = read_manifest(data / "clips.csv")
    assert folder.root == table.root == data
    assert folder.labels == table.labels == LabelMap.of(["calm", "fight"])
    assert folder.fingerprint == table.fingerprint
    assert table.targets == (1, 1, 0)  # rows keep their order, classes are sorted
    assert read_manifest(data).ignored == (data / "clips.csv",)
    assert repr(table) == "Manifest(clips.csv: 3 samples, LabelMap(2: calm, fight))"


def test_relative_paths_and_parents_lead_to_the_same_manifest(data, monkeypatch):
    monkeypatch.chdir(data / "fight")
    assert read_manifest("..") == read_manifest(data) == read_manifest(data / "fight" / "..")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("dta", "there is no .*dta; did you mean 'data'"),
        ("nowhere/at/all", "there is no .*nowhere/at/all"),
        ("data/fight/a.mp4", "a.mp4 is no CSV or Parquet file"),
        ("data/clips.cvs", "there is no .*clips.cvs; did you mean 'clips.csv'"),
    ],
)
def test_nothing_to_read(data, given, message):
    (data / "clips.csv").write_text(CSV)
    with pytest.raises(DataError, match=message) as caught:
        read_manifest(data.parent / given)
    assert "folder of class folders" in caught.value.allowed


def test_one_class_is_too_few_unless_a_model_brings_its_own(place):
    root = place("fight/a.mp4", "fight/b.mp4")
    with pytest.raises(DataError, match=r"all 2 videos of .* are labelled 'fight'") as caught:
        read_manifest(root)
    assert "second class" in caught.value.next_step
    assert len(read_manifest(root, min_classes=1)) == 2


def test_a_folder_that_may_not_be_read(data, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"cannot read .*data: Permission denied"):
        read_manifest(data)


def test_the_fingerprint_is_of_the_data_not_of_the_place(data, tmp_path):
    before = read_manifest(data)
    copy = tmp_path / "elsewhere"
    shutil.copytree(data, copy)
    assert read_manifest(copy).fingerprint == before.fingerprint
    assert before.take([2, 0, 1]).fingerprint == before.fingerprint


@pytest.mark.parametrize("change", ["size", "label", "name", "row"])
def test_the_fingerprint_notices(data, change):
    before = read_manifest(data).fingerprint
    match change:
        case "size":
            (data / "fight/a.mp4").write_bytes(b"other")
        case "label":
            (data / "fight").rename(data / "fights")
        case "name":
            (data / "fight/a.mp4").rename(data / "fight/z.mp4")
        case "row":
            (data / "fight/a.mp4").unlink()
    assert read_manifest(data).fingerprint != before


def test_the_fingerprint_notices_other_times(data):
    rows = [Sample(data / "fight/a.mp4", "fight", end_seconds=end) for end in (None, 1.0, 2.0)]
    assert len({Manifest.of(data, [row]).fingerprint for row in rows}) == 3


def test_the_fingerprint_needs_the_files(data):
    manifest = read_manifest(data)
    (data / "fight/a.mp4").unlink()
    with pytest.raises(DataError, match=r"cannot read .*a\.mp4: No such file"):
        manifest.fingerprint  # noqa: B018  (a property that reads files)


def test_the_fingerprint_of_flow_is_that_of_its_record(tmp_path):
    def fingerprint(**changes):
        made = FlowRecipe("dis", "OpenCV 4", {"preset": "fast"}, bound_px=changes.pop("bound_px", 20.0))
        source = FlowSource("a.mp4", 9, changes.pop("sha256", "1" * 64), changes.pop("path", "../a.mp4"))
        FlowRecord(made, 4, 64, 48, source).write(tmp_path)
        return Manifest.of(tmp_path, [Sample(tmp_path / "flow.json", "fight")]).fingerprint

    before = fingerprint()
    assert fingerprint(path="../../elsewhere/a.mp4") == before
    assert len({before, fingerprint(bound_px=15.0), fingerprint(sha256="2" * 64)}) == 3
    (tmp_path / "flow.json").write_text("broken")  # and found broken when it is read
    assert Manifest.of(tmp_path, [Sample(tmp_path / "flow.json", "fight")]).fingerprint != before


def test_a_write_that_fails_leaves_the_old_order_of_classes(data, monkeypatch):
    rows = read_manifest(data).samples
    Manifest.of(data, rows, labels=LabelMap.of(["fight", "calm"])).write(data / "clips.csv")

    def refuse(*_):
        raise DataError("a full disk")

    with monkeypatch.context() as patch:
        patch.setattr(manifest_module, "write_table", refuse)
        with pytest.raises(DataError, match="full disk"):
            Manifest.of(data, rows).write(data / "clips.csv")
    assert read_manifest(data / "clips.csv").labels.names == ("fight", "calm")
    Manifest.of(data, rows).write(data / "clips.csv")
    assert read_manifest(data / "clips.csv").labels.names == ("calm", "fight")
    assert not (data / "clips.classes.json").exists()


def test_what_is_written_reads_back(data):
    samples = [
        Sample(data / "fight/a.mp4", "fight", "train", "s1", 0.1, 2.25),
        Sample(data / "fight/a.mp4", "calm", "train", "s1", 2.25, None),
        Sample(data / "calm/c.mp4", "calm", "test", None, None, 1e-3),
    ]
    manifest = Manifest.of(data, samples)
    manifest.write(data / "all.csv")
    assert read_manifest(data / "all.csv").samples == manifest.samples
    manifest.write(data.parent / "above.csv")
    assert read_manifest(data.parent / "above.csv").samples == manifest.samples
    assert "data/fight/a.mp4" in (data.parent / "above.csv").read_text()


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_names_are_found_however_they_are_stored(place, stored, written):
    root = place(*(unicodedata.normalize(stored, name) for name in ("싸움/a.mp4", "평온/나.mp4")))
    folder = read_manifest(root)
    assert folder.labels.names == ("싸움", "평온")
    folder.write(root / "clips.csv")
    text = (root / "clips.csv").read_text(encoding="utf-8")
    (root / "clips.csv").write_text(unicodedata.normalize(written, text), encoding="utf-8")
    table = read_manifest(root / "clips.csv")
    assert table.labels == folder.labels
    assert table.fingerprint == folder.fingerprint


def test_a_manifest_is_written_above_its_videos(data):
    manifest = read_manifest(data)
    with pytest.raises(DataError, match="3 videos lie outside") as caught:
        manifest.write(data.parent / "away" / "clips.csv")
    assert str(data / "clips.csv") in caught.value.next_step
    assert not (data.parent / "away").exists()
    manifest.write(data.parent / "away" / "clips.csv", allow_absolute=True)
    again = read_manifest(data.parent / "away" / "clips.csv", allow_absolute=True)
    assert again.samples == manifest.samples


def test_filter_and_take_keep_the_classes_of_the_whole(place):
    manifest = read_manifest(place("train/a/1.mp4", "train/b/2.mp4", "test/b/3.mp4"))
    assert [sample.path.name for sample in manifest.filter("test").samples] == ["3.mp4"]
    assert manifest.filter("test").labels == manifest.labels
    assert manifest.filter("test").targets == (1,)
    assert manifest.take([]).labels == manifest.labels
    with pytest.raises(DataError, match=r"no sample of .* is in split 'val'") as caught:
        manifest.filter("val")
    assert caught.value.allowed == "test, train"


def test_units_are_groups_or_else_files(data):
    samples = [Sample(data / "fight/a.mp4", "fight", group="file:x"), Sample(data / "calm/c.mp4", "calm")]
    assert Manifest.of(data, samples).units == ("group:file:x", "file:calm/c.mp4")


def test_labels_must_name_all_samples(data):
    with pytest.raises(DataError, match="that the label map lacks: fight"):
        Manifest(data, (Sample(data / "fight/a.mp4", "fight"),), LabelMap.of(["calm"]))


@pytest.mark.parametrize(("name", "videos", "classes"), [("surv_fight/clips.csv", 225, 2), ("arid6", 150, 6)])
def test_real_data_sets(shared_video, name, videos, classes):
    manifest = read_manifest(shared_video / name)
    assert (len(manifest), len(manifest.labels)) == (videos, classes)


@pytest.mark.parametrize("table", ["clips.csv", "clips.parquet"])
def test_names_that_a_table_cannot_hold_are_refused(tmp_path, table):
    samples = [Sample(tmp_path / name, "x") for name in ("a.mp4", "caf\udce9.mp4")]
    with pytest.raises(DataError, match=r"(?s)1 videos in clips\..* not UTF-8:\n  caf\\udce9\.mp4") as caught:
        Manifest.of(tmp_path, samples).write(tmp_path / table)
    assert caught.value.next_step == "rename them"
    assert not list(tmp_path.iterdir())
