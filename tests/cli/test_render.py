"""What goes to stdout and what to stderr, letter by letter."""

import errno
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from kinema.cli import render
from kinema.cli.render import bars, show_error, stderr, stdout, write_json
from kinema.core.errors import UsageError


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None]}, ["한글", "b\nc"], "[bold]no markup[/] :fire:", 3])
def test_json_is_one_line_that_reads_back(capsys, value):
    write_json(value)
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    assert out.endswith("\n")
    assert json.loads(out) == value


def test_json_is_not_broken_at_the_width_of_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    write_json(["word"] * 100)
    assert capsys.readouterr().out.count("\n") == 1


class Latin(io.TextIOWrapper):
    """A stdout of another encoding."""

    def __init__(self, encoding):
        super().__init__(io.BytesIO(), encoding=encoding, newline="")

    @property
    def written(self):
        self.flush()
        return self.buffer.getvalue()


@pytest.mark.parametrize(
    ("encoding", "name", "written"),
    [
        ("utf-8", "한글.mp4", '"한글.mp4"\n'.encode()),
        ("ascii", "한글.mp4", b'"\\ud55c\\uae00.mp4"\n'),
        ("latin-1", "café.mp4", '"café.mp4"\n'.encode("latin-1")),
        ("utf-8", os.fsdecode(b"caf\xe9.mp4"), b'"caf\\udce9.mp4"\n'),
    ],
)
def test_json_spells_out_what_stdout_cannot_hold(monkeypatch, encoding, name, written):
    monkeypatch.setattr(sys, "stdout", Latin(encoding))
    write_json(name)
    assert sys.stdout.written == written
    assert json.loads(sys.stdout.written.decode(encoding)) == name


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.parametrize("write", ["write_json", "stdout.print"])
def test_a_full_disk_is_told_in_one_line(write):
    program = f"""
import sys
from unittest.mock import patch
from kinema.cli import app
from kinema.cli.render import stdout, write_json
with patch.object(app, "app", lambda: {write}("a result")):
    app.main()
"""
    command = [sys.executable, "-c", program]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr == f"error: standard output cannot be written: {os.strerror(errno.ENOSPC)}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_so_is_it_of_the_version():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "kinema", "--version"]
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)


def test_errors_have_three_parts_on_stderr(capsys):
    show_error(UsageError("given [x] :fire:", allowed="[bold]that[/]", next_step="do it"))
    assert capsys.readouterr() == ("", "error: given [x] :fire:\nallowed: [bold]that[/]\nnext: do it\n")


def test_parts_that_are_empty_are_left_out(capsys):
    show_error(UsageError("given"))
    assert capsys.readouterr() == ("", "error: given\n")


def test_long_lines_stay_whole(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    show_error(UsageError("/a/path/of/more/than/twenty/letters and words " * 3))
    assert capsys.readouterr().err.count("\n") == 1


def test_names_are_no_emoji(capsys):
    stdout.print("a:fire:b")
    stderr.print("a:fire:b")
    assert capsys.readouterr() == ("a:fire:b\n", "a:fire:b\n")


def test_where_there_is_no_terminal_only_lines_are_shown(capsys):
    with bars() as progress:
        with progress.task("reading", 3, "videos") as task:
            task.advance()
            progress.log("a [line] of :fire: log")
            task.advance(2, note="done")
        progress.log("another")
    assert capsys.readouterr() == ("", "a [line] of :fire: log\nanother\n")


@pytest.fixture
def terminal(monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200, highlight=False, emoji=False)
    monkeypatch.setattr(render, "stderr", console)
    return screen


def test_on_a_terminal_bars_show_how_far_how_fast_and_what(terminal):
    with bars() as progress:
        with progress.task("reading [clips]", 8, "videos") as task:
            task.advance(3, note="loss 0.412")
            task.advance(2)
            progress._progress.refresh()
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
        terminal.truncate(0)
        progress._progress.refresh()
        assert "reading" not in terminal.getvalue()  # a bar goes when its block ends
    assert "reading [clips]" in shown
    assert "5/8" in shown
    assert "loss 0.412" in shown


def test_bytes_are_shown_as_people_count_them(terminal):
    with bars() as progress, progress.task("downloading", 2_500_000, "B", done=500_000) as task:
        task.advance(1_000_000)
        progress._progress.refresh()
    assert "1.5 MB/2.5 MB" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())


@pytest.mark.parametrize(("unit", "shown"), [("B", "3.5 MB/s"), ("videos", "3500000 videos/s")])
def test_rates_have_the_unit_of_their_task(unit, shown):
    task = SimpleNamespace(finished_speed=None, speed=3_500_000.0, fields={"unit": unit})
    assert render._Rate().render(task).plain == shown


def test_slow_rates_are_told_to_a_tenth():
    task = SimpleNamespace(finished_speed=None, speed=0.34, fields={"unit": "videos"})
    assert render._Rate().render(task).plain == "0.3 videos/s"


def test_bytes_of_unknown_number(terminal):
    with bars() as progress, progress.task("downloading", None, "B") as task:
        task.advance(1_000)
        progress._progress.refresh()
    assert "1.0 kB/?" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())


@pytest.mark.usefixtures("terminal")
def test_a_bar_goes_when_its_block_fails():
    with bars() as progress:
        with pytest.raises(ValueError, match="lost"), progress.task("reading", None, "frames"):
            raise ValueError("lost")
        assert progress._progress.tasks == []
