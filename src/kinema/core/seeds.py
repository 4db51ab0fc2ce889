"""Independent random streams from one seed, so that no draw depends on how many came before it."""

from __future__ import annotations

import zlib

import numpy as np

__all__ = ["stream"]


def stream(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """The generator for one `purpose` at one place, such as `stream(7, "clip", epoch, row)`.

    Equal arguments give equal generators in every process and on every machine; other arguments
    give independent ones.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), *numbers]))
