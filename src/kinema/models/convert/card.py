"""What the weights file of a converted network says about itself: its labels, its input, where it came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from kinema.core.errors import DataError, WeightsError
from kinema.core.labels import LabelMap
from kinema.core.version import __version__
from kinema.models.convert.conversion import Conversion
from kinema.models.weights import ModelCard

__all__ = ["card_of", "read_labels"]

_FORMS = 'one name a line, or JSON: a list, {"0": name, …}, {name: 0, …} or {"labels": list}'


def card_of(conversion: Conversion, labels: LabelMap | None = None) -> ModelCard:
    """The card of a converted network.

    Args:
        conversion: what was converted.
        labels: the classes in the order of its logits; None where nobody published them.

    Raises:
        DataError: another number of labels than of classes.
        WeightsError: a network of as many channels as kinema has no pictures of.
    """
    labels = labels or LabelMap.unknown(conversion.num_classes)
    if labels.count != conversion.num_classes:
        raise DataError(
            f"{labels.count} labels for a network of {conversion.num_classes} classes",
            allowed=f"{conversion.num_classes} labels",
            next_step="give the list that belongs to these weights, or none",
        )
    if conversion.input is None:
        raise WeightsError(
            f"a {conversion.architecture} of {conversion.in_channels} channels, which kinema cannot feed",
            allowed="3 channels (pictures) or 2 (flow)",
            next_step="take the network itself with kinema.models.convert.conversion.convert_file",
        )
    return ModelCard(
        architecture=conversion.architecture,
        options=dict(conversion.options),
        in_channels=conversion.in_channels,
        labels=labels,
        input=conversion.input,
        provenance={
            "kinema": __version__,
            "converted_from": conversion.source,
            "files_sha256": {path.name: _sha256(path) for path in conversion.files},
            "input_reason": conversion.input_reason,
            "fresh_tensors": list(conversion.missing),
        },
    )


def read_labels(path: Path | str) -> LabelMap:
    """Class names in index order, from a list of lines or JSON.

    Raises:
        DataError: there is no such file, it is none of these, or a name or a number is missing or there twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the labels {path}: {error}", allowed=_FORMS) from error
    if text.lstrip()[:1] not in {"[", "{"}:
        names = [line.strip() for line in text.rstrip().splitlines()]
    else:
        try:
            names = _names_of(json.loads(text))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise DataError(f"the labels {path} are in no form kinema knows: {error}", allowed=_FORMS) from error
    if "" in names:
        raise DataError(f"the labels {path} have no name at line {names.index('') + 1}", allowed=_FORMS)
    return LabelMap.of(names)


def _names_of(value: object) -> list[str]:
    """Names in index order from JSON of one of the known forms; ValueError or TypeError where it has none."""
    if isinstance(value, Mapping) and isinstance(value.get("labels"), list):  # an annotation file of 3D-ResNets-PyTorch
        value = value["labels"]
    if isinstance(value, Mapping):
        turned = all(isinstance(number, int) for number in value.values())
        by_number = (
            {int(number): name for name, number in value.items()}
            if turned
            else {int(number): name for number, name in value.items()}
        )
        if sorted(by_number) != list(range(len(value))):
            raise ValueError(f"numbers other than 0 to {len(value) - 1}")
        value = [by_number[number] for number in range(len(value))]
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError("something else than names")
    return value


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
