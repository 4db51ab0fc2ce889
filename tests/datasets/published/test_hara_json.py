import json
from unicodedata import normalize

import pytest
from PIL import Image

from kinema.core.errors import DataError
from kinema.core.labels import LabelMap
from kinema.datasets.manifest import Manifest, read_manifest
from kinema.datasets.published.hara_json import write_hara_json
from kinema.datasets.sample import Sample


def entry(subset, label=None, segment=(1, 25), **more):
    annotations = {} if label is None else {"label": label, "segment": list(segment)}
    return {"subset": subset, "annotations": annotations, **more}


DATABASE = {
    "v_1": entry("training", "run"),
    "놀이 'a'": entry("validation", "hit", (0, 24)),
    "part": entry("training", "run", (13, 25)),
    "gone": entry("training", "hit"),
    "secret": entry("testing"),
    "name": entry("training", "hit"),
    "elsewhere": entry("training", "hit", video_path="odd/place.mp4"),
}
VIDEOS = (
    "run/v_1.mp4",
    normalize("NFD", "hit/놀이 'a'.mp4"),
    "run/part.mp4",
    "test/secret.mp4",
    "hit/name.with.dots.mp4",
    "odd/place.mp4",
)


def text(database=DATABASE):
    return json.dumps({"labels": ["run", "hit", "sit"], "database": database}, ensure_ascii=False)


def test_classes_keep_the_order_of_the_file(lay, taken):
    _, manifest = taken("hara-json", lay(*VIDEOS, **{"ucf.json": text()}))
    assert manifest.labels.names == ("run", "hit", "sit")


def test_what_it_names_is_found(lay, taken):
    found, manifest = taken("hara-json", lay(*VIDEOS, **{"ucf.json": text()}))
    assert [
        (manifest.relative(one.path), one.label, one.split, one.start_seconds, one.end_seconds)
        for one in manifest.samples
    ] == [
        ("run/v_1.mp4", "run", "train", None, None),
        ("hit/놀이 'a'.mp4", "hit", "val", None, None),
        ("run/part.mp4", "run", "train", 1.0, 2.0),
        ("hit/name.with.dots.mp4", "hit", "train", None, None),
        ("odd/place.mp4", "hit", "train", None, None),
    ]
    assert {one.name: one.reason for one in found.absent} == {
        "hit/gone": "not on the disk",
        "test/secret": "its class was not published",
    }


def test_segments_in_seconds_of_lists_made_for_activitynet(lay, taken):
    several = {"subset": "training", "annotations": [{"label": "run", "segment": [0.5, 1.5]}], "fps": 12}
    _, manifest = taken("hara-json", lay("v_abc.mp4", **{"anet.json": text({"abc": several})}))
    assert [(one.start_seconds, one.end_seconds) for one in manifest.samples] == [(0.5, 1.5)]


def test_none_two_or_damaged_files_are_refused(lay, taken):
    with pytest.raises(DataError, match="0 annotation files"):
        taken("hara-json", lay(*VIDEOS, **{"x.json": "{}"}))
    with pytest.raises(DataError, match="2 annotation files"):
        taken("hara-json", lay(*VIDEOS, **{"a.json": text(), "b.json": text()}))
    with pytest.raises(DataError, match="is not in the form of 3D-ResNets"):
        taken("hara-json", lay(*VIDEOS, folder="c", **{"a.json": text({"a": {"subset": "training"}})}))


@pytest.fixture
def manifest(lay):
    root = lay("run/a.mp4", "hit/b c.mp4", "hit/달.mp4")
    rows = [
        Sample(root / "run/a.mp4", "run", "train"),
        Sample(root / "hit/b c.mp4", "hit", "val", start_seconds=0.5, end_seconds=1.5),
        Sample(root / "hit/달.mp4", "hit", "test"),
    ]
    return Manifest.of(root, rows, labels=LabelMap.of(["run", "hit"]))


def test_written_frames_count_from_one(manifest, tmp_path):
    write_hara_json(manifest, tmp_path / "out.json")
    record = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert record == {
        "labels": ["run", "hit"],
        "database": {
            "a": {"subset": "training", "annotations": {"label": "run", "segment": [1, 25]}},
            "b c": {"subset": "validation", "annotations": {"label": "hit", "segment": [7, 19]}},
            "달": {"subset": "testing", "annotations": {"label": "hit", "segment": [1, 25]}},
        },
    }


def test_what_is_written_is_read_back(manifest, taken):
    write_hara_json(manifest, manifest.root / "out.json")
    _, back = taken("hara-json", manifest.root)
    assert back.samples == manifest.samples
    assert back.labels == manifest.labels


def test_what_would_be_lost_is_refused(lay, tmp_path):
    root = lay("run/a.mp4", "hit/a.mp4")
    with pytest.raises(DataError, match="2 of 2 samples are in no split"):
        write_hara_json(read_manifest(root), tmp_path / "out.json")
    rows = [Sample(path, path.parent.name, "train") for path in (root / "run/a.mp4", root / "hit/a.mp4")]
    with pytest.raises(DataError, match=r"run/a\.mp4 and hit/a\.mp4"):
        write_hara_json(Manifest.of(root, rows), tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_folders_of_frames_as_its_tools_make_them(place, taken):
    """`root/label/id/image_00001.jpg`: the folder is the video."""
    root = place(*(f"run/v.1/image_{number:05}.jpg" for number in (1, 2, 3)), "run/v.1/n_frames")
    (root / "ucf.json").write_text(text({"v.1": entry("training", "run", (1, 4))}))
    found, manifest = taken("hara-json", root)
    assert [(manifest.relative(one.path), one.split) for one in manifest.samples] == [("run/v.1", "train")]
    assert not found.unlisted


@pytest.mark.parametrize(
    ("segment", "times"),
    [((1, 51), (None, None)), ((0, 50), (None, None)), ((1, 26), (None, 1.0)), ((0, 25), (None, 1.0))],
)
def test_the_first_frames_of_a_folder_are_a_part_of_it(place, taken, segment, times):
    root = place(*(f"run/v/image_{number:05}.jpg" for number in range(1, 51)))
    Image.new("RGB", (8, 8)).save(root / "run/v/image_00001.jpg")
    (root / "x.json").write_text(text({"v": entry("training", "run", segment)}))
    found, manifest = taken("hara-json", root)
    assert [(one.start_seconds, one.end_seconds) for one in manifest.samples] == [times]
    assert found.notes == ()


def test_the_first_frames_of_files_are_taken_for_all_of_them_and_told(lay, taken):
    found, manifest = taken("hara-json", lay("run/a.mp4", **{"x.json": text({"a": entry("training", "run", (1, 9))})}))
    assert manifest.samples[0].end_seconds is None
    assert found.notes == ("1 segments that begin with the first frame of a file were taken for all of it",)


def test_a_video_of_another_class_is_never_meant(lay, taken):
    database = {"a": entry("training", "run"), "b": entry("training", "run", video_path="there/b.mp4")}
    found, manifest = taken(
        "hara-json",
        lay("hit/a.mp4", "hit/b.mp4", "run/c.mp4", **{"x.json": text({**database, "c": entry("training", "run")})}),
    )
    assert [manifest.relative(one.path) for one in manifest.samples] == ["run/c.mp4"]
    assert found.reasons == {"not on the disk": 2}


def test_a_path_that_leads_nowhere_gives_way_to_the_folder_of_the_class(lay, taken):
    database = {"b": entry("training", "run", video_path="jpg/whole.mp4")}
    _, manifest = taken("hara-json", lay("run/b.mp4", **{"x.json": text(database)}))
    assert [manifest.relative(one.path) for one in manifest.samples] == ["run/b.mp4"]
