"""A folder of class folders, read as manifest rows.

    DATA/CLASS/**/video                 or
    DATA/(train|val|test)/CLASS/**/video

where a folder of numbered pictures (`kinema.video.frame_folder`) is a video, too. The second is meant where
every folder on top that holds a video bears a split's name (or `training`, `validation`, `valid`, `testing`).
Names that begin with a dot are not looked at; links are followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unicodedata import normalize

from kinema.core.errors import DataError, shortened
from kinema.datasets.sample import SPLITS, Sample, listing, split_name
from kinema.video.source import VIDEO_SUFFIXES, is_frame_folder

__all__ = ["read_folder"]

_LAYOUTS = "CLASS/video, or train, val and test folders with CLASS/video in each"


def read_folder(root: Path) -> tuple[list[Sample], list[Path]]:
    """The samples below `root`, sorted by path, and what was ignored: other files, folders without a video.

    Raises:
        DataError: no video at all, videos outside any class folder, splits beside classes, or names that lead
            to no file: links to what is gone, pipes, devices.
    """
    tops = [entry for entry in _visible(root) if entry.is_dir()]
    layered = _is_layered(root, tops)
    classes: list[tuple[str | None, Path]] = [(None, entry) for entry in _visible(root)]
    if layered:
        splits = [top for top in tops if split_name(top.name) in SPLITS]
        classes = [(split_name(top.name), entry) for top in splits for entry in _visible(top)]
        classes += [(None, top) for top in tops if top not in splits]  # hold no video
    samples: list[Sample] = []
    ignored = [entry for entry in _visible(root) if layered and not entry.is_dir()]
    for split, entry in classes:
        files = list(_files(entry)) if entry.is_dir() else []
        videos = [file for file in files if _is_video(file) or file.is_dir()]
        samples.extend(Sample(video, normalize("NFC", entry.name), split) for video in videos)
        ignored.extend(file for file in files if not (_is_video(file) or file.is_dir()))
        ignored.extend([] if videos else [entry])
    _require_usable(root, samples, ignored)
    return sorted(samples, key=lambda sample: sample.path.as_posix()), sorted(ignored)


def _is_layered(root: Path, tops: list[Path]) -> bool:
    """Whether `tops`, the folders in `root`, are splits; those without a video do not count.

    Raises:
        DataError: some are splits with class folders in them, and others are not.
    """
    held = [top for top in tops if next(_videos(top), None) is not None]
    splits = [top for top in held if split_name(top.name) in SPLITS]
    others = [top.name for top in held if top not in splits]
    # A class may be called train: its videos lie in it, and not in folders of their own.
    layers = [top.name for top in splits if any(video.parent != top for video in _videos(top))]
    if others and layers:
        raise DataError(
            f"{root} holds splits ({shortened(layers)}) beside other folders with videos ({shortened(others)})",
            allowed=_LAYOUTS,
            next_step="move the others elsewhere, or list the videos with their labels and splits in a CSV file",
        )
    return bool(splits) and not others


def _require_usable(root: Path, samples: list[Sample], ignored: list[Path]) -> None:
    loose = [path for path in ignored if _is_video(path) and not path.is_dir()]
    if loose:
        raise DataError(
            f"{len(loose)} videos lie outside any class folder:\n{listing(loose)}",
            allowed=_LAYOUTS,
            next_step="move them into the folder of their class, or list them with their labels in a CSV file",
        )
    if not samples:
        raise DataError(
            f"{root} holds no video below a class folder, but {len(ignored)} other files and folders",
            allowed=f"{_LAYOUTS}; a video ends in {', '.join(sorted(VIDEO_SUFFIXES))}",
            next_step="put the videos of each class into a folder named after it",
        )
    gone = [sample.path for sample in samples if not sample.path.exists()]
    if gone:
        raise DataError(f"{len(gone)} links lead nowhere:\n{listing(gone)}", next_step="repair or remove them")
    endless = [sample.path for sample in samples if not (sample.path.is_file() or sample.path.is_dir())]
    if endless:
        raise DataError(
            f"{len(endless)} are no files, but pipes, sockets or devices:\n{listing(endless)}",
            next_step="remove them",
        )


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _videos(folder: Path) -> Iterator[Path]:
    return (file for file in _files(folder) if _is_video(file) or file.is_dir())


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Files below `folder`, and folders of frames, each as a whole."""
    real = folder.resolve()
    if real in above:
        return  # a link back to a folder that holds it
    for entry in _visible(folder):
        if entry.is_dir():
            if is_frame_folder(entry):
                yield entry
            else:
                yield from _files(entry, (*above, real))
        else:
            yield entry
