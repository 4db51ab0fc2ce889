"""What is rendered is what the manifest and the episodes say, and its label lies in the motion."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from kinema.core.errors import UsageError
from kinema.datasets.figure import JOINTS, joints
from kinema.datasets.manifest import Manifest, read_manifest
from kinema.datasets.motion import LABELS, Motion, make_motion
from kinema.datasets.scene import make_scene
from kinema.datasets.synthetic import make_stance, render_dataset, render_untrimmed, split_of

SIZE = (64, 48)


def tiny(folder: Path, **changes: Any) -> Path:
    options: dict[str, Any] = {"scenes": 3, "clips_per_scene": 4, "seed": 5, "size": SIZE, "seconds": 2.0, **changes}
    return render_dataset(folder, **options)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_manifest(tiny(tmp_path_factory.mktemp("synthetic")))


def decode(path: Path) -> tuple[str, np.ndarray, float]:
    with av.open(path) as container:
        stream = container.streams.video[0]
        luma = np.stack([frame.to_ndarray(format="gray") for frame in container.decode(stream)])
        return stream.codec_context.name, luma.astype(float), float(stream.average_rate)


def test_the_manifest_names_every_file_once(rendered: Manifest) -> None:
    assert rendered.labels.names == ("normal", "selfharm")
    on_disk = sorted(rendered.root.glob("*/*.mp4"))
    assert sorted(sample.path for sample in rendered.samples) == on_disk
    assert len(on_disk) == 12
    assert all(sample.path.parent.name == sample.label for sample in rendered.samples)


def test_labels_are_balanced_in_every_scene_and_scenes_stay_in_one_split(rendered: Manifest) -> None:
    splits: dict[str | None, set[str | None]] = {}
    for sample in rendered.samples:
        splits.setdefault(sample.group, set()).add(sample.split)
    assert splits == {"scene-000": {"train"}, "scene-001": {"val"}, "scene-002": {"test"}}
    for group in splits:
        labels = [sample.label for sample in rendered.samples if sample.group == group]
        assert (labels.count("normal"), labels.count("selfharm")) == (2, 2)


@pytest.mark.parametrize(
    ("scenes", "train", "val", "test"), [(1, 1, 0, 0), (2, 1, 0, 1), (3, 1, 1, 1), (16, 10, 2, 4), (80, 50, 10, 20)]
)
def test_splits(scenes: int, train: int, val: int, test: int) -> None:
    splits = [split_of(scene, scenes) for scene in range(scenes)]
    assert splits == ["train"] * train + ["val"] * val + ["test"] * test


def test_files_are_h264_of_the_promised_length(rendered: Manifest) -> None:
    for sample in rendered.samples:
        codec, luma, fps = decode(sample.path)
        assert (codec, luma.shape, fps) == ("h264", (24, 48, 64), 12.0)


def test_the_clips_of_a_pair_show_the_same_room_and_not_the_same_motion(rendered: Manifest) -> None:
    folder = rendered.root
    _, normal, _ = decode(folder / "normal" / "scene-000-00.mp4")
    _, selfharm, _ = decode(folder / "selfharm" / "scene-000-00.mp4")
    _, elsewhere, _ = decode(folder / "normal" / "scene-001-00.mp4")
    room = [np.median(film, axis=0) for film in (normal, selfharm, elsewhere)]
    assert np.median(np.abs(room[0] - room[1])) < 4 < np.median(np.abs(room[0] - room[2]))
    assert np.abs(normal - selfharm).max() > 20


def test_poses_of_both_classes_are_distributed_alike() -> None:
    distances: dict[str, list[np.ndarray]] = {label: [] for label in LABELS}
    heights: dict[str, list[np.ndarray]] = {label: [] for label in LABELS}
    for seed in range(300):
        rng = np.random.default_rng(seed)
        scene = make_scene(rng)
        stance = make_stance(scene, rng)
        for which, label in enumerate(LABELS):
            places = joints(scene.body, stance, make_motion(label, 48, 12, np.random.default_rng((seed, which))))
            hands = places[:, [JOINTS.index("hand_r"), JOINTS.index("hand_l")]]
            gaps = np.linalg.norm(hands - places[:, JOINTS.index("head")][:, None], axis=2)
            distances[label].append(gaps.min(axis=1))
            heights[label].append(places[:, JOINTS.index("head"), 1])
    for quantity, reach in ((distances, (0.1, 1.0)), (heights, (1.0, 1.8))):
        shares = [
            np.histogram(np.concatenate(quantity[label]), bins=20, range=reach)[0] / (300 * 48) for label in LABELS
        ]
        assert sum(shares[0]) == pytest.approx(1, abs=0.01)
        assert 0.5 * np.abs(shares[0] - shares[1]).sum() < 0.03  # total variation of the histograms


def test_the_same_seed_gives_the_same_bytes(rendered: Manifest, tmp_path: Path) -> None:
    again = read_manifest(tiny(tmp_path / "again"))
    for one, two in zip(rendered.samples, again.samples, strict=True):
        assert one.path.read_bytes() == two.path.read_bytes()
    other = read_manifest(tiny(tmp_path / "other", scenes=1, clips_per_scene=2, seed=6))
    assert other.samples[0].path.read_bytes() != rendered.samples[0].path.read_bytes()


@pytest.mark.parametrize(("seconds", "seed"), [(30.0, 0), (30.0, 1), (12.0, 2)])
def test_untrimmed_episodes_are_within_the_video_and_written_down(tmp_path: Path, seconds: float, seed: int) -> None:
    path = tmp_path / "long.mp4"
    episodes = render_untrimmed(path, seconds=seconds, seed=seed, size=SIZE)
    assert len(decode(path)[1]) == seconds * 12
    assert episodes
    edges = [edge for episode in episodes for edge in (episode.start_seconds, episode.end_seconds)]
    assert edges == sorted(edges)
    assert edges[0] >= 4
    assert edges[-1] <= seconds - 4
    assert all(3 <= b - a <= 8 for a, b in zip(edges[::2], edges[1::2], strict=True))
    with path.with_suffix(".episodes.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["start_seconds", "end_seconds"],
        *([str(e.start_seconds), str(e.end_seconds)] for e in episodes),
    ]


def test_episodes_are_where_the_sudden_motion_is(tmp_path: Path) -> None:
    inside, outside = [], []
    for seed in range(4):
        path = tmp_path / f"{seed}.mp4"
        episodes = render_untrimmed(path, seconds=36.0, seed=seed, size=SIZE)
        _, luma, _ = decode(path)
        # Pixels that jump from one frame to the next: blows move an arm or a trunk within two frames.
        jumps = (np.abs(np.diff(luma, axis=0)) > 30).sum(axis=(1, 2))
        within = np.zeros(len(jumps), bool)
        for episode in episodes:
            within[round(episode.start_seconds * 12) : round(episode.end_seconds * 12)] = True
        inside.append(np.percentile(jumps[within], 85))
        outside.append(np.percentile(jumps[~within], 85))
    assert np.mean(inside) > 1.3 * np.mean(outside)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scenes": 0}, "0 scenes"),
        ({"clips_per_scene": 3}, "3 clips a scene"),
        ({"clips_per_scene": 0}, "0 clips a scene"),
        ({"seconds": 1.0}, "videos of 1.0 seconds"),
        ({"fps": 0}, "0 frames a second"),
        ({"size": (65, 48)}, "65x48"),
    ],
)
def test_numbers_that_cannot_be(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        tiny(tmp_path / "data", **changes)
    assert not list(tmp_path.rglob("*.*"))


def test_untrimmed_videos_need_room_for_an_episode(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"of 11.0 seconds\nallowed: 12 or more"):
        render_untrimmed(tmp_path / "short.mp4", seconds=11.0, seed=0)


def test_people_at_walls_reach_them_with_the_head_and_not_beyond() -> None:
    seen = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        scene = make_scene(rng)
        stance = make_stance(scene, rng)
        if not stance.wall:
            continue
        seen += 1
        places = joints(scene.body, stance, Motion(np.array([0.0, 1.0]), np.array([0.5, 0.5])))
        gaps = scene.room.width_m / 2 - np.abs(places[:, JOINTS.index("head"), 0])
        assert gaps[0] > 0.35
        assert 0.05 < gaps[1] < 0.2  # the radius of a head
    assert seen > 5
