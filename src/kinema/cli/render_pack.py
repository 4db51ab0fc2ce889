"""How a packed data set looks on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from kinema.cli.render import stderr, stdout

if TYPE_CHECKING:  # this room loads torch, and `kinema --help` must not
    from kinema.datasets.shards.index import PackIndex

__all__ = ["show_pack"]


def show_pack(index: PackIndex) -> None:
    """The shards of each split, and what was left out."""
    held = sum(split.samples for split in index.splits.values())
    stdout.print(f"{escape(index.address)}: {held} samples in {decimal(index.size_bytes)}\n")
    table = Table("split", box=None, header_style="bold", pad_edge=False)
    for title in ("samples", "classes", "shards", "size"):
        table.add_column(title, justify="right")
    for name, split in index.splits.items():
        size = decimal(sum(shard.size_bytes for shard in split.shards))
        classes = sum(count > 0 for count in split.classes)
        table.add_row(name, str(split.samples), str(classes), str(len(split.shards)), size)
    stdout.print(table)
    for one in index.broken:
        span = (
            "" if one.start_seconds is None and one.end_seconds is None else _span(one.start_seconds, one.end_seconds)
        )
        stdout.print(f"[bold red]left out:[/] {escape(one.path)}{span}: {escape(one.reason)}")
    if index.broken:
        stdout.print(f"{len(index.broken)} of {held + len(index.broken)} samples left out")
    for leak in index.leaks:
        stderr.print(f"[yellow]warning:[/] {leak}; training on these shards needs --allow-leak")


def _span(start_seconds: float | None, end_seconds: float | None) -> str:
    end = "the end" if end_seconds is None else f"{end_seconds:g} s"
    return f" from {start_seconds or 0:g} s to {end}"
