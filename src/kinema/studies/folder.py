"""The folder of a study: where each thing lies, and how each run stands.

study.yaml          the study as it was last run
runs/NAME/          one run: what `kinema train` writes, planned.json (its settings as the study has them),
                    done.json once it is finished, failure.json if it failed
pretraining/NAME/   likewise, of what runs start from
claims/             who trains what (`kinema.core.claims`)
report.html, results.csv, tables.md
"""

from __future__ import annotations

import datetime as dt
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from kinema.core.atomic import replacing
from kinema.core.errors import UsageError
from kinema.core.version import __version__
from kinema.studies.grid import Grid, RunPlan
from kinema.training.config import TrainConfig

__all__ = [
    "Failure",
    "Standing",
    "StudyFolder",
    "drop_spent",
    "failure",
    "seconds_of",
    "standing",
    "write_done",
    "write_failure",
    "write_planned",
]

Standing: TypeAlias = Literal["done", "failed", "begun", "waiting"]


@dataclass(frozen=True)
class Failure:
    """Why a run failed: `error` for people; `mark` tells this failure from a later one."""

    error: str
    mark: int


class StudyFolder:
    """Where the parts of a study lie.

    Args:
        path: its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.study = path / "study.yaml"
        self.claims = path / "claims"
        self.report = path / "report.html"
        self.results = path / "results.csv"
        self.tables = path / "tables.md"

    def begin(self, grid: Grid) -> None:
        """Keep a copy of the study.

        Raises:
            UsageError: as `require_same` does.
            DataError: the folder cannot be written to.
        """
        self.require_same(grid)
        with replacing(self.study) as beside:
            beside.write_bytes(grid.path.read_bytes())

    def require_same(self, grid: Grid) -> None:
        """Refuse a study whose settings are not those of runs that are there.

        Raises:
            UsageError: a run was made, or begun, with other settings; it is told which.
        """
        differing = {run.name: _differences(run) for run in grid.all}
        differing = {name: lines for name, lines in differing.items() if lines}
        if differing:
            name, lines = next(iter(differing.items()))
            more = f"\nand {len(differing) - 1} more runs differ" if len(differing) > 1 else ""
            run = next(run for run in grid.all if run.name == name)
            raise UsageError(
                f"the run {name} was begun with other settings: {'; '.join(lines)}{more}",
                allowed=f"the settings that the runs in {self.path} have",
                next_step=f"put them back, give the study another --out, or remove {run.folder} to train it anew",
            )


def standing(run: RunPlan) -> Standing:
    """How a run stands by what lies in its folder."""
    if (run.folder / "done.json").exists():
        return "done"
    if (run.folder / "failure.json").exists():
        return "failed"
    return "begun" if (run.folder / "config.yaml").exists() else "waiting"


def write_planned(run: RunPlan) -> None:
    """Say in the run's folder what it is trained with."""
    _write(run.folder / "planned.json", {"levels": dict(run.levels), "settings": dict(run.record)})


def write_done(run: RunPlan, seconds: float) -> None:
    """Say that it is finished; the last thing that is written of a run."""
    (run.folder / "failure.json").unlink(missing_ok=True)
    _write(run.folder / "done.json", {"seconds": seconds, **_circumstances()})


def drop_spent(run: RunPlan, *, keep_weights: bool) -> None:
    """Remove what a finished run needs no more, which for a grid of large networks fills disks."""
    spent = ["state.pt", "last.safetensors", *([] if keep_weights or run.pretrains else ["best.safetensors"])]
    for name in spent:
        for path in (run.folder / name, *run.folder.glob(f"fold-*/{name}")):
            path.unlink(missing_ok=True)


def write_failure(run: RunPlan, error: str) -> None:
    """Say why it failed."""
    _write(run.folder / "failure.json", {"error": error, **_circumstances()})


def failure(run: RunPlan) -> Failure | None:
    """Why a run failed when it was last tried; None where it did not."""
    path = run.folder / "failure.json"
    try:
        mark = path.stat().st_mtime_ns
        return Failure(str(json.loads(path.read_text(encoding="utf-8"))["error"]), mark)
    except (OSError, ValueError, KeyError):
        return None


def seconds_of(run: RunPlan) -> float:
    """How long a finished run took, in the call that finished it."""
    return float(json.loads((run.folder / "done.json").read_text(encoding="utf-8"))["seconds"])


def _differences(run: RunPlan) -> list[str]:
    """Settings that a run in the folder has otherwise than the study says now, in words."""
    try:
        written = json.loads((run.folder / "planned.json").read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError):
        return []
    return _differing(written, run.record)


def _differing(written: Mapping[str, Any], now: Mapping[str, Any], of: str = "") -> list[str]:
    lines = []
    for key in dict.fromkeys([*now, *written]):
        # A setting that kinema had not when the run was made had the effect of its default.
        field = TrainConfig.model_fields.get(key)
        usual = (
            None
            if field is None or field.is_required()
            else json.loads(json.dumps(field.get_default(call_default_factory=True)))
        )
        before, after = written.get(key, usual), now.get(key, usual)
        if before == after:
            continue
        if key == "pretraining" and isinstance(before, dict) and isinstance(after, dict):
            lines += _differing(before, after, "pretraining ")
        else:
            lines.append(f"{of}{key} was {before}, now {after}")
    return lines


def _circumstances() -> dict[str, str]:
    now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
    return {"at": now, "host": socket.gethostname(), "kinema": __version__}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as beside:
        beside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
