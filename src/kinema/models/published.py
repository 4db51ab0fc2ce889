"""Weights by name: whatever a person calls them, the path of a file that kinema reads.

Published weights are fetched and converted when first asked for and then lie in the cache, with a
card made from their record: `weights/NAME.safetensors`, the files as fetched in `weights/downloads`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, replace
from pathlib import Path

import torch
from pydantic import JsonValue

from kinema.core.cache import cache_folder
from kinema.core.errors import WeightsError
from kinema.core.labels import LabelMap
from kinema.core.progress import Progress, Silent
from kinema.core.version import __version__
from kinema.models.convert.conversion import convert_file
from kinema.models.download import Fetched, by_hand, fetch, is_offline
from kinema.models.hub import HubAddress, fetch_weights, weights_in
from kinema.models.model import VideoModel
from kinema.models.records.lookup import find_record, is_record
from kinema.models.records.record import WeightsRecord
from kinema.models.weights import ModelCard, load_weights, read_card, save_weights
from kinema.models.zoo import full_options

__all__ = ["card_of", "downloads_folder", "load_model", "weights_path", "write_copy"]


def weights_path(given: str | Path, *, progress: Progress | None = None) -> Path:
    """The file that `given` means: itself, or published weights by name, fetched and converted if need be.

    Args:
        given: path of a weights file, a folder in the layout of the Hugging Face Hub, an address
            there (`hf://owner/name`, `hf://owner/name@revision`), or a name of `kinema models list --weights`.
        progress: where a download draws its bar.

    Raises:
        UsageError: neither a path nor a name that is known; the nearest name is told.
        WeightsError: the file cannot be fetched or converted, or is not what was published.
        DataError: the cache cannot be written to, or has no room.
    """
    path, name = Path(given), str(given)
    if address := HubAddress.of(given):
        return fetch_weights(address, progress=progress)
    if path.is_dir():
        return weights_in(path)
    written_as_path = path.suffix == ".safetensors" or len(path.parts) > 1
    if path.exists() or (written_as_path and not is_record(name)):
        return path  # where there is nothing, whoever reads it says so
    return _converted(find_record(name), progress or Silent())


def load_model(given: str | Path, *, dtype: torch.dtype = torch.float32) -> VideoModel:
    """The bare network of a weights file, or of published weights by name, in evaluation mode on the CPU.

    Args:
        given: path of a weights file, or a name of `kinema models list --weights`.
        dtype: floating precision of the network.

    Raises:
        KinemaError: as `weights_path` and `kinema.models.weights.load_weights` do.
    """
    return load_weights(weights_path(given), dtype=dtype).model


def write_copy(weights: Path, out: Path, *, labels: LabelMap | None = None) -> None:
    """A copy of `weights` at `out`, with the names of `labels` for its classes if they are given.

    Raises:
        WeightsError: the weights tell apart another number of classes.
    """
    read = load_weights(weights)
    if labels is not None and labels.count != read.card.labels.count:
        raise WeightsError(
            f"{labels.count} names for the {read.card.labels.count} classes of {weights}",
            allowed="one name a class, in index order",
        )
    save_weights(out, read.model, replace(read.card, labels=labels or read.card.labels))


def downloads_folder() -> Path:
    """Where files lie as they were published."""
    return cache_folder() / "weights" / "downloads"


def card_of(record: WeightsRecord, fetched: tuple[Fetched, ...]) -> ModelCard:
    """What the converted file says about itself.

    Args:
        record: what is known about the weights.
        fetched: their files, in the order of the record.
    """
    sources: list[JsonValue] = [
        {"file": file.name, "from": file.source, "sha256": found.sha256}
        for file, found in zip(record.files, fetched, strict=False)
    ]
    return ModelCard(
        architecture=record.architecture,
        options=full_options(record.architecture, record.options),
        in_channels=record.input.channels,
        labels=record.classes.labels,
        input=record.input,
        provenance={
            "kinema": __version__,
            "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
            "weights": record.name,
            "publisher": record.publisher,
            "sources": sources,
            "licence": {key: value for key, value in asdict(record.licence).items() if value},
            "classes": {"data": record.classes.data, "order": record.classes.evidence},
            "note": record.note,
        },
        metrics=tuple(figure.to_json() for figure in record.figures),
    )


def _converted(record: WeightsRecord, progress: Progress) -> Path:
    target = cache_folder() / "weights" / f"{record.name}.safetensors"
    if _is_current(target, record):
        return target
    folder = downloads_folder()
    missing = [file for file in record.files if not (folder / file.name).is_file()]
    if missing and (is_offline() or not record.has_link):
        reason = "KINEMA_OFFLINE forbids to fetch them" if record.has_link else "no direct link to them is published"
        raise WeightsError(
            f"the weights {record.name} are not here, and {reason}",
            allowed=f"their file as {record.publisher} publishes it, in {folder}",
            next_step=by_hand(missing, folder),
        )
    fetched = tuple(fetch(file, folder, progress=progress) for file in record.files)
    progress.log(f"converting {record.files[0].name} to {target}")
    conversion = convert_file(
        fetched[0].path,
        architecture=record.architecture,
        num_classes=record.classes.count,
        options=record.options,
    )
    save_weights(target, conversion.model, card_of(record, fetched))
    return target


def _is_current(target: Path, record: WeightsRecord) -> bool:
    """Whether `target` was made from what `record` says today; a corrected record makes it anew."""
    try:
        kept = read_card(target)
    except WeightsError:
        return False
    return replace(kept, provenance={}) == replace(card_of(record, ()), provenance={})
