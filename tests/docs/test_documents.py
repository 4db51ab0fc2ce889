"""The documentation, executed: what a page shows is what happens."""

import os
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest
from pages import Page, Runner, venv_bin

import kinema

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.ko.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
REPORT_PICTURE = ROOT / "docs" / "images" / "report.png"
FAST = [path for path in PAGES if Page.read(path).blocks]
# The Korean README has the blocks of the English one, which a test below holds it to.
SLOW = [path for path in FAST if any(b.slow for b in Page.read(path).blocks) and path.name != "README.ko.md"]
FOUR_HOURS = 4 * 3600


def identity(path):
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def targets():
    rules = [line.split(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if line[:1].isalpha()]
    return frozenset({*rules, *metadata("kinema").get_all("Provides-Extra")})


@pytest.mark.parametrize("path", FAST, ids=identity)
def test_page(path, place, targets, kinema_command):
    page = Page.read(path)
    if "shared" in page.needs and all(block.slow for block in page.blocks):
        pytest.skip("all its blocks are slow")
    for thing in [*page.needs, *page.stand_ins]:
        place(thing)
    Runner(venv_bin(), targets, kinema_command).run(page, slow=False)


@pytest.mark.slow
@pytest.mark.timeout(FOUR_HOURS)
@pytest.mark.parametrize("path", SLOW, ids=identity)
def test_page_with_its_slow_blocks(path, place, targets):
    page = Page.read(path)
    for thing in page.needs:
        place(thing)
    Runner(venv_bin(), targets).run(page, slow=True)
    for thing in page.stand_ins:
        assert Path(thing.rpartition(" ")[2]).exists(), f"no slow block has left {thing}"


@pytest.mark.parametrize("path", LINKED, ids=identity)
def test_links_lead_somewhere(path):
    page = Page.read(path)
    for link in page.links:
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if target == REPORT_PICTURE and not target.exists():
            continue  # told of by its own test below
        assert target.exists(), f"{link} leads nowhere"
        assert target.is_relative_to(ROOT), f"{link} leads out of the project"
        if anchor:
            assert anchor in Page.read(target).anchors, f"{name} has no heading #{anchor}"


def test_the_picture_of_the_report_is_one():
    if not REPORT_PICTURE.exists():
        pytest.skip(f"{identity(REPORT_PICTURE)} has not been taken yet")
    from PIL import Image

    with Image.open(REPORT_PICTURE) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) >= 300


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=identity)
def test_every_page_is_reached_from_the_index(path):
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in Page.read(index).links}
    assert path == index or path in linked or path.parent in linked


def test_generated_pages_are_up_to_date(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "build.py", "--pages-only", "--to", tmp_path],
        capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for made in tmp_path.iterdir():
        now = (ROOT / "docs" / "reference" / made.name).read_text(encoding="utf-8")
        assert now == made.read_text(encoding="utf-8"), "run: python docs/build.py --pages-only"
    assert list(tmp_path.iterdir())


def test_every_public_name_is_documented():
    text = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    missing = [name for name in kinema.__all__ if f"kinema.{name}" not in text]
    assert not missing


def test_both_readmes_run_the_same_commands():
    english, korean = (Page.read(ROOT / name) for name in ("README.md", "README.ko.md"))
    assert [(block.language, block.text) for block in english.blocks] == [
        (block.language, block.text) for block in korean.blocks
    ]
