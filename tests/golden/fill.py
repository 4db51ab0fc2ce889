"""Reproducible weights and inputs behind the reference outputs in this folder.

Every tensor of a state dict is drawn from numpy's frozen legacy generator, seeded by the
CRC-32 of the tensor's *original* name, so nothing but the names and shapes is needed to
rebuild the exact network that produced the stored logits.
"""

from __future__ import annotations

import math
import zlib

import numpy as np


def _generator(seed: int) -> np.random.RandomState:
    return np.random.RandomState(seed)


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values (float64, or int64 zeros for BN counters) of the parameter or buffer `name`."""
    random = _generator(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    if name.endswith("running_var"):
        return 0.5 + random.random_sample(shape)
    if name.endswith("running_mean"):
        return 0.1 * random.standard_normal(shape)
    if len(shape) >= 2:
        fan_in = int(np.prod(shape[1:]))
        return 0.8 * random.standard_normal(shape) * math.sqrt(2.0 / fan_in)
    if name.endswith("weight"):
        return 1 + 0.1 * random.standard_normal(shape)
    return 0.1 * random.standard_normal(shape)


def state_dict(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """All tensors of a recorded network, keyed by their original names."""
    return {name: tensor(name, tuple(shape)) for name, shape in shapes.items()}


def clip(shape: tuple[int, ...]) -> np.ndarray:
    """The float64 input batch (N, C, T, H, W) that was fed to the network."""
    return _generator(0).standard_normal(int(np.prod(shape))).reshape(shape)
