"""How fast a network trains: clips a second of the training loop's own step, layouts side by side.

Run with `make bench` or `python benchmarks/train.py [--model NAME] [--json]`. Both layouts take
turns in one process, so that the ratio holds on a machine whose speed drifts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
from torch.nn import functional

from kinema.models.zoo import create_model

CASES = (
    ("resnet3d_10", {"widen_factor": 0.25, "conv1_t_size": 3}, 1, 16, 80, 16),
    ("resnet3d_18", {}, 3, 16, 112, 4),
)


def main() -> None:
    """Print a table, or with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = [measure(*case, rounds=arguments.rounds) for case in CASES]
    if arguments.json:
        print(json.dumps(rows))
        return
    print(f"{'network':<14}{'input':<18}{'contiguous':>12}{'channels last':>15}{'ratio':>8}   clips/s, medians")
    for row in rows:
        print(
            f"{row['network']:<14}{row['input']:<18}{row['contiguous']:>12.1f}{row['channels_last']:>15.1f}"
            f"{row['ratio']:>8.2f}"
        )


def measure(
    name: str, options: dict[str, object], channels: int, frames: int, size: int, batch: int, *, rounds: int
) -> dict[str, object]:
    """Medians over `rounds` of two layouts that take turns; the first round warms up."""
    clips = torch.randn(batch, channels, frames, size, size)
    layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last_3d}
    networks = {key: create_model(name, 2, channels, **options).to(memory_format=form) for key, form in layouts.items()}
    optimizers = {key: torch.optim.SGD(network.parameters(), lr=0.01) for key, network in networks.items()}
    speeds: dict[str, list[float]] = {key: [] for key in layouts}
    for _ in range(rounds + 1):
        for key, form in layouts.items():
            began = time.perf_counter()
            loss = functional.cross_entropy(
                networks[key](clips.contiguous(memory_format=form)), torch.zeros(batch).long()
            )
            loss.backward()
            optimizers[key].step()
            optimizers[key].zero_grad()
            speeds[key].append(batch / (time.perf_counter() - began))
    ratios = [last / plain for plain, last in zip(speeds["contiguous"][1:], speeds["channels_last"][1:], strict=True)]
    return {
        "network": name,
        "input": f"{channels}x{frames}x{size}x{size}",
        **{key: statistics.median(values[1:]) for key, values in speeds.items()},
        "ratio": statistics.median(ratios),
    }


if __name__ == "__main__":
    main()
