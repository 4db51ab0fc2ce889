import csv
from unicodedata import normalize

import pytest

from kinema.core.errors import DataError, UsageError
from kinema.core.labels import list_published_labels
from kinema.datasets.manifest import read_manifest
from kinema.datasets.published.formats import FORMATS, import_published
from kinema.datasets.published.listed import missing_path

LIST = "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\n"
VIDEO = "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi"


def test_every_published_list_of_classes_has_a_format():
    assert {name.removesuffix("200") for name in list_published_labels()} <= set(FORMATS)


def test_folders_with_names_of_all_kinds(lay, taken):
    names = ["가방 들기/영상 1.mp4", normalize("NFD", "가방 들기/둘.mp4"), 'it\'s "so"/a, b.mp4', "é/ç.mp4"]
    found, manifest = taken("folder", lay(*names, **{"notes.txt": "x"}))
    assert {(manifest.relative(one.path), one.label) for one in manifest.samples} == {
        (normalize("NFC", name), normalize("NFC", name).split("/")[0]) for name in names
    }
    assert not found.absent
    assert manifest.samples[0].path.is_file()


def test_what_is_missing_stands_beside_the_manifest_until_it_is_there(lay, taken):
    gone = "Archery/v_Archery_g01_c01.avi"
    root = lay(VIDEO, **{"trainlist01.txt": LIST + gone + " 3\n"})
    taken("ucf101", root)
    with missing_path(root / "manifest.csv").open(encoding="utf-8", newline="") as opened:
        assert list(csv.DictReader(opened)) == [
            {"name": gone, "label": "Archery", "split": "train", "reason": "not on the disk"}
        ]
    lay(gone)
    taken("ucf101", root)
    assert not missing_path(root / "manifest.csv").exists()


def test_a_second_import_does_not_take_what_the_first_one_wrote_for_a_list(lay, taken):
    root = lay(VIDEO, **{"trainlist01.txt": LIST})
    assert taken("ucf101", root)[0].to_json() == taken("ucf101", root)[0].to_json()


def test_the_manifest_must_lie_above_the_videos(lay, tmp_path):
    root = lay(VIDEO, **{"trainlist01.txt": LIST})
    found = import_published("ucf101", root)
    with pytest.raises(DataError, match="1 videos lie outside"):
        found.write(tmp_path / "elsewhere/m.csv")
    found.write(tmp_path / "m.csv")
    assert read_manifest(tmp_path / "m.csv", min_classes=1).samples[0].path == root / VIDEO


def test_an_official_list_is_never_overwritten(lay):
    root = lay(VIDEO, **{"trainlist01.txt": LIST, "train.csv": "label,youtube_id,time_start,time_end,split\n"})
    found = import_published("ucf101", root)
    with pytest.raises(DataError, match=r"train\.csv is there and is no manifest: its first line is 'label,youtube_id"):
        found.write(root / "train.csv")
    with pytest.raises(DataError, match="is there and is no manifest"):
        found.write(root / "trainlist01.txt")
    assert (root / "trainlist01.txt").read_text() == LIST


def test_links_to_folders_are_followed_but_not_in_circles(lay, taken):
    real = lay(VIDEO, folder="disk")
    root = lay(**{"trainlist01.txt": LIST})
    (root / "videos").symlink_to(real)
    (real / "loop").symlink_to(root)
    found, manifest = taken("ucf101", root)
    assert manifest.relative(manifest.samples[0].path) == f"videos/{VIDEO}"
    assert not found.unlisted


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("ucf", {}, "no format named 'ucf'; did you mean 'ucf101'"),
        ("kinetics400", {"split": 1}, "split 1 of kinetics400"),
        ("hmdb51", {"split": 4}, "split 4 of hmdb51"),
        ("folder", {"annotations": "x"}, "--annotations with folder"),
    ],
)
def test_wrong_usage(tmp_path, name, options, said):
    with pytest.raises(UsageError, match=said):
        import_published(name, tmp_path, **options)


def test_no_folder(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        import_published("ucf101", tmp_path / "nowhere")
