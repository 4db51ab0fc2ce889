"""Make what is generated: pages of docs/reference, and the API pages in site/.

python docs/build.py                 both
python docs/build.py --pages-only    the pages of docs/reference alone; needs no pdoc
"""  # noqa: INP001

from __future__ import annotations

import argparse
import pkgutil
import warnings
from pathlib import Path

from networks_page import networks_page
from settings_page import settings_page

import kinema
from kinema.core.atomic import replacing

ROOT = Path(__file__).parents[1]

PAGES = {"networks.md": networks_page, "settings.md": settings_page}
"""File in docs/reference, and what gives its text."""


def build_api(site: Path) -> None:
    """API pages of every module, from the docstrings."""
    import pdoc  # noqa: PLC0415  the pages do without the `docs` extra

    for name in kinema.__all__:
        setattr(kinema, name, getattr(kinema, name))  # pdoc looks for names without asking for them
    rooms = [module.name for module in pkgutil.iter_modules(kinema.__path__, "kinema.")]
    # PyAV's Packet and its like take parameters in type stubs, but not when run.
    warnings.filterwarnings("ignore", "Error parsing type annotation")
    pdoc.pdoc("kinema", *(room for room in rooms if not room.endswith("__main__")), output_directory=site)


def main() -> None:
    """Build what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages-only", action="store_true", help="write the pages of docs/reference and stop")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "reference", help="the folder that they go to")
    chosen = parser.parse_args()
    for name, text in PAGES.items():
        with replacing(chosen.to / name) as beside:
            beside.write_text(text(), encoding="utf-8")
    if not chosen.pages_only:
        build_api(ROOT / "site")


if __name__ == "__main__":
    main()
