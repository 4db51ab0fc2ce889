"""The rules of the house that no linter knows."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "kinema"
FILES = sorted(SOURCE.rglob("*.py"))
TESTS = Path(__file__).parent


def identity(path):
    return str(path.relative_to(SOURCE))


@pytest.mark.parametrize("path", FILES, ids=identity)
def test_no_file_or_function_outgrows_a_reader(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} has 60 lines or more"


def test_no_room_for_odds_and_ends():
    names = {part for path in FILES for part in path.relative_to(SOURCE).with_suffix("").parts}
    assert names.isdisjoint({"util", "utils", "helper", "helpers", "common", "misc"})


def test_only_the_command_line_prints():
    for path in FILES:
        if "cli" in path.relative_to(SOURCE).parts:
            continue
        calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
        assert not [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"], path


def test_commands_are_short():
    for path in (SOURCE / "cli").glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                body = [part for part in node.body if not isinstance(part, (ast.Import, ast.ImportFrom, ast.Expr))]
                assert sum(part.end_lineno - part.lineno + 1 for part in body) <= 20 or path.stem.startswith("render")
