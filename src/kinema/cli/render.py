"""What commands show: results on stdout; progress, logs and errors on stderr. Only kinema.cli prints."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from kinema.core.errors import KinemaError

__all__ = ["Bars", "bars", "show_error", "stderr", "stdout", "write_json"]


class _Results(Console):
    """Standard output, whose reader may leave: `kinema … | head` has read all it wanted; or whose disk may be full."""

    def print(self, *objects: Any, **how: Any) -> None:
        """As Rich prints; what cannot be written ends the program with one line."""
        try:
            super().print(*objects, **how)
        except OSError as error:
            self.on_refusal(error)

    def on_broken_pipe(self) -> None:
        """End well, and let nothing that is still held back meet the closed pipe."""
        self._let_go()
        raise SystemExit(0)

    def on_refusal(self, error: OSError) -> NoReturn:
        """End with what the system said, and let nothing that is still held back meet it again."""
        self._let_go()
        raise KinemaError(f"standard output cannot be written: {error.strerror or error}") from error

    def _let_go(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# Without emoji: a file or class named `a:key:b` is shown so.
stdout = _Results(highlight=False, soft_wrap=True, emoji=False)
stderr = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def write_json(value: Any) -> None:
    """One JSON value on stdout, on one line, nothing else."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(stdout.encoding)
    except UnicodeEncodeError:  # a name that is no text, or a stdout that is not UTF-8: JSON can spell out both
        text = json.dumps(value)
    try:
        stdout.file.write(text + "\n")
        stdout.file.flush()
    except BrokenPipeError:
        stdout.on_broken_pipe()
    except OSError as error:
        stdout.on_refusal(error)


def show_error(error: KinemaError) -> None:
    """The three parts of an error, on stderr."""
    stderr.print(f"[bold red]error:[/] {escape(error.given)}")
    if error.allowed:
        stderr.print(f"[bold]allowed:[/] {escape(error.allowed)}")
    if error.next_step:
        stderr.print(f"[bold]next:[/] {escape(error.next_step)}")


class _Count(MofNCompleteColumn):
    """Steps done of steps in all; bytes as people count them."""

    def render(self, task: Task) -> Text:
        if task.fields["unit"] != "B":
            return super().render(task)
        total = "?" if task.total is None else decimal(int(task.total))
        return Text(f"{decimal(int(task.completed))}/{total}", style="progress.download")


_SLOW = 10  # steps a second, below which a whole number tells too little


class _Rate(ProgressColumn):
    """Steps a second, in the unit of the task."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if speed is None:
            return Text("")
        amount = (
            decimal(int(speed))
            if task.fields["unit"] == "B"
            else f"{speed:.{int(speed < _SLOW)}f} {task.fields['unit']}"
        )
        return Text(f"{amount}/s", style="cyan")


class _Bar:
    """One bar of `Bars`."""

    def __init__(self, progress: Progress, number: TaskID) -> None:
        self._progress = progress
        self._number = number

    def advance(self, steps: int = 1, note: str = "") -> None:
        """`steps` more are done."""
        if note:
            self._progress.update(self._number, advance=steps, note=note)
        else:
            self._progress.update(self._number, advance=steps)


class Bars:
    """`core.progress.Progress` drawn on stderr: description, bar, count, rate, time left, note.

    Where stderr is no terminal no bar is drawn, and log lines stay plain lines.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @contextmanager
    def task(self, description: str, total: int | None, unit: str, done: int = 0) -> Iterator[_Bar]:
        """A bar that goes when its block ends."""
        number = self._progress.add_task(escape(description), total=total, completed=done, unit=unit, note="")
        try:
            yield _Bar(self._progress, number)
        finally:
            self._progress.remove_task(number)

    def log(self, message: str) -> None:
        """A line above the bars."""
        self._progress.console.print(escape(message))


@contextmanager
def bars() -> Iterator[Bars]:
    """Bars on stderr for as long as the block runs."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        _Count(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as progress:
        yield Bars(progress)
