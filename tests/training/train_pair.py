"""Trains as one of two processes, as told by a JSON file, and prints what this process saw.

`python train_pair.py PLAN` starts both. The plan is a list of trainings; what goes wrong in one of
them on purpose goes wrong in the second process alone.
"""

import json
import os
import sys
from pathlib import Path

import torch
from small_runs import PLAIN, Plain
from torch import distributed
from two_processes import start

from kinema.core.errors import KinemaError, MediaError
from kinema.core.labels import LabelMap
from kinema.core.progress import Silent
from kinema.datasets.cache import FrameCache
from kinema.datasets.loader import TrainingClips
from kinema.datasets.sample import Sample
from kinema.models.weights import ModelCard
from kinema.models.zoo import full_options
from kinema.training import loop, parts
from kinema.training.experiment import train
from kinema.training.loop import fit
from kinema.training.material import FileMaterial
from kinema.training.parts import Job
from kinema.training.processes import connect
from kinema.training.recipe import make_config
from kinema.training.run import RunFolder
from kinema.training.step import Objective, StepResult

SECOND = os.environ.get("LOCAL_RANK") == "1"


class Written:
    """Every path under a folder that this process opens for writing, makes, renames or removes."""

    def __init__(self):
        self.folder = None
        self.paths = []
        sys.addaudithook(self.note)

    def note(self, event, arguments):
        if self.folder is None or not isinstance(arguments[0] if arguments else None, (str, os.PathLike)):
            return
        changes = event in {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}
        if event == "open" and arguments[2] is not None:
            changes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND))
        if changes and str(arguments[0]).startswith(self.folder):
            self.paths.append(f"{event} {arguments[0]}")


def spoil(how):
    """Have the second process fail; how it was before."""
    called = {"count": 0}

    def third(original, instead):
        def wrapped(*arguments, **named):
            called["count"] += 1
            return instead(*arguments) if SECOND and called["count"] == 3 else original(*arguments, **named)

        return wrapped

    if how == "loss":
        owner, name, original = Objective, "__call__", Objective.__call__
        replacement = third(original, lambda *arguments: _without_number(original(*arguments)))
    elif how == "reading":
        owner, name, original = TrainingClips, "__getitem__", TrainingClips.__getitem__
        replacement = third(original, lambda *_: _raise(MediaError("clip.mp4", "it went away")))
    else:  # the second process would never get to write
        owner, name, original = loop, "save_state", loop.save_state
        replacement = (lambda *_: _raise(OSError(28, "No space left on device"))) if not SECOND else original
    setattr(owner, name, replacement)
    return lambda: setattr(owner, name, original)


def _without_number(result):
    return StepResult(result.loss * torch.nan, result.correct)


def _raise(error):
    raise error


def experiment(plan, written):
    """A whole training; what it ended with, and what this process wrote."""
    restore = spoil(plan["spoilt"]) if plan.get("spoilt") else lambda: None
    written.folder, written.paths = plan["out"], []
    try:
        train(make_config(plan["settings"]), Path(plan["out"]))
    except KinemaError as error:
        return {"error": type(error).__name__, "said": str(error), "code": error.exit_code}
    finally:
        restore()
        written.folder = None
    return {"written": written.paths}


def reckoned(plan):
    """The loop alone, with the network that can be reckoned with; its weights."""
    parts.create_model = lambda *_, **__: Plain()
    loop.save_weights = lambda *_: None
    config = make_config(PLAIN, plan["settings"])
    options = full_options(config.model, config.model_options)
    card = ModelCard(config.model, options, 3, LabelMap.of(["a", "b"]), config.input_spec, {})
    samples = tuple(Sample(Path(path), label) for path, label in plan["samples"])
    cache = FrameCache(16, folder=Path(plan["out"]) / "frames", limit_bytes=2**28)
    folder = RunFolder(Path(plan["out"]) / "run")
    fabric = connect(config)
    if fabric.is_global_zero:
        folder.begin()
    state = fit(
        Job(config, FileMaterial(samples, card.labels, cache), (), card, cache, folder, "all of them"),
        fabric, resume=False, progress=Silent(),
    )  # fmt: skip
    return {"rows": [row.train_loss for row in state.rows]}


def each(plans):
    written = Written()
    torch.set_num_threads(1)
    connect(make_config({"data": "none", "devices": 2, "device": "cpu"}))
    found = {}
    for plan in plans:
        if "samples" not in plan:
            found[plan["name"]] = experiment(plan, written)
    for plan in plans:
        if "samples" in plan:
            found[plan["name"]] = reckoned(plan)
    return found


if __name__ == "__main__":
    if "LOCAL_RANK" not in os.environ:
        sys.exit(start(__file__, sys.argv[1]))
    told = each(json.loads(Path(sys.argv[1]).read_text()))
    for turn in range(2):
        if turn == SECOND:
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()
        distributed.barrier()
    distributed.destroy_process_group()
