"""What all commands share: help, versions, exit codes, and words instead of tracebacks."""

import io
import subprocess
import sys

import pytest
import typer

from kinema.cli.app import app
from kinema.core.errors import (
    BrokenFilesError,
    DataError,
    KinemaError,
    MediaError,
    TrainingError,
    UsageError,
    WeightsError,
)
from kinema.core.version import __version__
from kinema.models import zoo


def commands(group, names=()):
    """Every command with its options, by the words that call it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*names, name))
        else:
            yield (*names, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))


def test_version(kinema_command):
    ran = kinema_command("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"{__version__}\n", "")


def test_manifests_may_lead_elsewhere_only_where_that_is_allowed(kinema_command, tmp_path, tiny_clips):
    videos = sorted(tiny_clips.parent.rglob("*.mp4"))
    table = tmp_path / "clips.csv"
    rows = [f"{path},{'xy'[number % 2]},{number // 4}" for number, path in enumerate(videos)]
    table.write_text("\n".join(["path,label,group", *rows]))
    out = tmp_path / "split.csv"
    refused = kinema_command("data", "split", table, "--out", out)
    assert refused.code == 3
    assert "leads out of" in refused.err
    assert kinema_command("--allow-absolute", "data", "split", table, "--split-by", "group", "--out", out).code == 0
    assert str(videos[0]) in out.read_text()
    assert kinema_command("data", "check", out).code == 3  # allowed for that one command
    checked = kinema_command("--allow-absolute", "data", "check", out, "--workers", 0, "--json")
    assert "kinema.check" in checked.out


def test_the_commands_are_those_documented():
    assert {" ".join(words) for words in COMMANDS} == {
        "demo", "train", "evaluate", "predict", "models list", "models show", "models convert", "models download",
        "models publish", "study", "data check", "data pack", "data split", "data import",
        "data export", "data flow", "data frames", "data merge", "data synthesize",
    }  # fmt: skip


def test_help_names_the_commands_and_the_exit_codes(kinema_command):
    ran = kinema_command("--help")
    assert ran.code == 0
    assert all(words[0] in ran.out for words in COMMANDS)
    assert "3 data, 4 video, 5 weights, 6 training, 130 stopped" in " ".join(ran.out.split())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_every_command_mentions_each_option(kinema_command, words):
    ran = kinema_command(*words, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert f"kinema {' '.join(words)}" in ran.out
    for parameter in COMMANDS[words].params:
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in ran.out
            assert parameter.help, f"{parameter.name} is not explained"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_shows_every_word_of_each_explanation_and_what_stands_for_an_option_left_out(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit):
        typer.main.get_command(app)([*words, "--help"], prog_name="kinema")
    shown = " ".join(capsys.readouterr().out.split())
    for parameter in COMMANDS[words].params:
        if getattr(parameter, "help", None):
            assert parameter.help.replace("`", "") in shown
        if isinstance(parameter.show_default, str):
            assert f"[default: ({parameter.show_default})]" in shown


@pytest.mark.parametrize("words", [(), ("models",), ("data",)])
def test_without_a_command_help_is_shown(kinema_command, words):
    ran = kinema_command(*words)
    assert ran.code == 2
    assert all(name in ran.out + ran.err for name in ("Usage: ", "--help", "Commands"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--verison"], "--verison"),
        (["trian"], "trian"),
        (["train", "--epoch", "3"], "--epoch"),
        (["models", "show"], "Missing argument"),
        (["predict", "weights.safetensors"], "SOURCE"),
        (["predict", "w", "v", "--top-k", "0"], "--top-k"),
        (["predict", "w", "v", "--window", "many"], "--window"),
        (["train", "--epochs", "three"], "--epochs"),
    ],
)
def test_wrong_usage_leaves_with_2_and_says_what(kinema_command, arguments, said):
    ran = kinema_command(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KinemaError("it"), 1),
        (UsageError("it"), 2),
        (DataError("it"), 3),
        (BrokenFilesError({}, 1), 3),
        (MediaError("it", "cut"), 4),
        (WeightsError("it"), 5),
        (TrainingError("it"), 6),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_have_their_exit_codes(kinema_command, monkeypatch, error, code):
    def fail():
        raise error

    monkeypatch.setattr(zoo, "list_models", fail)
    ran = kinema_command("models", "list")
    assert (ran.code, ran.out) == (code, "")
    assert "Traceback" not in ran.err
    assert ran.err.startswith("error: ") != isinstance(error, KeyboardInterrupt)


def test_a_fault_of_kinemas_own_is_not_dressed_up(kinema_command, monkeypatch):
    def fail():
        raise ZeroDivisionError

    monkeypatch.setattr(zoo, "list_models", fail)
    with pytest.raises(ZeroDivisionError):
        kinema_command("models", "list")


def test_a_reader_that_leaves_ends_it_well():
    """`kinema … | head`: what it wanted it has read."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kinema", "models", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    messages = process.stderr.read().decode()
    process.stderr.close()
    assert (process.wait(timeout=60), messages) == (0, "")


def test_a_stdout_without_blocks_shows_something_else(kinema_command, monkeypatch):
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    ran = kinema_command("models", "show", "resnet3d_10")
    assert (ran.code, ran.err) == (0, "")
    sys.stdout.flush()
    assert b"layer4" in shown.getvalue()
    assert b"??????" in shown.getvalue()
