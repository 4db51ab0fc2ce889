"""`kinema data`: what is in a data set, what is wrong with it, and who trains on what."""

from __future__ import annotations

import typer

from kinema.cli import (
    data_check,
    data_flow,
    data_frames,
    data_import,
    data_merge,
    data_pack,
    data_split,
    data_synthesize,
)

__all__ = ["app"]

app = typer.Typer(
    help="Labelled videos: check, split, import, merge, pack or render them before training.", no_args_is_help=True
)
app.command("check")(data_check.check)
app.command("frames")(data_frames.frames)
app.command("flow")(data_flow.flow)
app.command("split")(data_split.split)
app.command("import")(data_import.import_)
app.command("export")(data_import.export)
app.command("merge")(data_merge.merge)
app.command("pack")(data_pack.pack)
app.command("synthesize")(data_synthesize.synthesize)
