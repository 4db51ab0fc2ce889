"""Inception-v1 over pictures (GoogLeNet), as torchvision ships it, and the stages that it is run by.

Paper: Szegedy et al. 2015, "Going Deeper with Convolutions", https://arxiv.org/abs/1409.4842.
Origin: the layers come from the installed torchvision (BSD-3-Clause); nothing of them is restated
here. Tensors carry its names, so its ImageNet weights fit those of a network for RGB but the
classifier. They expect pictures between -1 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import nn
from torchvision.models.googlenet import GoogLeNet

__all__ = ["FEATURES", "STAGES", "inception_v1"]

STAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "conv1": ("conv1",),  # 3x224x224 -> 64x112x112
    "conv2": ("maxpool1", "conv2", "conv3"),  # 192x56x56
    "inception3": ("maxpool2", "inception3a", "inception3b"),  # 480x28x28
    "inception4": ("maxpool3", "inception4a", "inception4b", "inception4c", "inception4d", "inception4e"),  # 832x14x14
    "inception5": ("maxpool4", "inception5a", "inception5b"),  # 1024x7x7
}
"""Each stage with the submodules of the network that it runs, from pictures to the last features."""

FEATURES: Final = 1024
"""Channels of the last features."""


def inception_v1(in_channels: int, num_classes: int | None, dropout: float = 0.0) -> GoogLeNet:
    """GoogLeNet of torchvision with fresh weights and no auxiliary classifiers.

    Args:
        in_channels: channels of a picture; for another number than 3 the first convolution is exchanged.
        num_classes: outputs of its classifier `fc`; None leaves the classifier away.
        dropout: share of features that its `dropout` drops in training.
    """
    network = GoogLeNet(num_classes or 1, aux_logits=False, init_weights=False, dropout=dropout)
    old = network.conv1.conv
    if in_channels != old.in_channels:
        network.conv1.conv = nn.Conv2d(
            in_channels, old.out_channels, old.kernel_size, stride=old.stride, padding=old.padding, bias=False
        )
    if num_classes is None:
        del network.fc
    # With torchvision's weights of 0.01 nothing of a picture is left behind batch norms that have seen no data yet.
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network
