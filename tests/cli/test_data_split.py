import json

import pytest
from typer.testing import CliRunner

from kinema.cli.data import app
from kinema.core.errors import DataError, UsageError
from kinema.datasets.manifest import read_manifest


@pytest.fixture
def table(tmp_path):
    """A manifest of 24 files that are no videos: six groups of four, two classes."""
    rows = ["path,label,group"]
    for number in range(24):
        label = ("calm", "fight")[number % 2]
        (tmp_path / label).mkdir(exist_ok=True)
        (tmp_path / label / f"{number:02}.mp4").write_bytes(bytes([number]))
        rows.append(f"{label}/{number:02}.mp4,{label},camera-{number // 4}")
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    return tmp_path / "clips.csv"


def run(*arguments):
    return CliRunner().invoke(app, ["split", "--workers", "0", *map(str, arguments)])


def test_a_split_is_written_and_shown(table):
    out = table.with_name("split.csv")
    done = run(table, "-o", out, "--fractions", "0.5", "0.25", "0.25", "--seed", "1")
    assert done.exit_code == 0, done.exception
    samples = read_manifest(out).samples
    assert len({(sample.group, sample.split) for sample in samples}) == 6
    parts = [sum(sample.split == part for sample in samples) for part in ("train", "val", "test")]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["class", "train", "val", "test"] in lines
    assert ["all", *map(str, parts)] in lines
    assert "by group" in done.stdout


def test_the_same_split_again(table):
    first, second, third = (table.with_name(f"{name}.csv") for name in "abc")
    for out, seed in ((first, 0), (second, 0), (third, 5)):
        run(table, "-o", out, "--seed", seed)
    assert first.read_bytes() == second.read_bytes() != third.read_bytes()


def test_each_fold_is_a_manifest(table):
    done = run(table, "-o", table.with_name("k.csv"), "--folds", "3", "--fractions", "0.8", "0.2", "0", "--json")
    record = json.loads(done.stdout)
    assert (record["schema"], record["version"]) == ("kinema.split", 1)
    assert [split["fold"] for split in record["splits"]] == [0, 1, 2]
    tested = []
    for number, split in enumerate(record["splits"], 1):
        path = table.with_name(f"k-fold{number}.csv")
        assert split["written"] == str(path)
        samples = read_manifest(path).samples
        assert sum(sample.split == "test" for sample in samples) == split["samples"]["test"]
        tested += [sample.path for sample in samples if sample.split == "test"]
    assert sorted(tested) == [sample.path for sample in sorted(read_manifest(table).samples, key=lambda one: one.path)]


def test_folds_are_shown_one_by_one(table):
    shown = run(table, "-o", table.with_name("k.csv"), "--folds", "2", "--fractions", "1", "0", "0").stdout
    assert "k-fold1.csv: by group, fold 1 of 2" in shown.replace("\n", "")
    assert "k-fold2.csv: by group, fold 2 of 2" in shown.replace("\n", "")


@pytest.fixture
def places(scenes, tmp_path):
    for place in range(2):
        for motion in range(4):
            label = ("calm", "fight")[motion % 2]
            scenes.write(tmp_path / label / f"{place}-{motion}.mp4", scenes.frames(place, motion, count=24))
    return tmp_path


def test_clusters_are_written_as_groups(places):
    out = places / "split.csv"
    done = run(places, "-o", out, "--group-by", "clusters", "--fractions", "0.5", "0", "0.5")
    assert done.exit_code == 0, done.exception
    assert {sample.group for sample in read_manifest(out).samples} == {"place-0001", "place-0002"}
    assert "note: 8 videos look like 2 different places" in done.stdout


def test_a_split_at_random_is_refused_where_places_would_be_parted(places):
    out = places / "split.csv"
    done = run(places, "-o", out, "--fractions", "0.5", "0", "0.5")
    assert isinstance(done.exception, DataError)
    assert not out.exists()
    allowed = run(places, "-o", out, "--fractions", "0.5", "0", "0.5", "--allow-leak")
    assert allowed.exit_code == 0
    assert "scores will be too good" in allowed.stdout


def test_a_manifest_elsewhere_is_refused_before_anything_is_decoded(places, tmp_path_factory):
    done = run(places, "-o", tmp_path_factory.mktemp("elsewhere") / "split.csv", "--group-by", "clusters")
    assert isinstance(done.exception, UsageError)
    assert f"--out {places / 'split.csv'}" in done.exception.next_step
