import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from kinema.core.labels import published_labels
from kinema.datasets.manifest import read_manifest
from kinema.video.writer import VideoWriter


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    path = tmp_path_factory.mktemp("encoded") / "clip.mp4"
    with VideoWriter(path, fps=10, size=(32, 32)) as writer:
        writer.write(np.zeros((10, 32, 32, 3), np.uint8))
    return path


@pytest.fixture
def ucf(encoded, tmp_path):
    """Split 1 of UCF101 with two videos of three, and one that no list names."""
    root = tmp_path / "UCF101"
    names = ("Archery/v_Archery_g08_c01.avi", "Basketball/v_Basketball_g01_c01.avi", "Archery/v_Archery_g09_c09.avi")
    for name in names:
        (root / "UCF-101" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(encoded, root / "UCF-101" / name)
    (root / "trainlist01.txt").write_text(f"{names[0]} 3\nPunch/[x].avi 71\n")
    (root / "testlist01.txt").write_text(f"{names[1]}\n")
    return root


def test_import_shows_what_was_taken_and_what_was_not(kinema_command, ucf):
    ran = kinema_command("data", "import", "ucf101", ucf, "-o", ucf / "ucf101.csv")
    assert (ran.code, ran.err) == (0, "")
    for line in (
        f"{ucf}/ucf101.csv: 2 samples (1 train, 1 test) of 3 listed",
        "classes: 2 of 101 have samples",
        "missing: 1 not on the disk: Punch/[x].avi",
        f"all 1 of them: {ucf}/ucf101.missing.csv",
        "in no list: 1 videos: UCF-101/Archery/v_Archery_g09_c09.avi",
    ):
        assert line in ran.out
    assert read_manifest(ucf / "ucf101.csv").labels == published_labels("ucf101")


def test_import_as_json(kinema_command, ucf):
    ran = kinema_command("data", "import", "ucf101", ucf, "-o", ucf / "ucf101.csv", "--json")
    assert json.loads(ran.out) == {
        "schema": "kinema.import",
        "version": 1,
        "manifest": f"{ucf}/ucf101.csv",
        "root": str(ucf),
        "listed": 3,
        "samples": 2,
        "splits": {"train": 1, "test": 1},
        "classes": 101,
        "classes_with_samples": 2,
        "reasons": {"not on the disk": 1},
        "missing": [{"name": "Punch/[x].avi", "label": "Punch", "split": "train", "reason": "not on the disk"}],
        "unlisted": ["UCF-101/Archery/v_Archery_g09_c09.avi"],
        "notes": [],
    }


def test_mistakes_leave_with_their_codes_and_write_nothing(kinema_command, ucf, tmp_path):
    assert kinema_command("data", "import", "ufc101", ucf, "-o", ucf / "m.csv").code == 2
    assert kinema_command("data", "import", "hmdb51", ucf, "-o", ucf / "m.csv").code == 3
    ran = kinema_command("data", "import", "ucf101", ucf, "-o", tmp_path / "elsewhere/m.csv")
    assert (ran.code, "videos lie outside" in ran.err) == (3, True)
    assert not [*tmp_path.rglob("m.csv"), *tmp_path.rglob("*.classes.json")]


@pytest.fixture
def two(encoded, tmp_path):
    for name in ("home/run/a.mp4", "home/hit/b.mp4", "street/run/a.mp4", "street/fall/c.mp4", "street/fall/d.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(encoded, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    ("rule", "names"),
    [("union", ("hit", "run", "fall")), ("prefix", ("home/hit", "home/run", "street/fall", "street/run"))],
)
def test_merge(kinema_command, two, rule, names):
    out = two / "all.csv"
    ran = kinema_command("data", "merge", two / "home", two / "street", "--classes", rule, "-o", out)
    assert (ran.code, ran.err) == (0, "")
    assert f"{out}: 5 samples, {len(names)} classes" in ran.out
    assert [line.split() for line in ran.out.splitlines()[-3:]] == [
        ["data", "set", "samples", "classes"],
        ["home", "2", "2"],
        ["street", "3", "2"],
    ]
    merged = read_manifest(out)
    assert merged.labels.names == names
    assert {sample.dataset for sample in merged.samples} == {"home", "street"}


def test_merge_as_json(kinema_command, two):
    ran = kinema_command(
        "data", "merge", two / "home", two / "street", "--classes", "union", "-o", two / "x.csv", "--json"
    )
    assert json.loads(ran.out) == {
        "schema": "kinema.merge",
        "version": 1,
        "manifest": f"{two}/x.csv",
        "samples": 5,
        "classes": 3,
        "datasets": [
            {"dataset": "home", "samples": 2, "classes": 2},
            {"dataset": "street", "samples": 3, "classes": 2},
        ],
        "alike": [],
    }


def test_merge_asks_how_classes_are_joined(kinema_command, two):
    assert kinema_command("data", "merge", two / "home", two / "street", "-o", two / "x.csv").code == 2


def test_export_and_import_again(kinema_command, ucf, tmp_path):
    kinema_command("data", "import", "ucf101", ucf, "-o", ucf / "ucf101.csv")
    ran = kinema_command("data", "export", ucf / "ucf101.csv", "--format", "hara-json", "-o", tmp_path / "ucf.json")
    assert (ran.code, ran.out) == (0, "")
    assert f"{tmp_path}/ucf.json: 2 samples" in ran.err
    record = json.loads(Path(tmp_path / "ucf.json").read_text())
    assert record["database"]["v_Archery_g08_c01"] == {
        "subset": "training",
        "annotations": {"label": "Archery", "segment": [1, 11]},
    }
    again = ("data", "import", "hara-json", ucf, "--annotations", tmp_path / "ucf.json", "-o", ucf / "again.csv")
    assert kinema_command(*again).code == 0
    assert read_manifest(ucf / "again.csv").fingerprint == read_manifest(ucf / "ucf101.csv").fingerprint
    assert kinema_command("data", "export", ucf / "ucf101.csv", "--format", "csv", "-o", tmp_path / "x").code == 2
    ran = kinema_command("data", "export", ucf / "ucf101.csv", "-o", tmp_path / "x.json", "--json")
    assert json.loads(ran.out)["samples"] == 2


def test_a_union_tells_which_names_stand_apart_although_they_seem_to_mean_the_same(kinema_command, two):
    for number in range(7):
        (two / f"home/Do [{number}]").mkdir()
        shutil.copy(two / "home/run/a.mp4", two / f"home/Do [{number}]/x.mp4")
        (two / f"street/doing_{number}").mkdir()
        shutil.copy(two / "home/run/a.mp4", two / f"street/doing_{number}/y.mp4")
    given = ("data", "merge", two / "home", two / "street", "-o", two / "all.csv", "--classes")
    ran = kinema_command(*given, "union")
    assert "alike, but not the same class: 7" in ran.out
    assert "home/Do [0], street/doing_0" in ran.out
    assert "and 2 more" in ran.out
    assert json.loads(kinema_command(*given, "union", "--json").out)["alike"][6] == ["home/Do [6]", "street/doing_6"]
    assert "alike" not in kinema_command(*given, "prefix").out
    assert json.loads(kinema_command(*given, "prefix", "--json").out)["alike"] == []


def test_manifests_in_parquet_are_written_and_read_by_every_command(kinema_command, ucf, two):
    assert kinema_command("data", "import", "ucf101", ucf, "-o", ucf / "ucf101.parquet").code == 0
    assert kinema_command("data", "import", "ucf101", ucf, "-o", ucf / "ucf101.parquet").code == 0  # again
    made = read_manifest(ucf / "ucf101.parquet")
    assert (len(made), made.labels) == (2, published_labels("ucf101"))
    assert (ucf / "ucf101.missing.csv").exists()
    ran = kinema_command(
        "data", "merge", ucf / "ucf101.parquet", two / "home", "--classes", "union", "-o", two / "all.parquet"
    )
    assert (ran.code, len(read_manifest(two / "all.parquet"))) == (0, 4)
    ran = kinema_command("data", "split", two / "home", "-o", two / "home/s.parquet", "--fractions", "1", "0", "0")
    assert (ran.code, {one.split for one in read_manifest(two / "home/s.parquet").samples}) == (0, {"train"})
    (ucf / "list.parquet").write_bytes(b"not a manifest")
    ran = kinema_command("data", "import", "ucf101", ucf, "-o", ucf / "list.parquet")
    assert (ran.code, "list.parquet is there and is no manifest: its columns are none" in ran.err) == (3, True)
