"""What can be known to be wrong with a study before its first run begins."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from kinema.core.errors import KinemaError
from kinema.studies.grid import Grid, Mistakes
from kinema.training.config import TrainConfig
from kinema.training.experiment import require_network
from kinema.training.source import plan

__all__ = ["check"]

_OF_NETWORK = ("model", "modality", "model_options", "train_from", "head_from", "head_epochs", "drop_path")
_OF_DATA = (
    "data", "modality", "split_by", "folds", "val_fraction", "test_fraction", "allow_leak", "balance", "seed",
)  # fmt: skip


def check(grid: Grid) -> None:
    """Build every network and split every data set once, without reading a video.

    Raises:
        UsageError: networks that cannot be built, settings that contradict the data; the runs are named.
        DataError: data that is not there, or cannot be split as asked.
    """
    memory = _Memory()
    mistakes = Mistakes()
    for run in grid.all:
        for look in (memory.network, memory.data):
            error = look(run.config)
            if error is not None:
                mistakes.note(run.name, error)
    mistakes.tell()


@dataclass
class _Memory:
    """What was looked at: most runs of a grid share their network or their data with others."""

    found: dict[str, KinemaError | None] = field(default_factory=dict)

    def network(self, config: TrainConfig) -> KinemaError | None:
        """What is wrong with the network, if anything."""
        return self._once(
            ["network", *(getattr(config, name) for name in _OF_NETWORK)], lambda: require_network(config)
        )

    def data(self, config: TrainConfig) -> KinemaError | None:
        """What is wrong with the data and its split, if anything."""
        return self._once(["data", *(getattr(config, name) for name in _OF_DATA)], lambda: plan(config))

    def _once(self, what: list[object], look: Callable[[], object]) -> KinemaError | None:
        key = json.dumps(what)
        if key not in self.found:
            try:
                look()
                self.found[key] = None
            except KinemaError as error:
                self.found[key] = error
        return self.found[key]
