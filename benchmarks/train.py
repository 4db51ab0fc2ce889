"""How fast a network trains: clips a second of whole steps, from the plain float32 loop to everything kinema offers.

    python benchmarks/train.py                                  the table, on the CPU
    python benchmarks/train.py --compile --json                 with torch.compile, for programs
    python benchmarks/train.py --device cuda --batch 64         on a GPU
    python benchmarks/train.py --memory                         what gradient checkpointing saves

`plain` is what everybody writes first: float32, contiguous, AdamW as it comes. `torchvision` is the same
loop with torchvision's r3d_18. The ways take turns in one process, and ratios are medians over the
turns, so that they hold on a machine whose speed drifts. Clips are made once: reading is not measured.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.video.resnet import r3d_18

from kinema.models.zoo import create_model
from kinema.training.precision import arithmetic

CLASSES = 400
CHANNELS = 3


@dataclass(frozen=True)
class Row:
    """One way of training.

    Attributes:
        way: its name.
        clips_a_second: median of the wall clock.
        ratio: median over the turns of the plain loop's wall time by this one's.
        processor_ratio: likewise of processor time; None on a GPU.
        of_peak: share of what a matrix product reaches in the same arithmetic, of every operation that
            convolutions and matrices need.
    """

    way: str
    clips_a_second: float
    ratio: float
    processor_ratio: float | None
    of_peak: float


def main() -> None:
    """Print a table, or with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet3d_18")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true", help="also with torch.compile")
    parser.add_argument("--memory", action="store_true", help="peak memory of a step instead of speed")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory:
        told: dict[str, Any] = {key: memory(key, arguments) for key in ("plain", "bfloat16", "checkpointed")}
        print(
            json.dumps(told) if arguments.json else "\n".join(f"{key:<14}{mib:8.0f} MiB" for key, mib in told.items())
        )
        return
    rows = measure(arguments)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    print(
        f"{arguments.model}, {arguments.batch} clips of {CHANNELS}x{arguments.frames}x{arguments.size}x{arguments.size}"
    )
    print(f"{'way':<24}{'clips/s':>9}{'x plain':>9}{'x plain, processor':>20}{'of matrix peak':>16}")
    for row in rows:
        processor = "-" if row.processor_ratio is None else f"{row.processor_ratio:.2f}"
        print(f"{row.way:<24}{row.clips_a_second:>9.2f}{row.ratio:>9.2f}{processor:>20}{row.of_peak:>15.0%}")


def ways(arguments: argparse.Namespace) -> dict[str, Callable[[], None]]:
    """One step of each way, by name; `plain` comes first."""
    made = {
        "plain": step_of(arguments),
        "float32, as kinema": step_of(arguments, last=True, fused=True),
        "bfloat16, as kinema": step_of(arguments, last=True, fused=True, precision="bf16-mixed"),
    }
    if arguments.compile:
        made["bfloat16, compiled"] = step_of(arguments, last=True, fused=True, precision="bf16-mixed", compiled=True)
    if arguments.device == "cuda":
        made["torchvision"] = step_of(arguments, network=r3d_18(num_classes=CLASSES))
    return made


def step_of(
    arguments: argparse.Namespace,
    *,
    network: nn.Module | None = None,
    last: bool = False,
    fused: bool = False,
    precision: str = "32-true",
    compiled: bool = False,
    checkpointed: bool = False,
) -> Callable[[], None]:
    """A step: forward, backward, update."""
    device = torch.device(arguments.device)
    plugin = arithmetic(precision, device)
    form = torch.channels_last_3d if last else torch.contiguous_format
    torch.manual_seed(0)
    if network is None:
        built = create_model(arguments.model, CLASSES, CHANNELS)
        if checkpointed:
            built.recompute_stages(plugin.forward_context)
        network = built
    network.to(device, memory_format=form).train()
    clips = torch.randn(arguments.batch, CHANNELS, arguments.frames, arguments.size, arguments.size, device=device)
    clips, targets = clips.contiguous(memory_format=form), torch.zeros(arguments.batch, device=device).long()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=fused)
    run: Any = torch.compile(network) if compiled else network

    def step() -> None:
        with plugin.forward_context():
            logits = run(plugin.convert_input(clips))
        plugin.backward(functional.cross_entropy(logits.float(), targets), network)
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(arguments: argparse.Namespace) -> list[Row]:
    """All ways in turns, `rounds` times, after one that warms up."""
    steps = ways(arguments)
    with FlopCounterMode(display=False) as counted:
        steps["plain"]()
    wall: dict[str, list[float]] = {way: [] for way in steps}
    processor: dict[str, list[float]] = {way: [] for way in steps}
    for turn in range(arguments.rounds + 1):
        for way, step in steps.items():
            with clocked(arguments.device) as taken:
                step()
            if turn:
                wall[way].append(taken[0])
                processor[way].append(taken[1])
    peaks = {kind: matrix_peak(arguments.device, kind) for kind in (torch.float32, torch.bfloat16)}
    rows = []
    for way in steps:
        peak = peaks[torch.bfloat16 if way.startswith("bfloat16") else torch.float32]
        seconds = statistics.median(wall[way])
        rows.append(
            Row(
                way,
                arguments.batch / seconds,
                paired(wall["plain"], wall[way]),
                paired(processor["plain"], processor[way]) if arguments.device == "cpu" else None,
                counted.get_total_flops() / seconds / peak,
            )
        )
    return rows


def paired(plain: list[float], other: list[float]) -> float:
    """Median of the ratios turn by turn."""
    return statistics.median(one / two for one, two in zip(plain, other, strict=True))


@contextmanager
def clocked(device: str) -> Iterator[list[float]]:
    """Wall and processor seconds of what runs inside, filled in when it is done."""
    taken: list[float] = []
    gc.collect()
    began = time.perf_counter(), time.process_time()
    yield taken
    if device == "cuda":
        torch.cuda.synchronize()
    taken += [time.perf_counter() - began[0], time.process_time() - began[1]]


def matrix_peak(device: str, kind: torch.dtype, side: int | None = None) -> float:
    """Operations a second of the fastest of several products of square matrices."""
    side = side or (8192 if device == "cuda" else 2048)
    one, two = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    fastest = float("inf")
    for _ in range(6):
        with clocked(device) as taken:
            one @ two
        fastest = min(fastest, taken[0])
    return 2 * side**3 / fastest


def memory(way: str, arguments: argparse.Namespace) -> float:
    """MiB at the peak of two steps, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak_of, (way, arguments))


def peak_of(way: str, arguments: argparse.Namespace) -> float:
    """On a GPU what torch held; on a CPU the process's largest size beyond that after importing."""
    torch.set_num_threads(arguments.threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    quick = {"last": True, "fused": True, "precision": "bf16-mixed"}
    settings: dict[str, Any] = {"plain": {}, "bfloat16": quick, "checkpointed": {**quick, "checkpointed": True}}[way]
    step = step_of(arguments, **settings)
    step()
    step()
    if arguments.device == "cuda":
        return float(torch.cuda.max_memory_allocated() / 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before


if __name__ == "__main__":
    main()
