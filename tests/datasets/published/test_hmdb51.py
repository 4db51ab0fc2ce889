import pytest

from kinema.core.errors import DataError
from kinema.core.labels import published_labels

HAIR = "April_09_brush_hair_u_nm_np1_ba_goo"
WHEEL = "(Rad)Schlag_die_Bank!_cartwheel_f_cm_np1_le_med_0.avi"
LISTS = {
    "splits/brush_hair_test_split1.txt": f"{HAIR}_0.avi 1 \n{HAIR}_1.avi 1 \n{HAIR}_2.avi 0 \nodd name.avi 2 \n",
    "splits/cartwheel_test_split1.txt": f"{WHEEL} 2 \nKöln_cartwheel_f_cm_np1_ri_bad_7.avi 1 \n",
    "splits/brush_hair_test_split3.txt": f"{HAIR}_2.avi 2 \n{HAIR}_1.avi 1 \n",
}
VIDEOS = (
    *(f"videos/brush_hair/{HAIR}_{number}.avi" for number in range(3)),
    "videos/brush_hair/odd name.avi",
    f"videos/cartwheel/{WHEEL}",
)


def test_the_layout_as_it_is_unpacked(lay, taken):
    found, manifest = taken("hmdb51", lay(*VIDEOS, **LISTS))
    assert [(one.path.name, one.label, one.split, one.group) for one in manifest.samples] == [
        (f"{HAIR}_0.avi", "brush_hair", "train", "April_09"),
        (f"{HAIR}_1.avi", "brush_hair", "train", "April_09"),
        ("odd name.avi", "brush_hair", "test", None),
        (WHEEL, "cartwheel", "test", "(Rad)Schlag_die_Bank!"),
    ]
    assert found.reasons == {"in neither part of split 1": 1, "not on the disk": 1}
    assert not found.unlisted
    assert manifest.labels == published_labels("hmdb51")


def test_each_official_split(lay, taken):
    _, manifest = taken("hmdb51", lay(*VIDEOS, **LISTS), split=3)
    assert [(one.path.name, one.split) for one in manifest.samples] == [
        (f"{HAIR}_2.avi", "test"),
        (f"{HAIR}_1.avi", "train"),
    ]


def test_lines_of_something_else_are_named(lay, taken):
    with pytest.raises(DataError, match=r"line 1 of .*chew_test_split1\.txt is none of HMDB51"):
        taken("hmdb51", lay(*VIDEOS, **{"chew_test_split1.txt": "a.avi 3\n"}))
    with pytest.raises(DataError, match=r"no CLASS_test_split2\.txt for each class"):
        taken("hmdb51", lay(*VIDEOS), split=2)
