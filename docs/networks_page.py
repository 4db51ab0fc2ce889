"""The page of networks, made from the zoo's table."""  # noqa: INP001

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from kinema.models.row import TABLE_CLASSES, ModelRow
from kinema.models.zoo import create_model, list_families

__all__ = ["networks_page"]

INTRODUCTION = f"""\
# Networks

<!-- Made by `python docs/build.py --pages-only` from the rows of kinema.models; edit those. -->

Every network that `kinema train --model NAME` and `kinema.create_model(NAME, num_classes)` build. They take clips
(N, C, T, H, W) of any length and size; the *clip* is what each was made for: frames, pixels, and the frames a second or
the stride between frames that it was published with. Parameters are counted with {TABLE_CLASSES} classes and default
options, and GFLOPs for one clip, a multiplication and an addition as two operations, matrix products and
convolutions only.

Fine-tuning can start at any *stage* (`model.freeze("layer4")` trains that stage and all behind it); options go to
`create_model(NAME, num_classes, shortcut="A")`, `--set model_options.shortcut=A` or `kinema models convert --option`.
"""


def networks_page() -> str:
    """The whole page: a section a family, a row a variant."""
    return "\n".join([INTRODUCTION, *(_section(title, rows) for title, rows in list_families().items())])


def _section(title: str, rows: Sequence[ModelRow]) -> str:
    lines = [
        f"## {title}",
        "",
        f"{'; '.join(dict.fromkeys(row.paper for row in rows))}.",
        "",
        "| name | parameters | GFLOPs | clip |",
        "|---|---|---|---|",
        *(f"| `{row.name}` | {row.parameters:,} | {row.gflops:,.2f} | {_clip(row)} |" for row in rows),
        "",
    ]
    for stages, alike in _grouped(rows, _stages).items():
        lines += [f"Stages{_of(alike, rows)}: {stages}.", ""]
    for options, alike in _grouped(rows, _options).items():
        lines += [f"Options{_of(alike, rows)}:", "", "| option | allowed | default | |", "|---|---|---|---|"]
        lines += [options, ""]
    return "\n".join(lines)


def _grouped(rows: Sequence[ModelRow], tell: Callable[[ModelRow], str]) -> dict[str, list[str]]:
    """Names of the rows of which `tell` gives the same, by what it gives; nothing where it gives nothing."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(tell(row), []).append(f"`{row.name}`")
    groups.pop("", None)
    return groups


def _of(names: Sequence[str], rows: Sequence[ModelRow]) -> str:
    return "" if len(names) == len(rows) else f" of {', '.join(names)}"


def _stages(row: ModelRow) -> str:
    with torch.device("meta"):
        return ", ".join(f"`{stage}`" for stage in create_model(row.name, TABLE_CLASSES).stages)


def _options(row: ModelRow) -> str:
    return "\n".join(
        f"| `{option.name}` | {option.allowed} | {_value(row.defaults[option.name])} | {option.summary} |"
        for option in row.options
    )


def _clip(row: ModelRow) -> str:
    clip = row.input.clip
    pace = f"{clip.fps:g} fps" if clip.fps else f"stride {clip.stride}"
    modality = "" if row.input.modality == "rgb" else f", {row.input.modality}"
    return f"{clip.frames} x {row.input.size_px}², {pace}{modality}"


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
