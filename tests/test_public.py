"""The public surface: sorted, lazy, and cheap to import."""

import subprocess
import sys

import pytest

import kinema


def test_every_name_is_there_and_sorted():
    assert kinema.__all__ == sorted(kinema.__all__)
    assert dir(kinema) == kinema.__all__
    for name in kinema.__all__:
        assert getattr(kinema, name) is not None


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(AttributeError, match="create_model"):
        kinema.no_such_thing  # noqa: B018


def loaded_by(code):
    program = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()


def test_importing_kinema_loads_no_heavy_library():
    assert {"torch", "numpy", "av", "pydantic"}.isdisjoint(loaded_by("import kinema"))


def test_the_command_line_answers_without_torch():
    heavy = {"torch", "torchvision", "av", "matplotlib", "sklearn", "lightning_fabric"}
    assert heavy.isdisjoint(loaded_by("import kinema.cli.app"))
