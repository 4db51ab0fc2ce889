"""Build the wheel, install it in a clean environment, import every module of it there.

Finds what an editable install hides: a file that the wheel leaves out, a dependency nobody declared.
The environment lies in .cache/wheel and is made anew when pyproject.toml changes; the wheel itself is
installed each time. Run by `make check`.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACE = ROOT / ".cache" / "wheel"

IMPORT_ALL = """
import importlib, importlib.resources, pkgutil
import kinema
assert "site-packages" in kinema.__file__, kinema.__file__
names = [module.name for module in pkgutil.walk_packages(kinema.__path__, "kinema.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
for file in ("evaluation/templates/report.html.j2", "training/recipes/kinema-small.yaml", "py.typed"):
    assert importlib.resources.files("kinema").joinpath(file).is_file(), file
from kinema.core.labels import list_published_labels, published_labels
assert len(list_published_labels()) == 8 and published_labels("kinetics700").count == 700
print(f"{len(names)} modules of kinema {kinema.__version__} import from the wheel")
"""


def main() -> None:
    """Fail where any step fails."""
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, str(ROOT))
        (wheel,) = Path(folder).glob("*.whl")
        python = environment(wheel)
        run(str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", str(wheel))
    # From elsewhere, so that nothing of the checkout is on the path.
    run(str(python), "-c", IMPORT_ALL, cwd=PLACE)
    run(str(python.parent / "kinema"), "--version", cwd=PLACE)


def environment(wheel: Path) -> Path:
    """The Python of an environment that holds what the wheel says it needs, and nothing else."""
    stamp = PLACE / "made-for"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    python = PLACE / "venv" / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(PLACE, ignore_errors=True)
        venv.create(PLACE / "venv", with_pip=True)
        run(str(python), "-m", "pip", "install", "--quiet", str(wheel))
        stamp.write_text(wanted)
    return python


def run(*command: str, cwd: Path = ROOT) -> None:
    """Run a command, showing what it prints only where it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    sys.stdout.write(done.stdout if "-c" in command else "")


if __name__ == "__main__":
    main()
