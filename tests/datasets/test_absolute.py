from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kinema.core.errors import DataError, UsageError
from kinema.datasets.absolute import absolute_paths, are_absolute_paths_allowed
from kinema.datasets.check import check
from kinema.datasets.check_files import require_above, write_quarantine
from kinema.datasets.manifest import Manifest, read_manifest


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A manifest of a video beside it, one by its absolute path and one by way of the parent folder."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    for path in ("here/a.mp4", "there/b.mp4", "there/c.mp4"):
        (tmp_path / path).write_bytes(b"no video")
    table = tmp_path / "here" / "clips.csv"
    table.write_text(f"path,label\na.mp4,x\n{tmp_path}/there/b.mp4,y\n../there/c.mp4,y\n")
    return table


def test_no_file_name_escapes_its_root_unless_absolute_paths_are_allowed(elsewhere):
    with pytest.raises(DataError, match="2 of the 3 rows"):
        read_manifest(elsewhere)
    with absolute_paths():
        assert [sample.path.name for sample in read_manifest(elsewhere).samples] == ["a.mp4", "b.mp4", "c.mp4"]
    with pytest.raises(DataError, match="leads out of"):
        read_manifest(elsewhere)


def test_what_is_asked_for_counts_more_than_the_block_around(elsewhere):
    assert len(read_manifest(elsewhere, allow_absolute=True)) == 3
    with absolute_paths(), pytest.raises(DataError, match="leads out of"):
        read_manifest(elsewhere, allow_absolute=False)


def test_a_block_ends_where_it_fails_and_counts_in_its_own_thread_only():
    said: list[bool] = []
    with absolute_paths():
        assert are_absolute_paths_allowed()
        thread = threading.Thread(target=lambda: said.append(are_absolute_paths_allowed()))
        thread.start()
        thread.join()
    assert said == [False]
    with pytest.raises(ZeroDivisionError), absolute_paths():
        _ = 1 / 0
    assert not are_absolute_paths_allowed()


def test_manifests_are_written_anywhere_inside_the_block(elsewhere, tmp_path):
    manifest = read_manifest(elsewhere, allow_absolute=True)
    target = tmp_path / "third" / "clips.csv"
    with pytest.raises(DataError, match="lie outside"):
        manifest.write(target)
    with absolute_paths():
        manifest.write(target)
        assert read_manifest(target).samples == manifest.samples


def test_broken_files_elsewhere_are_listed_by_their_full_paths(elsewhere, tmp_path):
    manifest = read_manifest(elsewhere, allow_absolute=True)
    report = check(Manifest.of(manifest.source, manifest.samples), workers=0)
    with pytest.raises(UsageError, match="lie outside it"):
        require_above(tmp_path / "here", manifest, instead="")
    with absolute_paths(), pytest.raises(DataError, match="nothing to keep"):
        write_quarantine(tmp_path / "here", report)
    listed = (tmp_path / "here" / "quarantine.csv").read_text("utf-8-sig").splitlines()
    assert [line.split(",")[0] for line in listed] == [
        "path", "a.mp4", f"{tmp_path}/there/b.mp4", f"{tmp_path}/there/c.mp4"
    ]  # fmt: skip
