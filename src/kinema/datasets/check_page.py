"""A check as one HTML file with pictures, to be looked through by a person."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from kinema.core.atomic import replacing
from kinema.core.errors import KinemaError
from kinema.core.progress import Progress, Silent
from kinema.datasets.check import CheckReport
from kinema.datasets.crossings import Crossing
from kinema.datasets.likeness import KINDS
from kinema.datasets.sample import SPLITS, Sample
from kinema.video.source import open_recording

__all__ = ["write_check_page"]

_THUMBNAIL_PX = 96
_MOST_PAIRS = 60  # with pictures; the table and the JSON form hold them all
_MOST_PLACES = 24
_MOST_OF_A_PLACE = 8
_MOST_DULL = 24
_MOST_BROKEN = 1000


@dataclass(frozen=True)
class _Picture:
    """A file as the page shows it: relative path, what it says of itself, a JPEG picture as a data URI or None."""

    path: str
    facts: str
    image: str | None


@dataclass(frozen=True)
class _Pair:
    """Two files that are alike, in words."""

    first: _Picture
    second: _Picture
    kind: str
    across: str
    measure: str


@dataclass(frozen=True)
class _Place:
    """Files of one place, as indices, those shown first; and the splits and groups that they stand in."""

    members: tuple[int, ...]
    splits: tuple[str, ...]
    groups: int

    @property
    def shown(self) -> tuple[int, ...]:
        return self.members[:_MOST_OF_A_PLACE]


def write_check_page(path: Path | str, report: CheckReport, progress: Progress | None = None) -> None:
    """Write `report` to `path` as one HTML file, whole or not at all.

    The page holds its style and pictures, runs no script and may load nothing, which its own content
    security policy enforces. Every text is escaped. Pictures are the middle frames of files that
    something is to be said of.

    Args:
        path: the file to write.
        report: what a check has shown.
        progress: shows how many pictures have been taken.

    Raises:
        DataError: the folder cannot be written to.
    """
    films = [crossing for crossing in report.alike() if crossing.pair.kind != KINDS[-1]]
    places = _places(report)
    dull = [index for index, file in enumerate(report.files) if file.look and file.look.dull and not file.reason]
    wanted = {index for film in films[:_MOST_PAIRS] for index in (film.pair.first, film.pair.second)}
    wanted |= {index for place in places[:_MOST_PLACES] for index in place.shown} | set(dull[:_MOST_DULL])
    pictures = _pictures(report, sorted(wanted), progress or Silent())
    page = (
        _environment()
        .get_template("check.html.j2")
        .render(
            report=report,
            relative=report.manifest.relative,
            longest=max(count.samples for count in report.classes),
            minutes=sum(count.duration_seconds for count in report.classes) / 60,
            pairs=[_pair(film, pictures) for film in films[:_MOST_PAIRS]],
            all_pairs=len(films),
            places=places[:_MOST_PLACES],
            all_places=len(places),
            torn_places=sum(len(place.splits) > 1 for place in places),
            pictures=pictures,
            dull=[pictures[index] for index in dull[:_MOST_DULL]],
            all_dull=len(dull),
            broken=report.broken[:_MOST_BROKEN],
        )
    )
    with replacing(path) as beside:
        # A file name that is no valid text (a lone surrogate) becomes a character reference.
        beside.write_bytes(page.encode("utf-8", "xmlcharrefreplace"))


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("kinema.datasets", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _places(report: CheckReport) -> list[_Place]:
    """Clusters of more than one file: those in several splits first, then in several groups, then the largest."""
    stands: dict[Path, list[Sample]] = {}
    for sample in report.manifest.samples:
        stands.setdefault(sample.path, []).append(sample)
    members: dict[int, list[int]] = {}
    for index, cluster in enumerate(report.likeness.clusters):
        members.setdefault(cluster, []).append(index)
    places = [
        _place(indices, [stands[report.files[index].path] for index in indices])
        for indices in members.values()
        if len(indices) > 1
    ]
    return sorted(places, key=lambda place: (len(place.splits) < 2, place.groups < 2, -len(place.members)))


def _place(indices: Sequence[int], samples: Sequence[Sequence[Sample]]) -> _Place:
    """The place that files show of which these are the samples; first one file of each split and group."""
    seen: Counter[tuple[str | None, str | None]] = Counter()
    turns = []
    for own in samples:
        stand = own[0].split, own[0].group
        turns.append(seen[stand])
        seen[stand] += 1
    splits = {sample.split for own in samples for sample in own if sample.split}
    groups = {sample.group for own in samples for sample in own if sample.group}
    order = sorted(range(len(indices)), key=lambda at: (turns[at], at))
    return _Place(tuple(indices[at] for at in order), tuple(split for split in SPLITS if split in splits), len(groups))


def _pictures(report: CheckReport, indices: Sequence[int], progress: Progress) -> dict[int, _Picture]:
    labels: dict[Path, list[str]] = {}
    for sample in report.manifest.samples:
        told = " · ".join(filter(None, (sample.label, sample.split, sample.group)))
        if told not in labels.setdefault(sample.path, []):
            labels[sample.path].append(told)
    pictures = {}
    with progress.task("taking pictures", len(indices), "pictures") as task:
        for index in indices:
            file = report.files[index]
            facts = [
                *labels[file.path],
                f"{file.duration_seconds:.1f}\N{NO-BREAK SPACE}s, {file.width_px}x{file.height_px}",
            ]
            if file.look and file.look.dull:
                facts.append(f"{file.look.black_share:.0%} black, {file.look.frozen_share:.0%} frozen")
            pictures[index] = _Picture(report.manifest.relative(file.path), "; ".join(facts), _thumbnail(file.path))
            task.advance()
    return pictures


def _thumbnail(path: Path) -> str | None:
    """The middle frame as a data URI; None where it cannot be had, which the list of broken files tells."""
    try:
        with open_recording(path, short_side_px=_THUMBNAIL_PX, strict=False) as video:
            frame = video.read([len(video.pts) // 2]).data[0]
    except KinemaError:
        return None
    if len(frame) != 3:  # optical flow: two channels, and no colours
        return None
    memory = BytesIO()
    Image.fromarray(frame.permute(1, 2, 0).numpy()).save(memory, format="JPEG", quality=82)
    return f"data:image/jpeg;base64,{b64encode(memory.getvalue()).decode('ascii')}"


def _pair(crossing: Crossing, pictures: dict[int, _Picture]) -> _Pair:
    pair = crossing.pair
    measure = [] if pair.kind == KINDS[0] else [f"background {pair.background:.0%} alike"]
    if pair.motion is not None:
        measure.append(f"movement {pair.motion:.0%} alike")
    kind = f"{pair.kind}, mirrored" if pair.mirrored else pair.kind
    across = " and ".join(_across(crossing))
    return _Pair(pictures[pair.first], pictures[pair.second], kind, across, ", ".join(measure))


def _across(crossing: Crossing) -> Iterator[str]:
    if crossing.splits:
        yield "across splits"
    if crossing.groups:
        yield "across groups"
