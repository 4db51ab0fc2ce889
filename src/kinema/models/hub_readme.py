"""README.md of a published network: what the Hugging Face Hub shows of it, and people read first.

The YAML in front follows the Hub's specification of model cards
(https://huggingface.co/docs/hub/model-cards); the figures stand there as its `model-index`, each
with the protocol that gave it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from kinema.core.errors import shortened
from kinema.models.weights import ModelCard

__all__ = ["MARK", "readme_of"]

MARK: Final = "<!-- Written by kinema. Remove this line and kinema leaves the file to you. -->"

_COUNTS = frozenset({"n", "groups"})
# The Hub's identifiers of licences that networks come under; others are told by name.
_LICENCES = frozenset(
    {"apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0"}
    | {"cc-by-nc-sa-4.0", "gpl-3.0", "agpl-3.0", "lgpl-3.0", "mit", "mpl-2.0", "unlicense"}
)


@dataclass(frozen=True)
class _Figure:
    """One measured number; `low` and `high` are NaN where no interval is known."""

    name: str
    value: float
    low: float
    high: float
    count: int | None
    data: str
    protocol: str

    @property
    def words(self) -> str:
        between = "" if math.isnan(self.low) else f" ({self.low:.4g} to {self.high:.4g})"
        return f"{self.value:.4g}{between}"


def readme_of(card: ModelCard, address: str) -> str:
    """The text of README.md.

    Args:
        card: what the weights file says.
        address: what `kinema predict` is given for it, such as `hf://owner/name`, or the name of its folder.
    """
    figures = tuple(_figures(card))
    front = yaml.safe_dump(_front(card, figures), sort_keys=False, allow_unicode=True, width=1000)
    parts = (
        f"---\n{front}---\n{MARK}\n",
        f"# {card.architecture} for {_classes_in_words(card)}\n",
        "A video classifier for kinema. `config.json` repeats what the header of `model.safetensors` says.\n",
        f"```sh\nkinema predict {address} video.mp4\n```\n",
        f"```python\nimport kinema\n\nprint(kinema.load({address!r}).predict('video.mp4'))\n```\n",
        *_section("Classes", _classes(card)),
        *_section("Input", _input(card)),
        *_section("Results", _results(card, figures)),
        *_section("Licence", _licence_in_words(card)),
        *_section("Provenance", _as_yaml({"options": card.options, **card.provenance})),
    )
    return "\n".join(parts)


def _front(card: ModelCard, figures: tuple[_Figure, ...]) -> dict[str, Any]:
    front: dict[str, Any] = {
        "library_name": "kinema",
        "pipeline_tag": "video-classification",
        "license": "unknown",
        "tags": ["video-classification", "kinema", card.architecture],
    }
    stated = _stated_licence(card)
    if stated.lower() in _LICENCES:
        front["license"] = stated.lower()
    elif stated:
        front |= {"license": "other", "license_name": stated}
    if figures:
        results = [
            {
                "task": {"type": "video-classification"},
                "dataset": {"name": figure.data, "type": _slug(figure.data)},
                "metrics": [
                    {"type": _slug(figure.name), "value": figure.value, "name": f"{figure.name}; {figure.protocol}"}
                ],
            }
            for figure in figures
        ]
        front["model-index"] = [{"name": card.architecture, "results": results}]
    return front


def _figures(card: ModelCard) -> Iterator[_Figure]:
    """The numbers of a card: estimates with an interval, published percentages, and plain ones."""
    for metric in card.metrics:
        data = str(metric.get("data") or card.provenance.get("data") or "not stated")
        protocol = str(metric["protocol"])
        if isinstance(percent := metric.get("percent"), int | float):
            name = f"{metric.get('measure', 'result')}, percent"
            yield _Figure(name, float(percent), math.nan, math.nan, None, data, protocol)
            continue
        for key, value in metric.items():
            if isinstance(value, Mapping) and isinstance(number := value.get("value"), int | float):
                low, high, count = value.get("low"), value.get("high"), value.get("n")
                known = isinstance(low, int | float) and isinstance(high, int | float)
                interval = (float(low), float(high)) if known else (math.nan, math.nan)  # type: ignore[arg-type]
                yield _Figure(key, float(number), *interval, count if isinstance(count, int) else None, data, protocol)
            elif isinstance(value, int | float) and not isinstance(value, bool) and key not in _COUNTS:
                yield _Figure(key, float(value), math.nan, math.nan, None, data, protocol)


def _results(card: ModelCard, figures: tuple[_Figure, ...]) -> str:
    if not figures:
        return "None stated."
    lines = ["| figure | value (95 % interval) | n | protocol |", "|---|---|---|---|"]
    lines += [f"| {f.name} | {f.words} | {f.count or ''} | {_cell(f'{f.data}; {f.protocol}')} |" for f in figures]
    warnings = [
        str(warning) for metric in card.metrics if isinstance(metric.get("warnings"), list)
        for warning in metric["warnings"]  # type: ignore[union-attr]  # asked in the line before
    ]  # fmt: skip
    return "\n".join(lines + ([""] if warnings else []) + [f"- {warning}" for warning in dict.fromkeys(warnings)])


def _classes_in_words(card: ModelCard) -> str:
    if card.labels.names is None:
        return f"{card.labels.count} classes of unknown names"
    return f"{card.labels.count} classes: {shortened(card.labels.names, 4)}"


def _classes(card: ModelCard) -> str:
    if card.labels.names is None:
        return f"{card.labels.count}; nobody published their names, so answers carry numbers only."
    return "\n".join(f"{index}. {name}" for index, name in enumerate(card.labels.names))


def _input(card: ModelCard) -> str:
    spec = card.input
    rate = f"at {spec.clip.fps:g} frames a second" if spec.clip.fps else f"every {spec.clip.stride}. frame as it comes"
    return (
        f"Clips of {spec.clip.frames} frames ({spec.modality}, {spec.channels} channels), {rate}, scaled to a short"
        f" side of {spec.short_side_px} px, {spec.crop} crop of {spec.size_px} x {spec.size_px} px; values 0 to"
        f" {spec.value_range:g}, minus {_numbers(spec.mean)}, divided by {_numbers(spec.std)}."
        " kinema does all of this itself."
    )


def _licence_in_words(card: ModelCard) -> str:
    licence = card.provenance.get("licence")
    if isinstance(licence, Mapping):
        return "\n".join(f"- {what}: {terms}" for what, terms in licence.items())
    return str(licence) if licence else "Not stated."


def _stated_licence(card: ModelCard) -> str:
    """The licence of the weights, or nothing: that of the code which trained them says nothing about them."""
    licence = card.provenance.get("licence")
    stated = licence.get("weights") if isinstance(licence, Mapping) else licence
    words = str(stated or "").split(",")[0].strip()
    return "" if words == "not stated" else words


def _section(title: str, text: str) -> tuple[str, str]:
    return f"## {title}\n", f"{text}\n"


def _as_yaml(values: Mapping[str, Any]) -> str:
    return f"```yaml\n{yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=1000)}```"


def _slug(words: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in words.lower()).split()) or "not-stated"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)
