"""The runner of the documentation is itself held to: every kind of lie on a page must turn it red."""

from pathlib import Path

import pytest
from pages import Page, Runner, require_shown, venv_bin

RUNNER = Runner(venv_bin(), frozenset({"test", "docs"}))


def run(text, *, slow=False):
    RUNNER.run(Page(Path("page.md"), text), slow=slow)


@pytest.mark.parametrize(
    "text",
    [
        "```console\n$ echo one; echo two\none\n...\n```",
        "```console\n$ echo one and two\none ... two\n```",
        "```console exit=3\n$ exit 3\n```",
        "```console exit=3\n$ true\n$ exit 3\n```",
        "```console slow\n$ false\n```",
        "```console\n$ make test\n$ pip install '.[docs]'\n```",
        "```python\nx = 1\n```\n```python\nassert x == 1\n```",
        "```yaml\nepochs: 3\n```\n```json\n{}\n```\n```csv\na,b\n1,2\n```\n```text\nanything\n```",
    ],
)
def test_true_pages_pass(text):
    run(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```console\n$ echo one\ntwo\n```", "does not show 'two'"),
        ("```console\n$ echo one; echo two\ntwo\none\n```", "does not show 'one'"),
        ("```console\n$ exit 3\n```", "left with 3, not 0"),
        ("```console exit=3\n$ exit 3\n$ exit 3\n```", "left with 3, not 0"),
        ("```console\n$ make cake\n```", "there is no cake"),
        ("```console\n$ pip install '.[cake]'\n```", "there is no cake"),
        ("```console\necho one\n```", "begins with"),
        ("```yaml\nepoch: 3\n```", "did you mean 'epochs'"),
        ("```json\n{,}\n```", "no json"),
        ("```csv\na,b\n1\n```", "no csv"),
        ("```\nwhat is this\n```", "fence ''"),
    ],
)
def test_lies_are_noticed(text, said):
    with pytest.raises(AssertionError, match=said):
        run(text)


def test_slow_blocks_run_when_asked():
    with pytest.raises(AssertionError, match="left with 1"):
        run("```console slow\n$ false\n```", slow=True)


def test_a_python_error_names_the_line_of_the_page():
    with pytest.raises(ZeroDivisionError) as caught:
        run("# Title\n\n```python\nx = 1\nx / 0\n```")
    assert caught.traceback[-1].lineno + 1 == 5


def test_blank_lines_need_not_be_shown():
    require_shown(["one", "", "two"], "one\ntwo\n", "echo")


def test_comments_and_links_are_found():
    text = "<!-- needs: clips weights -->\n<!-- slow blocks leave: demo, run at a/b -->\n# A `b` C\n[x](y.md#z)\n"
    page = Page(Path("page.md"), text)
    assert page.needs == ["clips", "weights"]
    assert page.stand_ins == ["demo", "run at a/b"]
    assert page.links == ["y.md#z"]
    assert page.anchors == {"a-b-c"}
