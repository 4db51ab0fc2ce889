"""Tensors out of the files that other programs write: torch's, safetensors and TensorFlow's checkpoints.

A torch file is a pickle, and a pickle may run whatever it names. Only torch's own restricted reader
opens one here, which builds tensors and plain containers and refuses every other name.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from kinema.core.errors import WeightsError, shortened
from kinema.models.convert.bundle import find_bundle, read_bundle
from kinema.models.sniff import what_is

__all__ = ["Foreign", "read_foreign"]

# Where training programs put the tensors of the network in what they save, the likeliest first.
_ENTRIES: Final = ("state_dict", "model_state", "model_state_dict", "model", "net", "weights")
_GLOBAL: Final = re.compile(r"GLOBAL ([\w.]+)")
_TAR_MARK: Final = slice(257, 262)  # where a tar archive says "ustar"
_AGAIN: Final = "get the file again and compare its size with the source's"


def _harmless() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Names that checkpoints hold beside tensors and that build nothing but values: an accuracy, the options."""
    scalar: Any = np.float64(0).__reduce__()[0]  # numpy has it under a private name, and had it under another
    kinds = [type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")]
    scalars = [(scalar, f"numpy.{room}.multiarray.scalar") for room in ("core", "_core")]
    return [argparse.Namespace, np.dtype, *kinds, *scalars]


@dataclass(frozen=True)
class Foreign:
    """What a file holds.

    Attributes:
        tensors: by the names they have there.
        files: the files that were read.
        arch: what the file calls its network; empty where it does not.
        skipped: names of what is no tensor.
    """

    tensors: Mapping[str, torch.Tensor]
    files: tuple[Path, ...]
    arch: str = ""
    skipped: tuple[str, ...] = ()


def read_foreign(path: Path) -> Foreign:
    """The tensors of `path`, on the CPU.

    Args:
        path: a torch file, a safetensors file, or a TensorFlow checkpoint: its prefix, its folder or a file of it.

    Raises:
        WeightsError: no such file, none of these, damaged, or a pickle that names something else than tensors
            and plain containers; nothing of it has been run then.
    """
    try:
        prefix = find_bundle(path)
    except OSError as error:  # a name that no file can have
        raise _no_weights(path) from error
    if prefix is not None:
        tensors, without, files = read_bundle(prefix)
        return Foreign(tensors, files, skipped=without)
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise _no_weights(path) from error
    if start[:4] == b"PK\3\4" or start[:1] == b"\x80" or start[_TAR_MARK] == b"ustar":
        return _of_checkpoint(_unpickled(path), path)
    return _of_safetensors(path)


def _of_safetensors(path: Path) -> Foreign:
    try:
        with safe_open(path, framework="pt") as file:
            if "kinema" in (file.metadata() or {}):
                raise WeightsError(
                    f"{path} is a weights file of kinema already",
                    allowed="a file of another program",
                    next_step=f"use it as it is, such as kinema predict {path} VIDEO",
                )
            return Foreign({name: file.get_tensor(name) for name in file.keys()}, (path,))  # noqa: SIM118  no mapping
    except (OSError, SafetensorError) as error:
        raise _no_weights(path) from error


def _unpickled(path: Path) -> object:
    try:
        with torch.serialization.safe_globals(_harmless()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader of a damaged file may fail anywhere and with anything
        raise _refusal(path, error) from error


def _refusal(path: Path, error: Exception) -> WeightsError:
    named = _GLOBAL.search(str(error)) if isinstance(error, UnpicklingError) else None
    if named:
        return WeightsError(
            f"{path} wants Python to call {named[1]}, which no weights need; nothing of the file was run",
            allowed="tensors, numbers, texts and plain containers of them",
            next_step="if you trust whoever made it: load it with torch.load(path, weights_only=False) where it "
            "was made, and save only its tensors: torch.save(model.state_dict(), path)",
        )
    if "legacy .tar format" in str(error):
        return WeightsError(
            f"{path} is a tar archive of torch before 0.2, which torch does not read without running it",
            allowed="torch files of later versions",
            next_step="if you trust whoever made it: load it with torch.load(path, weights_only=False) "
            "and save it again with torch.save",
        )
    first_sentence = (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0]
    return WeightsError(f"{path} cannot be read: {first_sentence}", allowed="a torch file", next_step=_AGAIN)


def _of_checkpoint(content: object, path: Path) -> Foreign:
    """The network's tensors among what a training program saved: the content itself, or an entry of it."""
    if isinstance(content, Mapping):
        arch = content.get("arch")
        for held in (*(content.get(entry) for entry in _ENTRIES), content):
            tensors = _tensors_of(held)
            if tensors:
                return Foreign(tensors, (path,), arch if isinstance(arch, str) else "")
    holds = shortened([str(key) for key in content]) if isinstance(content, Mapping) else type(content).__name__
    raise WeightsError(
        f"{path} holds no table of tensors; it holds: {holds}",
        allowed=f"tensors by name, alone or in an entry called {', '.join(_ENTRIES)}",
        next_step="save them so: torch.save(model.state_dict(), path)",
    )


def _tensors_of(held: object) -> dict[str, torch.Tensor]:
    if not isinstance(held, Mapping):
        return {}
    return {name: x.detach() for name, x in held.items() if isinstance(name, str) and isinstance(x, torch.Tensor)}


def _no_weights(path: Path) -> WeightsError:
    return WeightsError(
        f"{path} is {what_is(path)[0]}",
        allowed="a torch file, a safetensors file or a TensorFlow checkpoint",
        next_step="check the path, or get the file again and compare its size with the source's",
    )
