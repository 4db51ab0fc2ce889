import os
import subprocess
import sys

import pytest

from kinema.datasets.processes import read_apart


def _read(path):
    if path.name.startswith("bad"):
        os._exit(11)
    return f"read {path.name}"


def _died(path):
    return f"died of {path.name}"


@pytest.mark.parametrize("workers", [1, 3])
def test_every_file_is_read_once(tmp_path, workers):
    found = read_apart(_read, [tmp_path / str(number) for number in range(9)], workers=workers, died=_died)
    assert sorted(found) == [f"read {number}" for number in range(9)]


def test_a_file_that_ends_its_process_is_named_and_no_other(tmp_path):
    names = ("a", "b", "bad 1", "c", "d", "e", "f", "g", "bad 2")
    found = list(read_apart(_read, [tmp_path / name for name in names], workers=2, died=_died))
    assert sorted(found) == ["died of bad 1", "died of bad 2", *(f"read {name}" for name in "abcdefg")]


def test_an_error_in_a_process_is_raised_here(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        list(read_apart(os.stat, [tmp_path / "nothing"], workers=1, died=_died))


def test_no_files_start_no_process():
    assert list(read_apart(_read, [], workers=2, died=_died)) == []


def test_a_main_program_without_a_guard_is_told_so(tmp_path):
    program = tmp_path / "main.py"
    program.write_text(
        "import os, pathlib\n"
        "from kinema.datasets.processes import read_apart\n"
        "print(list(read_apart(os.stat, [pathlib.Path('.')], workers=1, died=str)))\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "UsageError: the processes that read files cannot be started" in done.stderr
    assert 'if __name__ == "__main__":' in done.stderr
