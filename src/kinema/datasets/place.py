"""What a place looks like in two kilobytes, and how alike two places are.

Edges stay where they are when light, colour and compression change, and in the dark as well: a picture
is kept as the directions of its gradients in 16x16 cells, each normalised by its surroundings
(histograms of oriented gradients: Dalal and Triggs, CVPR 2005, 10.1109/CVPR.2005.177). Two pictures are
as alike as these agree at the best of all shifts up to a quarter of the picture, so that a camera that
has turned a little, or that is held by hand, is met again.
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import avg_pool2d, normalize, pad

__all__ = ["CELLS", "DIRECTIONS", "PICTURE_PX", "alike", "coarse", "describe", "mirrored", "near"]

PICTURE_PX = 64
CELLS = 16
DIRECTIONS = 8  # of light to dark, all around

_SHIFT_CELLS = 4
_COARSE = 2  # fine cells to a side of a coarse one
_CELL_PX = PICTURE_PX // CELLS
# A picture flatter than this shows nothing whose place could be told.
_FLAT_LEVELS = 1.0
# Gradients of this many grey levels a pixel are as likely noise as edges.
_NOISE_LEVELS = 1.0
# No single edge, as of a lamp, may outweigh all else.
_MOST = 0.6
_SCALE = 200.0  # of int8
_PADDED = CELLS + _SHIFT_CELLS
_SHIFTS = range(-_SHIFT_CELLS, _SHIFT_CELLS + 1)


def describe(pictures: torch.Tensor) -> torch.Tensor:
    """Edges of grey pictures.

    Args:
        pictures: float32 (P, 64, 64) in 0 to 255.

    Returns:
        int8 (P, 8, 16, 16): by how much each direction is stronger in a cell than in the mean of the
        picture; zeros for a picture that is flat.
    """
    inside = pad(pictures[:, None], (1, 1, 1, 1), mode="replicate")
    across = inside[:, 0, 1:-1, 2:] - inside[:, 0, 1:-1, :-2]
    down = inside[:, 0, 2:, 1:-1] - inside[:, 0, :-2, 1:-1]
    # Each gradient counts for the two directions that it lies between.
    turn = torch.atan2(down, across) * (DIRECTIONS / (2 * math.pi)) % DIRECTIONS
    lower = turn.floor()
    strength, share = torch.hypot(across, down), turn - lower
    first = lower.long() % DIRECTIONS
    edges = torch.zeros(len(pictures), DIRECTIONS, PICTURE_PX, PICTURE_PX)
    edges.scatter_add_(1, first[:, None], (strength * (1 - share))[:, None])
    edges.scatter_add_(1, ((first + 1) % DIRECTIONS)[:, None], (strength * share)[:, None])
    cells = avg_pool2d(edges, _CELL_PX)
    around = avg_pool2d(pad(cells.square().sum(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    cells = (cells / (around.sqrt() + _NOISE_LEVELS)).clamp(max=_MOST)
    cells = cells - cells.mean(dim=(2, 3), keepdim=True)
    cells[pictures.std(dim=(1, 2)) < _FLAT_LEVELS] = 0
    return (cells * _SCALE).round().to(torch.int8)


def mirrored(places: torch.Tensor) -> torch.Tensor:
    """What the mirrored pictures would be described as, of (..., 8, 16, 16)."""
    # Left becomes right, so that a turn from the right, a, becomes half a turn minus a.
    order = [(DIRECTIONS // 2 - direction) % DIRECTIONS for direction in range(DIRECTIONS)]
    return places[..., order, :, :].flip(-1)


def coarse(places: torch.Tensor) -> torch.Tensor:
    """float32 (N, 8, 8, 8) in cells of twice the side, the mean over all pictures, from int8 (N, P, 8, 16, 16)."""
    return avg_pool2d(places.float().mean(dim=1), _COARSE)


def near(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """How alike each of `some` (N, 8, 8, 8) is to each of `others` (M, 8, 8, 8), all coarse: (N, M), -1 to 1."""
    side, most = some.shape[-1], _SHIFT_CELLS // _COARSE
    best = torch.full((len(some), len(others)), -1.0)
    for down in range(-most, most + 1):
        for right in range(-most, most + 1):
            here = some[..., max(0, -down) : side - max(0, down), max(0, -right) : side - max(0, right)]
            there = others[..., max(0, down) : side - max(0, -down), max(0, right) : side - max(0, -right)]
            torch.maximum(best, normalize(here.flatten(1)) @ normalize(there.flatten(1)).T, out=best)
    return best


def alike(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """How alike the best two pictures of each pair of places are, at the best shift.

    Args:
        some: int8 (B, P, 8, 16, 16).
        others: likewise, compared with `some` one by one.

    Returns:
        float32 (B,), -1 to 1: the correlation of the cells that both show; 0 where one is flat throughout.
    """
    # By Fourier transforms, padded so that nothing wraps around within the shifts that are asked for.
    one, other = (torch.fft.rfft2(each.float(), s=(_PADDED, _PADDED)) for each in (some, others))
    products = torch.einsum("bpdyx,bqdyx->bpqyx", one.conj(), other)
    shifts = torch.tensor(_SHIFTS) % _PADDED
    told = torch.fft.irfft2(products, s=(_PADDED, _PADDED))[..., shifts[:, None], shifts[None, :]].flatten(3)
    inside = _seen()
    ours = some.float().square().sum(dim=2).flatten(2) @ inside  # (B, P, 81)
    theirs = others.float().square().sum(dim=2).flatten(2) @ inside.flip(1)
    energy = ours[:, :, None] * theirs[:, None]
    best: torch.Tensor = (told / energy.clamp(min=1.0).sqrt()).amax(dim=(1, 2, 3))
    return best


def _seen() -> torch.Tensor:
    """float32 (256, 81): which cells of the one picture the other shows too, for each shift."""
    cells = torch.arange(CELLS)
    lines = torch.stack([(cells + shift >= 0) & (cells + shift < CELLS) for shift in _SHIFTS], dim=1).float()  # (16, 9)
    seen: torch.Tensor = torch.einsum("ys,xt->yxst", lines, lines).reshape(CELLS * CELLS, -1)
    return seen
