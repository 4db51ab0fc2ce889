"""A run that is killed at random moments ends as one that is not: benchmarks/kills.py, with as many kills as asked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "kills.py"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]  # each start loads torch afresh, in three processes


@pytest.mark.parametrize("run", ["cosine", "plateau"])
def test_a_run_killed_six_times_ends_as_one_that_was_not(run):
    """Twenty of each are in docs/results/exactness.md."""
    command = [sys.executable, PROGRAM, "--kills", "6", "--runs", run, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads(done.stdout)["runs"]
    assert found["kills"] == 6
    assert found["identical"], found["different"]
    # Killed itself, or told that one of its readers was.
    assert set(found["codes"]) <= {-9, 6}
    assert all("a process that reads clips has ended" in said for said in found["said"])
    # What multiprocessing keeps for one process: it is not in the way of the next, and small.
    assert all(name.startswith("pymp-") for name in found["left_in_tmp"])
