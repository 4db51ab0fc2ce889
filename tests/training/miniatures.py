"""Data sets small enough to train real networks on for two steps: eight videos of two classes, and their flow."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from kinema.datasets.flow import compute_flow
from kinema.datasets.manifest import read_manifest
from kinema.video.flow import FlowChoice
from kinema.video.writer import VideoWriter

_SPLITS = ("train", "train", "val", "test")


def make_videos(folder: Path, frames: int = 18) -> Path:
    """The manifest of eight videos, half of them to train on; the classes differ by where a texture goes."""
    rows = ["path,label,split"]
    for number in range(8):
        label = ("left", "right")[number % 2]
        path = folder / label / f"{number}.mp4"
        strip = np.random.default_rng(number).integers(0, 256, (6, 12, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        with VideoWriter(path, fps=25, size=(56, 48)) as writer:
            for step in range(frames):
                left = 2 * (frames - step if number % 2 else step)
                writer.write(np.ascontiguousarray(strip[None, :, left : left + 56]))
        rows.append(f"{label}/{path.name},{label},{_SPLITS[number // 2]}")
    (folder / "clips.csv").write_text("\n".join(rows))
    return folder / "clips.csv"


def make_flow(videos: Path, folder: Path) -> Path:
    """The manifest of their flow, stored without loss."""
    report = compute_flow(
        read_manifest(videos), folder, FlowChoice("dis"), store="video", fps=Fraction(25), short_side_px=48, workers=0
    )
    return report.manifest.source
