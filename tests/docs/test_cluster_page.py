"""What docs/how-to/cluster.md tells clusters to do, as far as it can be tried without one."""

import os
import runpy
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
import typer
import yaml
from pages import Block, Page, parse
from torch.distributed.run import get_args_parser

from kinema.cli.app import app
from kinema.training.config import TrainConfig
from kinema.training.recipe import list_recipes

ROOT = Path(__file__).parents[2]
PAGE = Page.read(ROOT / "docs" / "how-to" / "cluster.md")
BASH = [block for block in PAGE.blocks if block.language == "bash"]
THINGS = [thing for b in PAGE.blocks if "kubernetes" in b.words for thing in yaml.safe_load_all(b.text)]


def containers(thing):
    """The containers of a thing's pods, however deep they stand."""
    if isinstance(thing, dict):
        for name, inner in thing.items():
            if name == "containers":
                yield from inner
            else:
                yield from containers(inner)


def words_of(block):
    """The torchrun command of a script, with the variables that Slurm sets."""
    (line,) = [line for line in block.text.replace("\\\n", " ").splitlines() if "torchrun" in line]
    return shlex.split(line)


COMMANDS = [
    *(words_of(block) for block in BASH),
    *(box["command"] + box["args"] for thing in THINGS for box in containers(thing)),
]


def test_there_are_scripts_and_things():
    assert len(BASH) == 2
    assert [thing["kind"] for thing in THINGS] == ["Service", "Job", "PyTorchJob"]
    assert len(COMMANDS) == 4


@pytest.mark.parametrize("words", COMMANDS, ids=range(len(COMMANDS)))
def test_every_option_exists(words):
    at = words.index("kinema")
    train = typer.main.get_command(app).commands["train"]
    known = {option for parameter in train.params for option in parameter.opts}
    given = [word.partition("=") for word in words[at + 2 :] if word.startswith("--")]
    assert {name for name, _, _ in given} <= known
    assert "--resume-or-begin" in words
    joined = " ".join(words[at:]).replace("--set=", "--set ").replace("--recipe=", "--recipe ")
    settings = [word.partition("=")[0] for before, word in pairs(joined.split()) if before == "--set"]
    assert {"nodes", "devices"} <= set(settings) <= set(TrainConfig.model_fields)
    assert next(word for before, word in pairs(joined.split()) if before == "--recipe") in list_recipes()
    launcher = get_args_parser().format_help()
    options = [word.partition("=")[0] for word in words[words.index("torchrun") + 1 : at] if word.startswith("--")]
    assert all(option in launcher for option in options)


def pairs(words):
    return list(pairwise(words))


def test_the_slurm_script_starts_one_torchrun_a_machine(tmp_path):
    for name, text in (("scontrol", "printf 'gpu-7\\ngpu-8\\n'"), ("srun", 'printf "%s\\n" "$@"')):
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    variables = {"SLURM_JOB_NODELIST": "gpu-[7-8]", "SLURM_NNODES": "2", "SLURM_JOB_ID": "42"}
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-eu"], input=BASH[1].text, text=True, check=True, capture_output=True,
        env={**os.environ, **variables, "PATH": path},
    )  # fmt: skip
    words = ran.stdout.splitlines()
    assert words[:3] == ["torchrun", "--nnodes", "2"]
    assert words[words.index("--rdzv-endpoint") + 1] == "gpu-7:29400"
    assert words[words.index("--rdzv-id") + 1] == "42"
    assert "nodes=2" in words
    head = [line for line in BASH[1].text.splitlines() if line.startswith("#SBATCH")]
    assert {"#SBATCH --ntasks-per-node=1", "#SBATCH --requeue"} <= set(head)


def test_the_pods_of_the_job_have_the_name_that_they_look_for():
    service, job, _ = THINGS
    (box,) = containers(job)
    name = job["metadata"]["name"]
    assert f"--rdzv-endpoint={name}-0.{service['metadata']['name']}:29400" in box["args"]
    assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert f"--nnodes={job['spec']['completions']}" in box["args"]
    kept = {volume["name"] for volume in job["spec"]["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in box["volumeMounts"]} == kept


def test_the_arithmetic_is_what_its_program_prints(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["cluster_arithmetic.py"])
    runpy.run_path(str(ROOT / "benchmarks" / "cluster_arithmetic.py"), run_name="__main__")
    (shown,) = [block.text for block in PAGE.blocks if block.language == "text"]
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("language", "words", "text"),
    [("bash", (), "for x in 1; do\n"), ("yaml", ("kubernetes",), "kind: Job\n"), ("yaml", ("kubernetes",), "a: [\n")],
)
def test_what_no_cluster_could_read_is_refused(language, words, text):
    with pytest.raises(AssertionError, match="here: no"):
        parse(Block(language, words, text, 1), "here")
