"""Residual blocks that a clip skips now and then in training.

Paper: Huang et al., "Deep Networks with Stochastic Depth" (2016), https://arxiv.org/abs/1603.09382: the
probability rises linearly with depth. As is usual now, it is drawn for each clip, and what is kept is scaled
up in training, so that nothing changes in testing. Hooks do it, so no parameter changes its name, and
weights know nothing of it.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn
from torchvision.models.video import resnet as torchvision_resnet
from torchvision.ops import StochasticDepth

from kinema.core.errors import UsageError
from kinema.models import preact_resnet3d, resnet2p1d, resnet3d
from kinema.models.layers.bottleneck import ResBlock
from kinema.models.layers.multi_scale_temporal import MultiScaleTemporalBlock
from kinema.models.model import VideoModel

__all__ = ["DropPath", "drop_paths", "residual_blocks"]

# Of each kind of residual block, the last layer of what is added to its shortcut.
_BRANCH_ENDS: dict[type[nn.Module], str] = {
    resnet3d.BasicBlock: "bn2",
    resnet3d.Bottleneck: "bn3",
    resnet2p1d.BasicBlock2p1d: "bn2_t",
    resnet2p1d.Bottleneck2p1d: "bn3",
    preact_resnet3d.PreactBasicBlock: "conv2",
    preact_resnet3d.PreactBottleneck: "conv3",
    ResBlock: "branch2",
    MultiScaleTemporalBlock: "join",
    torchvision_resnet.BasicBlock: "conv2",
    torchvision_resnet.Bottleneck: "conv3",
}

_PATHWAY = re.compile(r"multipathway_blocks\.\d+")  # SlowFast's, each of which has a depth of its own


class DropPath:
    """A forward hook on the last layer of a branch: in training, some clips get none of it, the others more.

    Args:
        block: the residual block; its mode says whether the network is trained.
        probability: that a clip skips the branch, in [0, 1).
    """

    def __init__(self, block: nn.Module, probability: float) -> None:
        self.block = block
        self.probability = probability

    def __call__(self, _module: nn.Module, _inputs: Any, branch: torch.Tensor) -> torch.Tensor | None:
        """(N, ...) of the branch times 0 or 1 / (1 - probability), drawn for each clip from torch's generator."""
        if not self.block.training:
            return None
        keep = 1 - self.probability
        kept = torch.rand(len(branch), device=branch.device) < keep
        return branch * (kept.to(branch.dtype) / keep).view(-1, *(1,) * (branch.ndim - 1))


def residual_blocks(network: nn.Module) -> dict[str, tuple[str, ...]]:
    """Names of the residual blocks of `network` from the clip to the logits, of each pathway that it has."""
    found: dict[str, list[str]] = {}
    for name, module in network.named_modules():
        if type(module) in _BRANCH_ENDS or isinstance(module, StochasticDepth):
            pathway = _PATHWAY.search(name)
            found.setdefault(pathway.group() if pathway else "", []).append(name)
    return {pathway: tuple(names) for pathway, names in found.items()}


def drop_paths(network: VideoModel, probability: float) -> None:
    """Let clips skip residual blocks of `network` in training.

    Block l of L, from 0, is skipped with `probability` · l / (L - 1), a single one with `probability`. Networks
    that skip blocks by themselves, as torchvision's transformers, do it with these probabilities instead.

    Args:
        network: changed in place.
        probability: that a clip skips the last block, in (0, 1).

    Raises:
        UsageError: the network has no residual blocks.
    """
    pathways = residual_blocks(network)
    if not pathways:
        raise UsageError(
            f"drop_path {probability}: {network.architecture} has no residual blocks that a clip could skip",
            allowed="networks with shortcuts, such as resnet3d_18, slowfast_r50, x3d_m or mvit_v2_s",
            next_step="leave out drop_path; dropout is an option of most networks (kinema models show NAME)",
        )
    for names in pathways.values():
        for number, name in enumerate(names):
            share = probability * number / (len(names) - 1) if len(names) > 1 else probability
            block = network.get_submodule(name)
            if isinstance(block, StochasticDepth):
                block.p = share
            elif share > 0:
                end = block.get_submodule(_BRANCH_ENDS[type(block)])
                end.register_forward_hook(DropPath(block, share))
