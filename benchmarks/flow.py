"""How fast each algorithm of optical flow is: fields a second in one thread, all in one run.

    python benchmarks/flow.py [VIDEO] [--size 340x256] [--fields 8] [--raft raft_small] [--device cuda]

Without a VIDEO a rendered one stands in. RAFT runs with random weights, which cost what trained ones do. Prints a
table, with how many times as fast as TV-L1 each is, then JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import torch
from torchvision.models.optical_flow import raft_large, raft_small

from kinema.datasets.synthetic import render_untrimmed
from kinema.video.file import VideoFile
from kinema.video.flow import FlowAlgorithm, FlowChoice, flow_fields, make_algorithm


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--size", default="340x256")
    parser.add_argument("--fields", type=int, default=8)
    parser.add_argument("--raft", default="raft_small")
    parser.add_argument("--device", default="cpu", help="of RAFT")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    width, height = map(int, asked.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        frames = load(asked.video, Path(folder), asked.fields + 1, width, height)
        weights = Path(folder, "raft.pth")
        torch.save({"raft_small": raft_small, "raft_large": raft_large}[asked.raft]().state_dict(), weights)
        choices = [FlowChoice(name) for name in ("tvl1", "dis", "farneback")]
        choices.append(FlowChoice("raft", asked.raft, weights, asked.device))
        rates = {}
        for choice in choices:
            name = f"{asked.raft}, {asked.device}" if choice.algorithm == "raft" else choice.algorithm
            rates[name] = measure(make_algorithm(choice), frames)
    slowest = rates["tvl1"]
    print(f"{'algorithm':20} {'fields/s':>9} {'x TV-L1':>8}   {width}x{height}, {len(frames) - 1} fields, one thread")
    for name, rate in rates.items():
        print(f"{name:20} {rate:9.2f} {rate / slowest:8.1f}")
    print(json.dumps({"size": asked.size, "processors": os.cpu_count(), "fields_per_second": rates}))


def load(video: Path | None, folder: Path, count: int, width: int, height: int) -> torch.Tensor:
    """Frames uint8 (count, 3, height, width), from the middle of the video."""
    if video is None:
        video = folder / "rendered.mp4"
        render_untrimmed(video, seconds=24, seed=0, size=(width, height))
    with VideoFile(video, short_side_px=max(height, width)) as opened:
        begin = max(0, (len(opened.pts) - count) // 2)
        data = opened.read(range(begin, begin + count)).data
    return torch.nn.functional.interpolate(data.float(), (height, width), mode="bilinear").to(torch.uint8)


def measure(algorithm: FlowAlgorithm, frames: torch.Tensor) -> float:
    """Fields a second, after one field to warm up."""
    flow_fields(frames[:2], algorithm)
    began = time.perf_counter()
    flow_fields(frames, algorithm)
    return (len(frames) - 1) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
