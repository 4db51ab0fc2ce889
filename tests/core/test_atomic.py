"""Files appear whole or not at all."""

import os

import pytest

from kinema.core.atomic import leftovers, replacing
from kinema.core.errors import DataError


def test_the_file_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "new" / "report.html"
    with replacing(target) as beside:
        beside.write_text("whole")
        assert beside.suffix == ".html"
        assert beside.parent == target.parent
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def half(target, error):
    with replacing(target) as beside:
        beside.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_block_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "metrics.csv"
    target.write_text("old")
    with pytest.raises(error):
        half(target, error)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_old_file_is_replaced(tmp_path):
    target = tmp_path / "a"
    target.write_text("old")
    with replacing(str(target)) as beside:
        beside.write_bytes(b"new")
    assert target.read_bytes() == b"new"


def test_a_folder_is_not_replaced(tmp_path):
    with pytest.raises(DataError, match="it is a folder"), replacing(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def write_in_place(path):
    path.write_text("")


def write_a_private_file_instead(path):
    """As safetensors does."""
    own = path.with_name("own")
    own.touch(0o600)
    own.replace(path)


@pytest.mark.parametrize("write", [write_in_place, write_a_private_file_instead])
def test_results_are_as_readable_as_other_files(tmp_path, write):
    old = os.umask(0o027)
    try:
        with replacing(tmp_path / "a") as beside:
            write(beside)
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_the_umask_is_left_alone_where_threads_make_files(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("changed for all threads, if only for a moment"))
    with replacing(tmp_path / "a") as beside:
        beside.write_text("")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DataError, match=r"cannot write .*file/a\.csv: (Not a directory|File exists)"),
        replacing(tmp_path / "file" / "a.csv"),
    ):
        pytest.fail("the block must not run")


def test_what_a_killed_program_left_is_known_by_its_name(tmp_path):
    for name in ("a.txt", "b", "a.tar"):
        with replacing(tmp_path / name) as beside:
            beside.write_text("half")
        beside.write_text("half")  # as if the program had been killed before the rename
    (tmp_path / ".a-note.txt").write_text("mine")
    (tmp_path / ".a-01234567.txt.d").mkdir()
    found = [path.name for path in leftovers(tmp_path, {"a.txt", "b"})]
    assert len(found) == 2
    assert found[0].startswith(".a-")
    assert found[0].endswith(".txt")
    assert found[1].startswith(".b-")
