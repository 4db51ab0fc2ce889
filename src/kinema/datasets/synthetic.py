"""A small data set that kinema renders itself: somebody in a cell, filmed by a fixed camera.

Two classes, `normal` and `selfharm`, that differ only in how the person moves (`motion`). The clips
of a scene come in pairs, one of each class, that share room, camera, light, person, place, clothes
and the path of poses. Made to try everything out without data of one's own, and to check that a
network looks at motion; figures on it say nothing about real videos.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from kinema.core.atomic import replacing
from kinema.core.errors import UsageError
from kinema.core.progress import Progress, Silent
from kinema.datasets.figure import Other, Stance, joints
from kinema.datasets.manifest import Manifest
from kinema.datasets.motion import LABELS, Floats, Label, make_motion
from kinema.datasets.sample import Sample
from kinema.datasets.scene import Scene, film_scene, make_scene
from kinema.video.writer import VideoWriter

__all__ = ["Episode", "make_stance", "render_dataset", "render_untrimmed", "split_of"]

Split = Literal["train", "val", "test"]
_CRF = 18
_BLEND_SECONDS = 0.3
_SELFHARM_SECONDS = (3.0, 8.0)
_NORMAL_SECONDS = (4.0, 10.0)
_CLIPS, _UNTRIMMED = 0, 1
"""First number of every random stream, so that untrimmed videos show scenes no clip was made in."""


@dataclass(frozen=True)
class Episode:
    """A stretch [start_seconds, end_seconds) of an untrimmed video, from its first frame, in which
    the person harms themselves.
    """

    start_seconds: float
    end_seconds: float


def render_dataset(
    folder: Path | str,
    *,
    scenes: int,
    clips_per_scene: int,
    seed: int,
    size: tuple[int, int] = (128, 96),
    fps: int = 12,
    seconds: float = 4.0,
    progress: Progress | None = None,
) -> Path:
    """Render `scenes` times `clips_per_scene` H.264 videos, half of each class, and their manifest.

    Args:
        folder: receives `normal/`, `selfharm/` and `manifest.csv` (path, label, split, group; a
            group is a scene, and lies in one split as a whole: see `split_of`).
        scenes: rooms, each with its own camera and person; 1 or more.
        clips_per_scene: an even number, because clips come in pairs.
        seed: the same seed and arguments give the same bytes.
        size: (width, height) in pixels, even numbers.
        fps: frames a second.
        seconds: length of each clip, at least 2.
        progress: a step a clip.

    Returns:
        The path of the manifest.

    Raises:
        UsageError: numbers outside of the above.
        DataError: the folder cannot be written to.
    """
    if scenes < 1:
        raise UsageError(f"{scenes} scenes", allowed="1 or more")
    if clips_per_scene < 2 or clips_per_scene % 2:
        raise UsageError(f"{clips_per_scene} clips a scene", allowed="an even number, 2 or more")
    count = _frame_count(seconds, fps)
    folder = Path(folder).absolute()
    samples: list[Sample] = []
    with (progress or Silent()).task("render", scenes * clips_per_scene, "videos") as task:
        for number in range(scenes):
            group = f"scene-{number:03d}"
            scene = make_scene(np.random.default_rng((_CLIPS, seed, number)))
            for index in range(clips_per_scene):
                pair, which = divmod(index, 2)
                label = LABELS[which]
                stance = make_stance(scene, np.random.default_rng((_CLIPS, seed, number, pair)))
                rng = np.random.default_rng((_CLIPS, seed, number, pair, which))
                places = joints(scene.body, stance, make_motion(label, count, fps, rng))
                path = folder / label / f"{group}-{pair:02d}.mp4"
                with VideoWriter(path, fps, size, crf=_CRF, preset="veryfast") as writer:
                    for frames in film_scene(scene, places, size, fps, rng):
                        writer.write(frames)
                samples.append(Sample(path, label, split_of(number, scenes), group, None, None))
                task.advance()
    manifest = folder / "manifest.csv"
    Manifest.of(folder, samples).write(manifest)
    return manifest


def render_untrimmed(
    path: Path | str,
    *,
    seconds: float = 60.0,
    seed: int,
    size: tuple[int, int] = (128, 96),
    fps: int = 12,
    progress: Progress | None = None,
) -> tuple[Episode, ...]:
    """Render one long video in which episodes of self-harm interrupt normal behaviour.

    Its scene is in no data set of `render_dataset`, whatever the seed. Stretches of 4 to 10 s of
    normal behaviour and of 3 to 8 s of self-harm take turns, beginning and ending with normal.

    Args:
        path: the video; the episodes are written beside it, to `<stem>.episodes.csv` (start_seconds,
            end_seconds).
        seconds: its length, at least 12.
        seed: the same seed and arguments give the same bytes.
        size: (width, height) in pixels, even numbers.
        fps: frames a second.
        progress: a step a frame.

    Returns:
        The episodes, in order; their ends are times of frames.

    Raises:
        UsageError: numbers outside of the above.
        DataError: the folder cannot be written to.
    """
    if seconds < 12:
        raise UsageError(f"an untrimmed video of {seconds} seconds", allowed="12 or more")
    total = _frame_count(seconds, fps)
    path = Path(path)
    rng = np.random.default_rng((_UNTRIMMED, seed))
    scene = make_scene(rng)
    stretches = tuple(_stretches(total, fps, rng))
    places = _behave(scene, stretches, fps, rng)
    with (
        VideoWriter(path, fps, size, crf=_CRF, preset="veryfast") as writer,
        (progress or Silent()).task("render", total, "frames") as task,
    ):
        for frames in film_scene(scene, places, size, fps, rng):
            writer.write(frames)
            task.advance(len(frames))
    episodes = tuple(Episode(s.start / fps, s.stop / fps) for s in stretches if s.label == "selfharm")
    with replacing(path.with_suffix(".episodes.csv")) as beside, beside.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("start_seconds", "end_seconds"))
        rows.writerows((episode.start_seconds, episode.end_seconds) for episode in episodes)
    return episodes


def split_of(scene: int, scenes: int) -> Split:
    """The split of scene number `scene`: the last quarter is for testing, an eighth before it for validation."""
    test = max(1, round(scenes / 4)) if scenes > 1 else 0
    val = max(1, round(scenes / 8)) if scenes > 2 else 0
    if scene >= scenes - test:
        return "test"
    return "val" if scene >= scenes - test - val else "train"


def make_stance(scene: Scene, rng: np.random.Generator) -> Stance:
    """Draw where the person of a scene stands and what the paths of poses are."""
    wall = bool(rng.uniform() < 0.25)
    other: Other = get_args(Other)[rng.integers(len(get_args(Other)))]
    direction = int(rng.choice((-1, 1)))
    facing = direction * (np.pi / 2 + rng.normal(0, 0.08)) if wall else direction * rng.uniform(0.1, 1.2)
    wall_lean = rng.uniform(0.6, 0.8)
    x_m = rng.uniform(-0.35, 0.35)
    if wall:
        # So far from the wall that the forehead meets it at `wall_lean`.
        reach_m = scene.body.height_m / 1.75 * (0.60 * np.sin(wall_lean) + 0.15)
        x_m = direction * (scene.room.width_m / 2 - reach_m)
    return Stance(
        x_m=x_m,
        z_m=scene.room.depth_m * rng.uniform(0.5, 0.62),
        facing_radians=facing,
        wall=wall,
        # Seen from the camera, this hand comes from where the face looks; the other one would come
        # from in front of the face straight towards it, hardly moving in the picture.
        side=-direction,
        drawn_back_m=(rng.uniform(0.28, 0.38), rng.uniform(-0.22, 0.10)),
        lean_radians=rng.uniform(-0.02, 0.12),
        wall_lean_radians=wall_lean,
        other=other,
    )


@dataclass(frozen=True)
class _Stretch:
    """Frames [start, stop) of one kind of behaviour."""

    label: Label
    start: int
    stop: int


def _stretches(total: int, fps: int, rng: np.random.Generator) -> Iterator[_Stretch]:
    shortest = round(_NORMAL_SECONDS[0] * fps)
    start = 0
    while start < total:
        stop = start + round(rng.uniform(*_NORMAL_SECONDS) * fps)
        then = stop + round(rng.uniform(*_SELFHARM_SECONDS) * fps)
        if then + shortest > total:
            if start:
                yield _Stretch("normal", start, total)
                return
            # A short video: one episode in its middle.
            stop, then = total // 3, 2 * total // 3
        yield _Stretch("normal", start, stop)
        yield _Stretch("selfharm", stop, then)
        start = then


def _behave(scene: Scene, stretches: tuple[_Stretch, ...], fps: int, rng: np.random.Generator) -> Floats:
    """Joints (T, J, 3) over all stretches, each passing smoothly from the last pose of the one before."""
    stance = make_stance(scene, rng)
    blend = round(_BLEND_SECONDS * fps)
    parts: list[Floats] = []
    for stretch in stretches:
        motion = make_motion(stretch.label, stretch.stop - stretch.start, fps, rng)
        places = joints(scene.body, stance, motion)
        if parts:
            share = (np.arange(1, blend + 1) / (blend + 1))[:, None, None]
            places[:blend] = share * places[:blend] + (1 - share) * parts[-1][-1]
        parts.append(places)
    return np.concatenate(parts)


def _frame_count(seconds: float, fps: int) -> int:
    if fps < 1:
        raise UsageError(f"{fps} frames a second", allowed="1 or more")
    if seconds < 2:
        raise UsageError(f"videos of {seconds} seconds", allowed="2 or more")
    return round(seconds * fps)
