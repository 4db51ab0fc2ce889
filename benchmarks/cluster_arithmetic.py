"""What a large pre-training takes: GPU-hours, cores that decode, bytes a second, storage, traffic between GPUs.

Run with `python benchmarks/cluster_arithmetic.py`; every assumption is an option. Nothing is measured here:
docs/how-to/cluster.md says where each assumption comes from.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields

import torch

from kinema.models.zoo import create_model, find_row

SECONDS_AN_HOUR = 3600
FLOAT_BYTES = 4
GPUS = {"H100 or H200 SXM": 989e12, "A100 SXM": 312e12}
"""Dense bfloat16 operations a second, as their maker states them."""


@dataclass(frozen=True)
class Assumptions:
    """Kinetics-700 and Moments in Time, ResNet-50, 200 epochs.

    Attributes:
        model: whose operations and parameters count.
        classes: of both data sets.
        videos_long, videos_short: training videos of each; one clip of each an epoch.
        seconds_long, seconds_short: how long one of them is.
        epochs: passes.
        batch: clips a step of the optimizer, all GPUs together.
        gpus: in one machine.
        machines: how many.
        utilisation: share of the stated operations that a step reaches.
        decode_ms: processor time of a clip, from shards of short side 128.
        packed_kb: bytes of a second of video in them, in 1000.
        decode_ms_256, packed_kb_256: the same of short side 256.
        raw_kb: bytes of a second of the videos as they come, in 1000.
    """

    model: str = "resnet3d_50"
    classes: int = 1039
    videos_long: int = 542_357
    seconds_long: float = 10.0
    videos_short: int = 802_264
    seconds_short: float = 3.0
    epochs: int = 200
    batch: int = 128
    gpus: int = 8
    machines: int = 1
    utilisation: float = 0.2
    decode_ms: float = 10.0
    packed_kb: float = 21.8
    decode_ms_256: float = 24.0
    packed_kb_256: float = 58.3
    raw_kb: float = 250.0


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    for field in fields(Assumptions):
        default = field.default
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(default), default=default)
    report(Assumptions(**vars(parser.parse_args())))


def report(given: Assumptions) -> None:
    """All of it."""
    gflops = find_row(given.model).gflops  # of a clip forward; a multiply-add counts as two
    clip_flop = 3 * gflops * 1e9  # backward costs twice as much: for the inputs, and for the weights
    with torch.device("meta"):
        parameters = sum(weight.numel() for weight in create_model(given.model, given.classes).parameters())
    videos = given.videos_long + given.videos_short
    video_seconds = given.videos_long * given.seconds_long + given.videos_short * given.seconds_short
    clips = videos * given.epochs
    steps = -(-videos // given.batch)
    print(f"{given.model}, {given.classes} classes: {parameters / 1e6:.1f} M parameters")
    print(f"a clip: {gflops:.1f} GFLOP forward ({gflops / 2:.1f} GMAC), {clip_flop / 1e9:.1f} GFLOP trained on")
    print(f"{videos:,} clips an epoch, {clips:,} in all; {steps:,} steps an epoch; {clips * clip_flop:.2e} FLOP")
    for name, peak in GPUS.items():
        show_gpu(given, name, peak * given.utilisation / clip_flop, clips, parameters)
    print()
    print(f"storage: raw {video_seconds * given.raw_kb / 1e9:.1f} TB", end="")
    print(f", short side 128 {video_seconds * given.packed_kb / 1e6:.0f} GB", end="")
    print(f", short side 256 {video_seconds * given.packed_kb_256 / 1e6:.0f} GB")
    weights = parameters * FLOAT_BYTES / 1e6
    print(f"run folder: state {2 * weights:.0f} MB (weights, momentum), best and last {weights:.0f} MB each, ", end="")
    print(f"{6 * weights:.0f} MB while the state is replaced")


def show_gpu(given: Assumptions, name: str, speed: float, clips: int, parameters: int) -> None:
    """One kind of GPU that trains `speed` clips a second."""
    count = given.gpus * given.machines
    mean_seconds = (given.videos_long * given.seconds_long + given.videos_short * given.seconds_short) / (
        given.videos_long + given.videos_short
    )
    every = speed * count
    step_ms = given.batch / every * 1000
    traffic = 2 * (count - 1) / count * parameters * FLOAT_BYTES
    print()
    print(f"{count} x {name}, {given.utilisation:.0%} of what is stated, a batch of {given.batch}")
    print(f"  {clips / speed / SECONDS_AN_HOUR:,.0f} GPU-hours, {clips / every / SECONDS_AN_HOUR:,.1f} hours")
    print(f"  {every:,.0f} clips a second to be decoded: {every * given.decode_ms / 1000:,.0f} cores", end="")
    print(f" (short side 128), {every * given.decode_ms_256 / 1000:,.0f} (256)")
    print(f"  {every * mean_seconds * given.packed_kb / 1000:,.0f} MB a second of shards", end="")
    print(f" (short side 128), {every * mean_seconds * given.packed_kb_256 / 1000:,.0f} (256)")
    print(
        f"  a step every {step_ms:.1f} ms; each GPU sends and receives {traffic / 1e6:.0f} MB of gradients in it",
        end="",
    )
    print(f": {traffic / step_ms / 1e6:.1f} GB a second if all of it hides behind the step")


if __name__ == "__main__":
    main()
