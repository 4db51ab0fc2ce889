"""`kinema data frames`: every video as a folder of JPEG pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.render import bars, write_json
from kinema.cli.render_frames import read_fps, show_frames

__all__ = ["frames"]


def frames(
    data: Annotated[Path, typer.Argument(help="Folder of class folders, or manifest.")],
    out: Annotated[Path, typer.Argument(help="Folder for CLASS/VIDEO/image_00001.jpg … and manifest.csv.")],
    short_side: Annotated[int, typer.Option(min=1, help="Pixels of the short side.")] = 240,
    quality: Annotated[int, typer.Option(min=1, max=95, help="Of the JPEG pictures, as libjpeg counts.")] = 90,
    fps: Annotated[
        str | None, typer.Option(help="Frames a second, as 12.5 or 30000/1001.", show_default="every frame")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that decode.", show_default="one a processor")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Extract the frames of every video of DATA; kinema and 3D-ResNets-PyTorch read them in its stead.

    Goes on where an earlier run was stopped. Leaves with 3 when a file is broken; the others are written.
    """
    from kinema.core.errors import DataError
    from kinema.datasets.frames import FrameRule, extract_frames
    from kinema.datasets.manifest import read_manifest

    rule = FrameRule(short_side, quality, None if fps is None else read_fps(fps))
    with bars() as progress:
        report = extract_frames(read_manifest(data, min_classes=1), out, rule, workers=workers, progress=progress)
    if as_json:
        write_json(report.to_json())
    else:
        show_frames(report)
    raise typer.Exit(DataError.exit_code if report.broken else 0)
