"""Prints, as JSON, how far gradients of weights on this CPU lie from what they should be.

A program of its own: the fault that it looks for damages memory, and only shows where malloc fills
what it gives out (MALLOC_PERTURB_), which is set before a process begins.
"""

import json
import math
import sys

import torch
from torch import nn
from torch.nn import functional

from kinema.models.zoo import create_model
from kinema.training.precision import ZerosAhead, arithmetic

CPU = torch.device("cpu")

# Frames, rows, columns; kernel; padding; stride: kernels longer or higher than the clip, and of its length.
CONVOLUTIONS = (
    *(
        ((frames, 4, 4), (size, 3, 3), (padding, 1, 1), (stride, 1, 1))
        for frames, size, padding, stride in (
            (2, 3, 1, 1), (3, 3, 1, 1), (1, 2, 1, 1), (2, 5, 2, 1), (3, 5, 2, 1), (4, 5, 2, 1), (2, 5, 2, 2),
            (2, 7, 3, 1), (4, 7, 3, 1), (6, 7, 3, 2), (2, 5, 4, 1), (1, 3, 1, 1), (2, 3, 1, 2),
        )
    ),
    *(
        ((3, rows, 4), (1, size, 3), (0, padding, 1), (1, stride, 1))
        for rows, size, padding, stride in ((1, 3, 1, 2), (1, 5, 2, 1), (2, 7, 3, 1), (2, 7, 3, 2), (3, 3, 1, 1))
    ),
    ((2, 1, 1), (3, 3, 3), (1, 1, 1), (1, 2, 2)),
    ((3, 4, 1), (1, 3, 3), (0, 1, 1), (1, 1, 2)),
    *(((size, size), (kernel, kernel), (padding, padding), (stride, stride))
      for size, kernel, padding, stride in ((1, 3, 1, 2), (1, 5, 2, 1), (2, 7, 3, 2), (7, 3, 1, 1))),
    ((1,), (3,), (1,), (2,)),
)  # fmt: skip

IN_FLOAT32 = tuple(
    ((frames, 4, 4), (size, 3, 3), (padding, 1, 1), (stride, 1, 1))
    for frames, size, padding, stride in (
        (5, 7, 3, 2), (6, 7, 3, 2), (7, 7, 3, 2), (8, 7, 3, 2), (2, 5, 4, 2), (2, 7, 6, 2), (3, 3, 1, 2), (2, 3, 1, 1),
    )
)  # fmt: skip

# Clips whose last stages have two frames or fewer, with kernels of three; the fast ones of 16 frames do.
NETWORKS = {
    "resnet3d_18": (16, 32),
    "resnet2p1d_18": (16, 32),
    "c3d": (16, 32),
    "i3d": (10, 32),
    "slow_r50": (2, 32),
    "dymsta": (8, 32),
}


def of_convolution(shape, kernel, padding, stride, kind=torch.bfloat16):
    """The largest difference from float64 over the largest gradient, of every tensor that gets one."""
    layer = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(shape) - 1]
    clip = torch.randn(2, 16, *shape).to(kind)
    conv = layer(16, 16, kernel, stride, padding).to(kind)
    exact = layer(16, 16, kernel, stride, padding).double()
    exact.load_state_dict(conv.state_dict())
    ours, theirs = clip.clone().requires_grad_(), clip.double().requires_grad_()
    with ZerosAhead(bfloat16=kind is torch.bfloat16):
        out = conv(ours)
    wanted = exact(theirs)
    back = torch.randn(out.shape).to(kind)
    out.backward(back)
    wanted.backward(back.double())
    pairs = [(out.detach(), wanted.detach()), (ours.grad, theirs.grad)]
    pairs += [(one.grad, other.grad) for one, other in zip(conv.parameters(), exact.parameters(), strict=True)]
    return worst(float((one.double() - other).abs().max() / other.abs().max()) for one, other in pairs)


def of_network(name, frames, size):
    """The largest distance of a weight's gradient from that in float32, in lengths of the latter."""
    torch.manual_seed(0)
    # Batch norms over a handful of values would make chaos of bfloat16's rounding: here they only scale, and by one.
    network = create_model(name, 4, 3).to(memory_format=torch.channels_last_3d).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d) and module.weight is not None:
            nn.init.ones_(module.weight)
    clips = torch.randn(4, 3, frames, size, size).contiguous(memory_format=torch.channels_last_3d)
    gradients = []
    for precision in ("32-true", "bf16-mixed"):
        network.zero_grad()
        plugin = arithmetic(precision, CPU)
        with plugin.forward_context():
            logits = network(plugin.convert_input(clips))
        plugin.backward(functional.cross_entropy(logits.float(), torch.arange(4)), network)
        gradients.append([parameter.grad.clone() for parameter in network.parameters() if parameter.ndim > 1])
    return worst(float((one - other).norm() / one.norm()) for one, other in zip(*gradients, strict=True))


def worst(figures):
    """The largest; what is no number counts as endless."""
    return max(math.inf if math.isnan(figure) else figure for figure in figures)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = {}
    for asked in sys.argv[1:]:
        if asked == "convolutions":
            found |= {f"{case}": of_convolution(*case) for case in CONVOLUTIONS}
        elif asked == "float32":
            found |= {f"{case}": of_convolution(*case, torch.float32) for case in IN_FLOAT32}
        else:
            found[asked] = of_network(asked, *NETWORKS[asked])
    sys.stdout.write(json.dumps(found))
