"""Studies of rendered clips, small enough to be run in seconds."""

import csv
import shutil

import pytest
import yaml

BASE = {
    "title": "Small",
    "data": "clips.csv",
    "settings": {
        "model": "resnet3d_10", "model_options": {"widen_factor": 0.125, "conv1_t_size": 3}, "frames": 4, "stride": 2,
        "size": 16, "short_side": 24, "epochs": 1, "batch_size": 8, "device": "cpu",
    },
    "axes": {"lr": [0.001, 0.01], "seed": [0, 1]},
}  # fmt: skip


@pytest.fixture(scope="session")
def eight_clips(tiny_clips, tmp_path_factory):
    """The folder of eight rendered clips: two scenes train, one tests; clips.csv says so."""
    folder = tmp_path_factory.mktemp("eight")
    rows = list(csv.DictReader(tiny_clips.read_text().splitlines()))
    scenes = sorted({row["group"] for row in rows})
    split = {scenes[0]: "train", scenes[1]: "train", scenes[2]: "test", scenes[3]: "test"}
    chosen = [{**row, "split": split[row["group"]]} for row in rows if row["group"] in split]
    chosen = [row for row in chosen if row["path"].endswith(("-00.mp4", "-01.mp4"))]
    for row in chosen:
        (folder / row["path"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_clips.parent / row["path"], folder / row["path"])
    with (folder / "clips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, chosen[0])
        writer.writeheader()
        writer.writerows(chosen)
    return folder


@pytest.fixture
def write_study(eight_clips, tmp_path):
    """Write a study beside the clips' manifest: `BASE` with what is given; its path."""

    def write(name="study.yaml", **parts):
        base = {**BASE, **parts, "settings": {**BASE["settings"], **parts.get("settings", {})}}
        base["data"] = str(eight_clips / base["data"])
        path = tmp_path / name
        path.write_text(
            yaml.safe_dump({key: value for key, value in base.items() if value is not None}, sort_keys=False)
        )
        return path

    return write
