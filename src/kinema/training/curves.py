"""The course of a run, for its report and as a picture that can be looked at while it goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from kinema.core.atomic import replacing
from kinema.evaluation.figures import Curve, Run, panel_names
from kinema.training.checkpoint import EpochRow
from kinema.training.stopping import best_epoch

__all__ = ["as_run", "write_curves"]

_DOTTED_EPOCHS = 50  # beyond which dots hide the curve


def as_run(name: str, rows: Sequence[EpochRow]) -> Run:
    """The epochs of one run as the curves of a report."""
    epochs = tuple(float(row.epoch) for row in rows)
    curves = [
        Curve("loss", "train", epochs, tuple(row.train_loss for row in rows)),
        Curve("clip accuracy", "train", epochs, tuple(row.train_clip_accuracy for row in rows)),
    ]
    tested = [row for row in rows if row.val_loss is not None]
    if tested:
        at = tuple(float(row.epoch) for row in tested)
        curves += [
            Curve("loss", "val", at, tuple(row.val_loss or 0.0 for row in tested)),
            Curve("clip accuracy", "val", at, tuple(row.val_clip_accuracy or 0.0 for row in tested)),
            Curve("video accuracy", "val", at, tuple(row.val_video_accuracy or 0.0 for row in tested)),
        ]
    curves.append(Curve("learning rate", "", epochs, tuple(row.lr for row in rows), log_scale=False))
    return Run(name, tuple(curves))


def write_curves(path: Path, rows: Sequence[EpochRow]) -> None:
    """All panels of one run side by side, as a PNG; a line marks the epoch that validated best."""
    run = as_run("", rows)
    names = panel_names([run])
    figure = Figure(figsize=(4.2 * len(names), 3.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names)), names, strict=True):
        for curve in run.curves:
            if curve.figure == name:
                dashed = "--" if curve.split == "train" else "-"
                dots = "." if len(curve.epochs) <= _DOTTED_EPOCHS else ""
                axes.plot(curve.epochs, curve.values, dashed, marker=dots, label=curve.split or None)
        axes.set(title=name, xlabel="epoch")
        axes.grid(visible=True, alpha=0.3)
        if any(row.val_loss is not None for row in rows):
            best = best_epoch(rows)
            axes.axvline(best, color="0.5", linestyle=":", linewidth=1, label=f"best: {best}")
        if axes.get_legend_handles_labels()[1]:
            axes.legend()
    with replacing(path) as beside:
        figure.savefig(beside, dpi=100, format="png")
