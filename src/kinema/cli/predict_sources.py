"""What `kinema predict` watches: files and streams, and the videos in packed data sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kinema.core.errors import MediaError

if TYPE_CHECKING:  # this room loads torch, and `kinema --help` must not
    from kinema.datasets.shards.read import PackedSample

__all__ = ["Watched", "watched"]


@dataclass(frozen=True)
class Watched:
    """One video.

    Attributes:
        source: what is opened: a path or URL; of a packed video a file that is there until the next one.
        name: what it is called.
    """

    source: str
    name: str


def watched(sources: Sequence[str]) -> Iterator[Watched | MediaError]:
    """The videos that `sources` name, those of packed data sets last; of a name that leads to none, why.

    Raises:
        UsageError: a blank name.
        DataError: shards that cannot be read.
    """
    from kinema.datasets.shards.decode import as_file
    from kinema.datasets.shards.index import INDEX_NAME, is_packed, read_index
    from kinema.datasets.shards.read import ShardStream
    from kinema.video.source import is_url

    named = [one for one in sources if one.strip()]  # a blank one would name the current folder: refused below
    # Of URLs only an index is told from a stream without opening it.
    packed = [one for one in named if is_packed(one) and (not is_url(one) or one.endswith(f"/{INDEX_NAME}"))]
    for found in dict.fromkeys(each for one in sources if one not in packed for each in _found(one)):
        yield found if isinstance(found, MediaError) else Watched(found, found)
    for address in dict.fromkeys(packed):
        index = read_index(address)
        for split in index.splits:
            for sample in ShardStream(index, split, buffer_samples=1):
                with as_file(sample) as path:
                    yield Watched(str(path), f"{index.address}/{sample.path}{_fragment(sample)}")


def _found(source: str) -> Sequence[str | MediaError]:
    from kinema.video.source import expand

    try:
        return expand([source])
    except MediaError as error:
        return [error]


def _fragment(sample: PackedSample) -> str:
    """The segment that was packed, as the W3C writes it in URLs (Media Fragments 1.0)."""
    if sample.start_seconds is None and sample.end_seconds is None:
        return ""
    end = "" if sample.end_seconds is None else f",{sample.end_seconds:g}"
    return f"#t={sample.start_seconds or 0:g}{end}"
