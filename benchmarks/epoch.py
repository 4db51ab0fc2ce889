"""What share of a training epoch the network works, and what it waits for clips: epochs as a table or `--json`.

    python benchmarks/epoch.py [DATA] [--clips 48] [--epochs 3] [--workers 0] [--model resnet3d_18] [--json]

Trains as `kinema train` does with its plain defaults (RGB, 16 frames, 112 px, batches of 16, reading in the same
process unless --workers says otherwise) on clips of DATA, spread over its classes, with frames kept in a folder of its
own; without DATA on small made films. The first epoch decodes, later ones read what was kept; the time to start workers
is the first epoch's, too. `kinema train` decodes before its first epoch begins, so that all its epochs are like the
later ones. With workers, what they take from the network's cores counts as the network's time: compare whole epochs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from loader_memory import make_films

from kinema.core.seeds import stream
from kinema.core.spec import InputSpec
from kinema.datasets.cache import FrameCache
from kinema.datasets.loader import EpochSampler, TrainingClips, training_loader
from kinema.datasets.manifest import read_manifest
from kinema.models.zoo import create_model
from kinema.training.config import TrainConfig
from kinema.training.optim import build_optimizer
from kinema.training.step import Objective
from kinema.transforms.presets import AugmentSpec, TrainTransform


def measure(options: argparse.Namespace, folder: Path) -> list[dict[str, float]]:
    """One row an epoch: seconds waited for clips and seconds in forward, backward and update, told as each ends."""
    config = TrainConfig(data=options.data, model=options.model, workers=options.workers)
    manifest = read_manifest(options.data)
    step = max(1, len(manifest.samples) // options.clips)
    samples = manifest.samples[::step][: options.clips]
    spec = InputSpec()
    transform = TrainTransform(spec, AugmentSpec())
    clips = TrainingClips(
        samples,
        [manifest.labels.index(sample.label) for sample in samples],
        spec,
        transform=transform,
        cache=FrameCache(spec.short_side_px, folder=folder),
        seed=0,
    )
    sampler = EpochSampler(len(samples), config.batch_size, 0)
    loader = training_loader(clips, sampler, workers=config.workers, pin_memory=False)
    network = create_model(config.model, manifest.labels.count, spec.channels).to(memory_format=torch.channels_last_3d)
    network.train()
    optimizer = build_optimizer(network, config)
    objective = Objective(transform, 0.0, 0.0, None)
    rows = []
    for epoch in range(options.epochs):
        sampler.go_to(epoch)
        waited = worked = 0.0
        count = 0
        processor = time.process_time()
        mark = time.perf_counter()
        for number, batch in enumerate(loader):
            came = time.perf_counter()
            waited += came - mark
            result = objective(network, batch, torch.device("cpu"), stream(0, "batch", epoch, number))
            result.loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            count += len(batch)
            mark = time.perf_counter()
            worked += mark - came
        rows.append(
            {
                "epoch": epoch + 1,
                "clips": count,
                "waited_seconds": round(waited, 3),
                "worked_seconds": round(worked, 3),
                "processor_seconds": round(time.process_time() - processor, 3),
                "share_in_network": round(worked / (waited + worked), 4),
            }
        )
        if not options.json:
            tell(rows[-1])
    return rows


def tell(row: dict[str, float]) -> None:
    """One line of the table, below its head if it is the first."""
    if row["epoch"] == 1:
        print(f"{'epoch':>5}{'clips':>7}{'waited':>10}{'network':>10}{'processor':>11}{'share':>8}")
    print(
        f"{row['epoch']:>5}{row['clips']:>7}{row['waited_seconds']:>8} s{row['worked_seconds']:>8} s"
        f"{row['processor_seconds']:>9} s{row['share_in_network']:>8.1%}",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--model", default="resnet3d_18")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.data is None:
            options.data = Path(folder, "data")
            make_films(options.data, options.clips)
        rows = measure(options, Path(folder, "kept"))
    if options.json:
        print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
