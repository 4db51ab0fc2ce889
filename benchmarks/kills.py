"""Kill a training again and again with signal 9, go on each time, and compare what it ends with.

    python benchmarks/kills.py                     twenty kills in each of two runs
    python benchmarks/kills.py --kills 5 --runs cosine --seed 7 --json

A run reads with two processes, augments, mixes, averages its weights and saves at every step. The moments of the
kills are drawn from the seed: an epoch, what is going on (reading, a step, validation, writing), how often that
has happened before, up to 60 ms later; and who is killed: the main process, its whole group, or one of those that
read. What must be equal, bit for bit: last and best weights, the state (weights, optimizer, average, counts), and
metrics.csv, TensorBoard's curves likewise, but for the times in them, which are a clock's.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

EPOCHS = 14
PHASES = {"read": 3, "step": 8, "validate": 1, "write": 8}
"""What goes on, and up to how many times it may have happened in the epoch before."""

COMMON: dict[str, Any] = {
    "model": "resnet3d_10",
    "model_options": {"widen_factor": 0.125, "conv1_t_size": 3, "dropout": 0.3},
    "frames": 8,
    "stride": 1,
    "size": 32,
    "epochs": EPOCHS,
    "batch_size": 3,
    "flip": 0.5,
    "brightness": 0.2,
    "hue": 0.1,
    "speed": 0.2,
    "rand_augment": 2,
    "mixup": 0.3,
    "cutmix": 0.5,
    "drop_path": 0.2,
    "ema": 0.9,
    "workers": 2,
    "save_seconds": 0,
    "device": "cpu",
}
RUNS: dict[str, dict[str, Any]] = {
    "cosine": {"optimizer": "adamw", "lr": 0.01, "schedule": "cosine", "warmup": 0.25, "clip_grad_norm": 1.0},
    "plateau": {"optimizer": "sgd", "lr": 0.1, "schedule": "plateau", "patience": 1, "accumulate": 2},
}


@dataclass(frozen=True)
class Moment:
    """When to kill whom.

    Attributes:
        epoch: from 0; the kill comes in a later one where the moment is gone by when the run goes on.
        phase: one of `PHASES`.
        times: how often that has begun before in the epoch, since this start.
        delay_ms: how much later.
        victim: main, group or reader.
    """

    epoch: int
    phase: str
    times: int
    delay_ms: int
    victim: str


def draw(kills: int, seed: int) -> list[Moment]:
    """As many moments in the order of the run, all phases and victims alike often."""
    rng = random.Random(seed)
    epochs = sorted(rng.randrange(EPOCHS - 2) for _ in range(kills))
    phases = [list(PHASES)[number % len(PHASES)] for number in range(kills)]
    victims = [("main", "group", "reader")[number % 3] for number in range(kills)]
    rng.shuffle(phases)
    rng.shuffle(victims)
    return [
        Moment(epoch, phase, rng.randint(0, PHASES[phase]), rng.choice((0, rng.randint(1, 60))), victim)
        for epoch, phase, victim in zip(epochs, phases, victims, strict=True)
    ]


class Killer:
    """Counts what begins in this process, and kills at the moment it was given."""

    def __init__(self, moment: Moment, log: Path) -> None:
        self.moment = moment
        self.log = log
        self.epoch = 0
        self.begun: Counter[str] = Counter()
        self.done = False

    def go_to(self, epoch: int) -> None:
        """An epoch begins."""
        self.epoch = epoch
        self.begun.clear()

    def note(self, phase: str) -> None:
        """Something begins."""
        before = self.begun[phase]
        self.begun[phase] += 1
        here = self.epoch == self.moment.epoch and phase == self.moment.phase and before >= self.moment.times
        if not self.done and (here or self.epoch > self.moment.epoch):
            self.done = True
            if self.moment.delay_ms:
                threading.Timer(self.moment.delay_ms / 1000, self.kill, [phase]).start()
            else:
                self.kill(phase)

    def kill(self, phase: str) -> None:
        """Leave word of who is alive, and kill."""
        readers = [child.pid for child in multiprocessing.active_children() if child.pid]
        victim = self.moment.victim if readers or self.moment.victim != "reader" else "main"
        word = {"epoch": self.epoch, "phase": phase, "victim": victim, "readers": readers}
        self.log.write_text(json.dumps(word))
        if victim == "group":
            os.killpg(os.getpgid(0), signal.SIGKILL)
        os.kill(random.Random(self.epoch).choice(readers) if victim == "reader" else os.getpid(), signal.SIGKILL)


def watch(killer: Killer) -> None:
    """Have the killer told of what begins in this process."""
    import secrets

    from lightning_fabric import Fabric

    from kinema.datasets.loader import FileFeed
    from kinema.inference.predictor import Predictor
    from kinema.models.model import VideoModel
    from kinema.training.step import Objective

    def told(owner: Any, name: str, phase: str, *, after: bool = False) -> None:
        function = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            if not after:
                killer.note(phase)
            result = function(*arguments, **named)
            if after:
                killer.note(phase)
            return result

        setattr(owner, name, wrapped)

    told(Objective, "__call__", "step")
    told(Fabric, "backward", "step")
    told(Fabric, "clip_gradients", "step")
    told(Predictor, "score", "validate")
    told(secrets, "token_hex", "write")  # names the unfinished file
    told(os, "fsync", "write")  # it is finished
    told(Path, "replace", "write", after=True)  # it is in its place
    set_epoch, batches = VideoModel.set_epoch, FileFeed.__iter__

    def in_epoch(self: VideoModel, epoch: int) -> None:
        killer.go_to(epoch)
        set_epoch(self, epoch)

    def reading(self: FileFeed) -> Any:
        for batch in batches(self):
            killer.note("read")
            yield batch

    VideoModel.set_epoch = in_epoch  # type: ignore[method-assign]  # to watch it
    FileFeed.__iter__ = reading  # type: ignore[method-assign]  # to watch it


def child(config: Path, out: Path, moment: Moment | None, log: Path) -> None:
    """Begin the run or go on with it, as whoever gives one command again and again."""
    from kinema.core.errors import KinemaError
    from kinema.training.experiment import train
    from kinema.training.recipe import load_recipe, make_config

    if moment is not None:
        watch(Killer(moment, log))
    try:
        train(make_config(load_recipe(config)), out, repeated=True)
    except KinemaError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


@dataclass(frozen=True)
class Death:
    """One kill and what came of it.

    Attributes:
        moment: as drawn.
        struck: what was going on, in which epoch, and who was killed.
        code: what the main process ended with.
        said: the first line it said, where it was not killed itself.
        orphans_seconds: until the last process that read was gone.
    """

    moment: Moment
    struck: dict[str, Any]
    code: int
    said: str
    orphans_seconds: float


def start(config: Path, out: Path, moment: Moment | None, scratch: Path) -> tuple[int, str]:
    """Exit code and what was said on stderr of one process, which has files of its own for what it leaves."""
    command = [sys.executable, __file__, "--child", str(config), str(out), str(scratch / "struck.json")]
    command += [] if moment is None else [json.dumps(asdict(moment))]
    environment = {**os.environ, "TMPDIR": str(scratch / "tmp"), "OMP_NUM_THREADS": "1"}
    with (scratch / "stderr").open("w+") as said:
        process = subprocess.Popen(command, env=environment, stderr=said, start_new_session=True)
        code = process.wait()
        said.seek(0)
        return code, said.read()


def killed(config: Path, out: Path, moment: Moment, scratch: Path) -> Death | None:
    """Start or go on, and die; None: the run was over before."""
    struck = scratch / "struck.json"
    struck.unlink(missing_ok=True)
    code, said = start(config, out, moment, scratch)
    if not struck.exists():
        if code:
            sys.exit(f"the run failed by itself:\n{said}")
        return None
    word = json.loads(struck.read_text())
    began = time.monotonic()
    while any(_alive(pid) for pid in word["readers"]):
        time.sleep(0.1)
    told = next((line for line in said.splitlines() if line), "")
    return Death(moment, word, code, told if code > 0 else "", round(time.monotonic() - began, 1))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def differences(one: Path, other: Path) -> list[str]:
    """What two run folders do not agree in, times aside."""
    import torch
    from safetensors.torch import load_file

    found = []
    for name in ("last.safetensors", "best.safetensors"):
        here, there = load_file(one / name), load_file(other / name)
        if here.keys() != there.keys() or any(not torch.equal(here[key], there[key]) for key in here):
            found.append(name)
    if table(one / "metrics.csv") != table(other / "metrics.csv"):
        found.append("metrics.csv")
    states = [torch.load(folder / "state.pt", weights_only=True) for folder in (one, other)]
    for state in states:
        for clock in ("seconds", "trained_seconds"):
            state["state"].pop(clock)
        for row in state["rows"]:
            row.pop("clips_per_second")
    if not same(*states):
        found.append("state.pt")
    if curves(one) != curves(other):
        found.append("TensorBoard")
    listed = [{path.name for path in folder.iterdir() if ".tfevents." not in path.name} for folder in (one, other)]
    if listed[0] != listed[1]:
        found.append(f"files: {sorted(listed[0] ^ listed[1])}")
    return found


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit, through dictionaries and lists."""
    import torch

    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else bool(one == other)


def table(path: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without the column that a clock fills."""
    with path.open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "clips_per_second"} for row in csv.DictReader(file)]


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard would draw."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it warns of what it is to leave out
    events = EventAccumulator(str(folder)).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag != "clips_per_second"]
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in tags}


def shared_memory() -> set[str]:
    """What torch and multiprocessing of all programs hold there by name."""
    return {path.name for path in Path("/dev/shm").iterdir() if path.name.startswith(("torch_", "sem.mp-"))}


def trial(name: str, data: Path, folder: Path, moments: list[Moment]) -> dict[str, Any]:
    """One run undisturbed and one that is killed at every moment."""
    from kinema.training.recipe import make_config

    scratch = folder / name
    (scratch / "tmp").mkdir(parents=True)
    config = scratch / "recipe.yaml"
    make_config({"data": data, **COMMON, **RUNS[name]}).write(config)
    code, said = start(config, scratch / "whole", None, scratch)
    if code:
        sys.exit(said)
    before = shared_memory()
    deaths = [killed(config, scratch / "killed", moment, scratch) for moment in moments]
    code, said = start(config, scratch / "killed", None, scratch)
    if code:
        sys.exit(said)
    dead = [death for death in deaths if death is not None]
    return {
        "run": name,
        "kills": len(dead),
        "identical": (different := differences(scratch / "whole", scratch / "killed")) == [],
        "different": different,
        "struck": dict(Counter(death.struck["phase"] for death in dead)),
        "victims": dict(Counter(death.struck["victim"] for death in dead)),
        "codes": sorted({death.code for death in dead}),
        "said": sorted({death.said for death in dead if death.said}),
        "orphans_seconds": max((death.orphans_seconds for death in dead), default=0.0),
        "left_in_tmp": sorted(path.name for path in (scratch / "tmp").iterdir()),
        "left_in_shared_memory": sorted(shared_memory() - before),
    }


def main() -> None:
    """The trials that were asked for."""
    if sys.argv[1:2] == ["--child"]:
        config, out, log, *moment = sys.argv[2:]
        child(Path(config), Path(out), Moment(**json.loads(moment[0])) if moment else None, Path(log))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    from kinema.datasets.synthetic import render_dataset

    results = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        os.environ["KINEMA_CACHE"] = str(folder / "cache")
        data = render_dataset(folder / "clips", scenes=6, clips_per_scene=4, seed=3, size=(64, 48), seconds=2.0)
        for name in arguments.runs:
            result = trial(name, data, folder, draw(arguments.kills, arguments.seed))
            results.append(result)
            if not arguments.json:
                equal = "identical" if result["identical"] else f"differs in {', '.join(result['different'])}"
                print(f"{name}: killed {result['kills']} times (seed {arguments.seed}): {equal}")
                for key in ("struck", "victims", "codes", "said", "orphans_seconds", "left_in_tmp"):
                    print(f"  {key}: {result[key]}")
    if arguments.json:
        print(json.dumps({"seed": arguments.seed, "runs": results}))
    sys.exit(any(not result["identical"] or result["kills"] < arguments.kills for result in results))


if __name__ == "__main__":
    main()
