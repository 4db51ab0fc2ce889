"""`kinema data pack`: a data set as shards of small videos, to be streamed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.render import bars, write_json
from kinema.cli.render_pack import show_pack

__all__ = ["pack"]


def pack(
    data: Annotated[Path, typer.Argument(help="Folder of class folders, or manifest.")],
    out: Annotated[Path, typer.Argument(help="Folder for the shards: new, or where this command was stopped.")],
    shard_mib: Annotated[float, typer.Option(help="A shard is closed once it holds so many MiB.")] = 256,
    short_side: Annotated[int, typer.Option(help="Scale videos down to this shorter side in pixels.")] = 128,
    crf: Annotated[int, typer.Option(help="Quality of x264: 0 is lossless, 51 the worst.")] = 23,
    keyframe: Annotated[int, typer.Option(help="Most frames from one keyframe to the next.")] = 12,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that encode.", show_default="one a processor")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the order of samples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Write DATA as tar files of small videos in shuffled order, and an index of them, into OUT.

    A stopped run goes on where it was when it is started again. Videos that cannot be decoded are
    left out and listed; then it leaves with 3.
    """
    from kinema.core.errors import DataError
    from kinema.datasets.manifest import read_manifest
    from kinema.datasets.shards.index import PackOptions
    from kinema.datasets.shards.pack import pack as pack_manifest

    options = PackOptions(shard_mib, short_side, crf, keyframe, seed)
    with bars() as progress:
        manifest = read_manifest(data, min_classes=1)
        index = pack_manifest(manifest, out, options=options, workers=workers, progress=progress)
    if as_json:
        write_json(index.to_json())
    else:
        show_pack(index)
    raise typer.Exit(DataError.exit_code if index.broken else 0)
