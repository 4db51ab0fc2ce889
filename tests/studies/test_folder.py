"""What lies in the folder of a run."""

from pathlib import Path

import pytest

from kinema.studies.folder import drop_spent
from kinema.studies.grid import RunPlan
from kinema.training.recipe import make_config

WRITTEN = ("state.pt", "last.safetensors", "best.safetensors", "metrics.csv")


@pytest.mark.parametrize(
    ("keep_weights", "pretrains", "left"),
    [(True, False, ("best.safetensors",)), (False, False, ()), (False, True, ("best.safetensors",))],
)
def test_a_finished_run_drops_what_it_needs_no_more(tmp_path, keep_weights, pretrains, left):
    for folder in (tmp_path, tmp_path / "fold-1", tmp_path / "fold-2"):
        folder.mkdir(exist_ok=True)
        for name in WRITTEN:
            (folder / name).write_text("x")
    drop_spent(
        RunPlan("one", Path(tmp_path), {}, make_config({"data": "clips"}), {}, pretrains=pretrains),
        keep_weights=keep_weights,
    )
    expected = {"metrics.csv", *left}
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == expected
    assert {path.name for path in (tmp_path / "fold-2").iterdir()} == expected
