"""A small run of `benchmarks/fuzz.py`, whose long one is told of in docs/results/robustness.md."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def clips(fuzz, tmp_path_factory) -> list[Path]:
    return fuzz.make_clips(tmp_path_factory.mktemp("clips"), frames=10, size=(48, 32))


def test_damaged_files_never_take_reading_down():
    # In a process of its own: this one has threads, and must not fork.
    ran = subprocess.run(
        [sys.executable, PROGRAM, "--files", "48", "--seed", "5", "--json"],
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    counts = json.loads(ran.stdout)["counts"]
    assert sum(counts.values()) == 48
    told = sum(count for name, count in counts.items() if name.endswith(("refused", "reported")))
    assert told >= 30
    assert {name.split(",")[0] for name in counts} == {
        "cut", "remove", "flip", "zero", "noise", "insert", "duplicate", "reorder"
    }  # fmt: skip


@pytest.mark.parametrize("number", [99, 1828])
def test_a_damaged_flv_is_the_same_in_order_and_asked_for(number):
    """Read ahead of decoding, its demuxer gives a picture more."""
    ran = subprocess.run(
        [sys.executable, PROGRAM, "--files", "1", "--first", str(number), "--seed", "1", "--json"],
        check=False, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert list(json.loads(ran.stdout)["clips"]) == ["h264.flv, reported"], ran.stdout


def test_a_file_of_a_seed_can_be_made_again(fuzz, clips):
    first = [fuzz.damaged(number, 3, clips) for number in range(40)]
    assert first == [fuzz.damaged(number, 3, clips) for number in range(40)]
    assert [data for *_, data in first] != [data for *_, data in (fuzz.damaged(n, 4, clips) for n in range(40))]
    assert all(data != clip.read_bytes() for _, clip, data in first)


@pytest.mark.parametrize("seed", range(5))
def test_mutations_do_what_they_are_called(fuzz, seed):
    data = random.Random(0).randbytes(5000)
    changed = {name: change(data, random.Random(seed)) for name, change in fuzz.MUTATIONS.items()}
    assert data.startswith(changed["cut"])
    assert len(changed["cut"]) < len(data)
    assert len(changed["remove"]) < len(data) < min(len(changed["insert"]), len(changed["duplicate"]))
    assert sorted(changed["reorder"]) == sorted(data)
    assert all(len(changed[name]) == len(data) for name in ("flip", "zero", "noise"))
    assert 1 <= sum((a ^ b).bit_count() for a, b in zip(data, changed["flip"], strict=True)) <= 20


def test_outcomes_are_told_apart(fuzz):
    whole = fuzz.Reading(pts=(5, 6, 7), pixels=("a", "b", "c"))
    named = {
        "unchanged": whole,
        "refused": fuzz.Reading(refusal="no"),
        "reported": replace(whole, damage=("here",), pts=(5,), pixels=("a",)),
        "silent: fewer frames": replace(whole, pts=(5, 6), pixels=("a", "b")),
        "silent: more frames": replace(whole, pts=(5, 6, 7, 8), pixels=("a", "b", "c", "d")),
        "silent: other pixels": replace(whole, pixels=("a", "b", "x")),
        "silent: other times": replace(whole, pts=(5, 6, 8)),
        "contradiction": replace(whole, damage=("here",), contradictions=("so and so",)),
        "foreign error": fuzz.Reading(error="Traceback"),
        "hang": replace(whole, end="hang"),
        "crash": fuzz.Reading(end="crash"),
        "memory": replace(whole, end="memory"),
    }
    assert {name: fuzz.outcome(reading, whole) for name, reading in named.items()} == {name: name for name in named}
    assert set(named) == set(fuzz.OUTCOMES)
    assert fuzz.outcome(replace(whole, pts=(0, 1, 2)), whole) == "unchanged"  # the same times on another clock


WATCHED = """
import importlib.util, os, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("fuzz", sys.argv[1])
fuzz = importlib.util.module_from_spec(spec)
sys.modules["fuzz"] = fuzz
spec.loader.exec_module(fuzz)
fuzz.torch.set_num_threads(1)
ways = {
    "crash": lambda *_: os.kill(os.getpid(), 11),
    "hang": lambda *_: time.sleep(60),
    "memory": lambda *_: fuzz.Reading(pixels=(str(len(bytes([1]) * (600 << 20))),)),
    "memory, more than there is": lambda *_: bytearray(8 << 30),
    "foreign error": lambda *_: 1 / 0,
    "well": lambda *_: fuzz.Reading(pts=(1,)),
}
for name, way in ways.items():
    fuzz.read_every_way = way
    fuzz.WALL_SECONDS = 1.0 if name == "hang" else 100.0  # a busy machine is slow, but hangs nothing
    print(name, "->", fuzz.outcome(fuzz.read_apart(Path("x"), 0), fuzz.Reading(pts=(1,))))
"""


def test_each_way_to_go_wrong_is_noticed():
    ran = subprocess.run(
        [sys.executable, "-c", WATCHED, PROGRAM], check=False, capture_output=True, text=True, timeout=300
    )
    assert ran.stdout.splitlines() == [
        "crash -> crash",
        "hang -> hang",
        "memory -> memory",
        "memory, more than there is -> memory",
        "foreign error -> foreign error",
        "well -> unchanged",
    ], ran.stderr
