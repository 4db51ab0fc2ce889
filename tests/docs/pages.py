"""What a documentation page holds, and how its code blocks are run.

A page may open with comments that its readers do not see:

    <!-- needs: clips weights -->                        files the runner puts into the page's folder
    <!-- slow blocks leave: demo, run at runs/first -->  what stands in for skipped slow blocks

A fence is called LANGUAGE, then words: `slow` (takes minutes), `exit=N` (its last command leaves with N),
`kubernetes` (YAML that describes things of a cluster). `bash` blocks are for clusters: they are read by bash, not run.
`console` blocks hold lines `$ command`; the lines after one must occur in its output, in their order,
where `...` stands for anything.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_FENCE = re.compile(r"^```(.*?)\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^<!-- (needs|slow blocks leave): (.*?) -->$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_QUOTED = re.compile(r"'[^']*'|\"[^\"$`]*\"")
_SHELL = re.compile(r"[|&;<>$`*?~]")
_COMMAND_SECONDS = 3600 * 4
LANGUAGES = {"python", "console", "bash", "csv", "json", "yaml", "text"}


@dataclass(frozen=True)
class Block:
    """One fence: its language, the words behind it, its text, and the line it begins on."""

    language: str
    words: tuple[str, ...]
    text: str
    line: int

    @property
    def slow(self) -> bool:
        return "slow" in self.words

    @property
    def exit_code(self) -> int:
        return next((int(word.removeprefix("exit=")) for word in self.words if word.startswith("exit=")), 0)

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Each command with the output lines shown below it."""
        command, shown = "", []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, shown
                command, shown = line.removeprefix("$ "), []
            elif not command:
                raise AssertionError(f"line {self.line}: a console block begins with '$ ', not with {line!r}")
            else:
                shown.append(line)
        if command:
            yield command, shown


@dataclass(frozen=True)
class Page:
    """A Markdown page."""

    path: Path
    text: str

    @classmethod
    def read(cls, path: Path) -> Page:
        return cls(path, path.read_text(encoding="utf-8"))

    @property
    def blocks(self) -> list[Block]:
        found = []
        for match in _FENCE.finditer(self.text):
            language, *words = match[1].split() or [""]
            line = self.text.count("\n", 0, match.start()) + 1
            found.append(Block(language, tuple(words), match[2], line))
        return found

    @property
    def needs(self) -> list[str]:
        """Names of the prepared files."""
        return self._said("needs").split()

    @property
    def stand_ins(self) -> list[str]:
        """What slow blocks would have left, such as `run at runs/first`."""
        return [part.strip() for part in self._said("slow blocks leave").split(",") if part.strip()]

    @property
    def links(self) -> list[str]:
        """Targets of links and pictures outside of fences."""
        return _LINK.findall(_FENCE.sub("", self.text))

    @property
    def anchors(self) -> set[str]:
        """What `#...` may point to: headings in lower case, words joined by hyphens."""
        titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", self.text), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

    def _said(self, what: str) -> str:
        return next((said for name, said in _COMMENT.findall(self.text) if name == what), "")


@dataclass(frozen=True)
class Runner:
    """Runs the blocks of one page, in order, in the current folder.

    Args:
        bin: folder put first on PATH.
        targets: what `make` can make, and extras that can be installed.
        kinema: runs `kinema ARGUMENTS` within this process, which spares loading torch each time;
            None runs it as any other command.
    """

    bin: Path
    targets: frozenset[str]
    kinema: Callable[..., Any] | None = None

    def run(self, page: Page, *, slow: bool) -> None:
        """Run every block; those that are slow only if asked to."""
        names: dict[str, object] = {"__name__": "__main__"}
        for block in page.blocks:
            where = f"{page.path.name}, line {block.line}"
            if block.language not in LANGUAGES:
                raise AssertionError(f"{where}: fence '{block.language}' is none of {', '.join(sorted(LANGUAGES))}")
            if block.language == "python":
                if slow or not block.slow:
                    # Blank lines before it make tracebacks name the line of the page.
                    code = compile("\n" * block.line + block.text, str(page.path), "exec")
                    exec(code, names)
            elif block.language == "console":
                commands = list(block.commands())
                for number, (command, shown) in enumerate(commands, start=1):
                    if self._is_installing(command, where) or (block.slow and not slow):
                        continue
                    self._command(command, shown, block.exit_code if number == len(commands) else 0, where)
            else:
                parse(block, where)

    def _is_installing(self, command: str, where: str) -> bool:
        """Whether a command would set up a machine; it is then compared with what the project offers."""
        words = shlex.split(command)
        if words[0] == "make":
            asked = [word for word in words[1:] if "=" not in word]
        elif words[:2] == ["pip", "install"]:
            asked = [
                extra for word in words[2:] for group in re.findall(r"\[(.*)\]", word) for extra in group.split(",")
            ]
        else:
            return False
        strangers = set(asked) - self.targets
        if strangers:
            raise AssertionError(f"{where}: `{command}`, but there is no {', '.join(sorted(strangers))}")
        return True

    def _command(self, command: str, shown: list[str], exit_code: int, where: str) -> None:
        if self.kinema is not None and command.startswith("kinema ") and not _SHELL.search(_QUOTED.sub("", command)):
            ran = self.kinema(*shlex.split(command)[1:])
            code, output = ran.code, ran.out + ran.err
        else:
            path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
            done = subprocess.run(
                ["bash", "-c", command], env={**os.environ, "PATH": path, "COLUMNS": "200"}, text=True, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_COMMAND_SECONDS, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            code, output = done.returncode, done.stdout
        if code != exit_code:
            raise AssertionError(f"{where}: `{command}` left with {code}, not {exit_code}:\n{output}")
        require_shown(shown, output, f"{where}: `{command}`")


def require_shown(shown: list[str], output: str, what: str) -> None:
    """Raise unless the lines of `shown` occur in `output`, in order; `...` stands for anything."""
    lines = iter(output.splitlines())
    for expected in (line.rstrip() for line in shown):
        if expected.strip() in ("", "..."):
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in expected.split("...")))
        if not any(pattern.fullmatch(line.rstrip()) for line in lines):
            raise AssertionError(f"{what} does not show {expected!r} (any more, or in this order):\n{output}")


def parse(block: Block, where: str) -> None:
    """Raise unless a block of data can be read as what it says it is."""
    try:
        if block.language == "bash":
            subprocess.run(["bash", "-n"], input=block.text, text=True, check=True, capture_output=True)
        elif "kubernetes" in block.words:
            for thing in yaml.safe_load_all(block.text):
                assert {"apiVersion", "kind", "metadata", "spec"} <= thing.keys(), "no thing of a cluster"
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "csv":
            rows = list(csv.reader(io.StringIO(block.text)))
            assert len({len(row) for row in rows}) == 1, "rows of different length"
        elif block.language == "yaml":
            from kinema.studies.study import parse_study
            from kinema.training.recipe import make_config

            content = yaml.safe_load(block.text)
            if "axes" in content:
                parse_study(Path(where), content)
            else:
                make_config({"data": "clips"}, content)
    except Exception as error:
        raise AssertionError(f"{where}: no {block.language} that kinema could read: {error}") from error


def venv_bin() -> Path:
    """The folder of the interpreter that runs this, where `kinema` is installed too."""
    return Path(sys.executable).parent
