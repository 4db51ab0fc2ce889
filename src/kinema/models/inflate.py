"""Inflation: a 2D network, trained on pictures, made into a 3D network that already sees in every frame what it saw.

Paper: Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset"
(2017), section 2, https://arxiv.org/abs/1705.07750. A picture repeated over time is a boring video.
A kernel of H x W becomes one of N x H x W by repeating it N times and dividing it by N; on a boring video
it answers in every frame as the 2D kernel does on the picture. So do pools, and so does the network.

`inflate` takes any 2D network that is traced with torch.fx and built of what `_LAYERS`, `_POINTWISE_LAYERS`
and the functions below them list. `kinema.models.inflate_into` fills a network of the zoo instead.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import fx, nn
from torch.nn import functional
from torchvision.ops import StochasticDepth

from kinema.core.errors import UsageError
from kinema.models.model import Option

__all__ = [
    "Edges",
    "HeldEdges",
    "InflatedConv3d",
    "InflatedPool",
    "TimeShape",
    "as_in_space",
    "inflate",
    "inflate_kernel",
]

Edges = Literal["repeat", "zeros"]


@dataclass(frozen=True)
class TimeShape:
    """How a layer is laid over time.

    Attributes:
        kernel: frames it spans, one or more.
        stride: frames it steps, one or more.
    """

    kernel: int
    stride: int

    def __post_init__(self) -> None:
        if min(self.kernel, self.stride) < 1:
            raise UsageError(
                f"a layer that spans {self.kernel} and steps {self.stride} frames", allowed="one frame or more of both"
            )


def as_in_space(_name: str, layer: nn.Module) -> TimeShape:
    """Squares become cubes, the rule of the paper; of a kernel that is not square, the shorter side counts."""
    return TimeShape(min(_pair(layer.kernel_size)), min(_pair(layer.stride)))


def inflate(
    network: nn.Module,
    in_channels: int | None = None,
    *,
    time: Callable[[str, nn.Module], TimeShape] = as_in_space,
    edges: Edges = "repeat",
) -> nn.Module:
    """A 3D network from a 2D one, with weights of its own.

    T frames leave a layer of stride s as T / s, rounded up. Where the 2D network pools its whole map or
    flattens it, frames are averaged. With `edges="repeat"`, a clip that repeats one picture therefore
    has exactly the logits of that picture, whatever its length.

    Args:
        network: takes pictures (N, C, H, W). It is traced in evaluation mode, so training it with other
            branches than those, such as GoogLeNet's auxiliary classifiers, does not carry over.
        in_channels: channels of a clip, where they differ from those of a picture; see `inflate_kernel`.
        time: kernel and stride in time of a convolution or pool, asked with its name and itself.
        edges: what convolutions find beyond the first and last frame: that frame again, or zeros as in
            I3D and 3D ResNet, where only those frames keep the fixed point that are far from the ends.
            Pools always find the frame again.

    Returns:
        The network for clips (N, C, T, H, W), in the mode of the 2D one; tensors keep their names.

    Raises:
        UsageError: the network does something that has no counterpart in 3D; the message names it.
    """
    Option("edges", str, "", choices=("repeat", "zeros")).check(edges)
    try:
        traced = fx.GraphModule(flat := copy.deepcopy(network).eval(), _Tracer().trace(flat))
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise UsageError(
            f"{type(network).__name__} cannot be inflated: torch.fx cannot trace it ({error})",
            allowed="networks whose forward pass does not depend on the values or the shape of its input",
            next_step="inflate the part of it that does not",
        ) from error
    if in_channels is not None:
        _adapt_first_convolution(traced, in_channels)
    _Inflation(traced, time, edges).run()
    traced.recompile()
    return traced.train(network.training)


def inflate_kernel(kernel: torch.Tensor, frames: int, in_channels: int | None = None) -> torch.Tensor:
    """A kernel (out, in, H, W) as (out, in_channels, frames, H, W), of the same sum.

    Args:
        kernel: weights of a 2D convolution.
        frames: N; each frame has one N-th of the kernel.
        in_channels: another number of channels, such as 2 for flow. Each of them then gets the mean over
            the old ones, scaled by old / new: where all channels are equal, the response stays what it
            was for a grey picture (after Wang et al. 2016, arXiv:1608.00859, who do not scale).
    """
    old = kernel.shape[1]
    if in_channels is not None and in_channels != old:
        kernel = kernel.mean(1, keepdim=True).repeat(1, in_channels, 1, 1) * (old / in_channels)
    return kernel.unsqueeze(2).repeat(1, 1, frames, 1, 1) / frames


class HeldEdges(nn.Module):
    """Lengthens a clip so that a kernel of `frames` has a place on every frame.

    Args:
        frames: kernel in time; (frames - 1) // 2 are added in front and frames // 2 behind.
        edges: repeat the first and last frame, or add zeros.
    """

    def __init__(self, frames: int, edges: Edges = "repeat") -> None:
        super().__init__()
        self.around = (0, 0, 0, 0, (frames - 1) // 2, frames // 2)
        self.mode = "replicate" if edges == "repeat" else "constant"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, T, H, W) to (N, C, T + frames - 1, H, W)."""
        return functional.pad(x, self.around, mode=self.mode) if any(self.around) else x


class InflatedConv3d(nn.Conv3d):
    """A 3D convolution that starts as the 2D convolution `flat` in every frame, padded as that one in space."""

    def __init__(self, flat: nn.Conv2d, time: TimeShape, edges: Edges) -> None:
        super().__init__(
            flat.in_channels,
            flat.out_channels,
            (time.kernel, *_pair(flat.kernel_size)),
            stride=(time.stride, *_pair(flat.stride)),
            padding=(0, *_padding(flat)),
            dilation=(1, *_pair(flat.dilation)),
            groups=flat.groups,
            bias=flat.bias is not None,
            padding_mode=flat.padding_mode,
            device=flat.weight.device,
            dtype=flat.weight.dtype,
        )
        self.ends = HeldEdges(time.kernel, edges)
        with torch.no_grad():
            self.weight.copy_(inflate_kernel(flat.weight, time.kernel))
            if self.bias is not None and flat.bias is not None:
                self.bias.copy_(flat.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, T, H, W) to (N, out, T/s, H', W'), T/s rounded up."""
        return super().forward(self.ends(x))


class InflatedPool(nn.Module):
    """The pool `flat` in every frame, behind one of its kind, `over_time`, that pools frames only."""

    def __init__(self, flat: nn.Module, over_time: type[nn.MaxPool3d | nn.AvgPool3d], time: TimeShape) -> None:
        super().__init__()
        self.ends = HeldEdges(time.kernel)
        self.over_time = over_time((time.kernel, 1, 1), (time.stride, 1, 1))
        self.flat = flat

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, T, H, W) to (N, C, T/s, H', W'), T/s rounded up."""
        x = self.over_time(self.ends(x))
        return self.flat(x.flatten(1, 2)).unflatten(1, x.shape[1:3])  # type: ignore[no-any-return]  # frames as channels


def _batch_norm(flat: nn.BatchNorm2d) -> nn.Module:
    norm = nn.BatchNorm3d(flat.num_features, flat.eps, flat.momentum, flat.affine, flat.track_running_stats)
    norm.load_state_dict(flat.state_dict(), assign=True)
    return norm


# What spans pixels, and so is laid over time.
_LAYERS: dict[type[nn.Module], Callable[[Any, TimeShape, Edges], nn.Module]] = {
    nn.Conv2d: InflatedConv3d,
    nn.MaxPool2d: lambda flat, time, _: InflatedPool(flat, nn.MaxPool3d, time),
    nn.AvgPool2d: lambda flat, time, _: InflatedPool(flat, nn.AvgPool3d, time),
}
# What has a counterpart in 3D that needs no kernel.
_COUNTERPARTS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    nn.BatchNorm2d: _batch_norm,
    nn.Dropout2d: lambda flat: nn.Dropout3d(flat.p),
    nn.AdaptiveAvgPool2d: lambda flat: nn.AdaptiveAvgPool3d((1, *_pair(flat.output_size))),
    nn.AdaptiveMaxPool2d: lambda flat: nn.AdaptiveMaxPool3d((1, *_pair(flat.output_size))),
}
# What treats every number, or every channel, by itself.
_POINTWISE_LAYERS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus),
    *(nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh),
    *(nn.Identity, nn.Dropout, nn.AlphaDropout, nn.GroupNorm, nn.LocalResponseNorm, nn.SyncBatchNorm, StochasticDepth),
)
_POINTWISE: set[Callable[..., Any] | str] = {
    *(operator.add, operator.iadd, operator.sub, operator.mul, operator.imul, operator.truediv, operator.neg),
    *(torch.add, torch.sub, torch.mul, torch.relu, torch.sigmoid, torch.tanh),
    *(functional.relu, functional.relu6, functional.leaky_relu, functional.elu, functional.gelu, functional.silu),
    *(functional.mish, functional.sigmoid, functional.tanh, functional.hardswish, functional.hardsigmoid),
    *("add", "add_", "mul", "mul_", "relu", "relu_", "sigmoid", "tanh", "contiguous", "clone"),
}
# Functions that are layers without a name; they take the arguments of those in the same order.
_LAYERS_OF_FUNCTIONS: dict[Callable[..., Any], type[nn.Module]] = {
    functional.max_pool2d: nn.MaxPool2d,
    functional.avg_pool2d: nn.AvgPool2d,
    functional.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    functional.adaptive_max_pool2d: nn.AdaptiveMaxPool2d,
}


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) is StochasticDepth or super().is_leaf_module(m, module_qualified_name)


class _Inflation:
    """Rewrites a traced 2D network in place, following its maps: the values that have height and width.

    What has left the maps, such as what stands behind `flatten`, is the same in 3D and stays as it is.
    """

    def __init__(self, traced: fx.GraphModule, time: Callable[[str, nn.Module], TimeShape], edges: Edges) -> None:
        self.traced = traced
        self.time = time
        self.edges = edges
        self.maps: set[fx.Node] = set()  # (N, C, H, W) in the 2D network, (N, C, T, H, W) in the 3D one
        self.planes: set[fx.Node] = set()  # one channel of a map, without its axis
        self.shapes: set[fx.Node] = set()  # the shape of a map
        self.done: set[str] = set()  # layers replaced so far; one may be run at several places

    def run(self) -> None:
        """Follow the graph from the pictures on."""
        for node in list(self.traced.graph.nodes):
            if node.op == "placeholder" and not self.maps:
                self.maps.add(node)
            elif node.target in {functional.dropout, functional.dropout2d}:
                self._name_dropout(node)
            elif node.kwargs.get("training") is not None:
                raise _refusal(node, "is a function that behaves differently in training; make it a layer")
            elif node.op == "output" or not self._touches(node, self.maps | self.planes | self.shapes):
                continue
            elif node.op == "call_module":
                self._layer(node)
            else:
                self._function(node)
        self.traced.graph.lint()

    def _layer(self, node: fx.Node) -> None:
        name = str(node.target)
        layer = self.traced.get_submodule(name)
        kind = type(layer)
        if isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) == (1, -1):
            self._flatten(node)
            return
        if name not in self.done:
            if kind in _LAYERS or kind in _COUNTERPARTS:
                self.traced.set_submodule(name, self._counterpart(name, layer))
            elif kind not in _POINTWISE_LAYERS:
                raise _refusal(node, f"is a {kind.__name__}, which has no counterpart in 3D")
            self.done.add(name)
        self.maps.add(node)

    def _counterpart(self, name: str, layer: nn.Module) -> nn.Module:
        if getattr(layer, "return_indices", False):
            raise UsageError(f"'{name}' cannot be inflated: it returns indices", allowed="layers that return a map")
        if type(layer) in _COUNTERPARTS:
            return _COUNTERPARTS[type(layer)](layer)
        return _LAYERS[type(layer)](layer, self.time(name, layer), self.edges)

    def _function(self, node: fx.Node) -> None:
        target, arguments = node.target, node.args[1:]
        if target in _LAYERS_OF_FUNCTIONS:
            self._name_layer(
                node, self._counterpart(node.name, _LAYERS_OF_FUNCTIONS[target](*arguments, **node.kwargs))
            )
        elif (target in {torch.flatten, "flatten"} and _only(node, "start_dim") == 1) or (
            target in {torch.reshape, "reshape", "view"} and len(_sizes(arguments)) == 2
        ):
            self._flatten(node)
        elif target in {torch.mean, "mean"}:
            self._mean(node)
        elif target in {torch.cat, torch.concat} and _only(node, "dim") == 1 and self._consists(node, self.maps):
            self.maps.add(node)
        elif target is operator.getitem and node.args[0] in self.maps and _is_channel(node.args[1]):
            self.planes.add(node)
        elif target in {torch.unsqueeze, "unsqueeze"} and node.args[0] in self.planes and _only(node, "dim") == 1:
            self.maps.add(node)
        elif target is getattr and arguments == ("shape",):
            self.shapes.add(node)
        elif target in _POINTWISE and self._consists(node, self.maps):
            self.maps.add(node)
        elif not _is_batch_size(node, self.shapes):
            raise _refusal(node, "is not known to mean the same in 3D")

    def _mean(self, node: fx.Node) -> None:
        dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        axes = {axis % 4 for axis in dim if isinstance(axis, int)} if isinstance(dim, list | tuple) else set()
        keepdim = node.kwargs.get("keepdim", node.args[2] if len(node.args) > 2 else False)
        if axes != {2, 3} or not isinstance(keepdim, bool):
            raise _refusal(node, "is a mean over other axes than height and width together")
        node.args, node.kwargs = (node.args[0], (2, 3, 4), keepdim), {}
        if keepdim:
            self.maps.add(node)

    def _flatten(self, node: fx.Node) -> None:
        maps, *rest = node.args
        with self.traced.graph.inserting_before(node):
            averaged = self.traced.graph.call_method("mean", (maps, 2))  # (N, C, H, W), as in 2D
        node.args = (averaged, *rest)

    def _name_dropout(self, node: fx.Node) -> None:
        if node.kwargs.get("training", True):
            raise _refusal(node, "drops in evaluation too")
        share: Any = node.kwargs.get("p", node.args[1] if len(node.args) > 1 else 0.5)
        layer = nn.Dropout(share) if node.target is functional.dropout else nn.Dropout3d(share)
        self._name_layer(node, layer, gives_map=self._touches(node, self.maps))

    def _name_layer(self, node: fx.Node, layer: nn.Module, *, gives_map: bool = True) -> None:
        name = f"inflated_{node.name}"
        self.traced.add_submodule(name, layer)
        with self.traced.graph.inserting_after(node):
            instead = self.traced.graph.call_module(name, (node.args[0],))
        node.replace_all_uses_with(instead)
        self.traced.graph.erase_node(node)
        if gives_map:
            self.maps.add(instead)

    def _touches(self, node: fx.Node, among: set[fx.Node]) -> bool:
        return not among.isdisjoint(node.all_input_nodes)

    def _consists(self, node: fx.Node, of: set[fx.Node]) -> bool:
        return of.issuperset(node.all_input_nodes)


def _is_channel(index: object) -> bool:
    return isinstance(index, tuple) and len(index) == 2 and index[0] == slice(None) and isinstance(index[1], int)


def _is_batch_size(node: fx.Node, shapes: set[fx.Node]) -> bool:
    if node.target == "size":
        return node.args[1:] == (0,)
    return node.target is operator.getitem and node.args[0] in shapes and node.args[1:] == (0,)


def _sizes(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(arguments[0]) if len(arguments) == 1 and isinstance(arguments[0], tuple | list) else arguments


def _only(node: fx.Node, keyword: str) -> object:
    """The one argument of a call beside its input; None if there are others or none."""
    given = [*node.args[1:], *(value for key, value in node.kwargs.items() if key == keyword)]
    return given[0] if len(given) == 1 and set(node.kwargs) <= {keyword} else None


def _refusal(node: fx.Node, why: str) -> UsageError:
    return UsageError(
        f"'{node.target if node.op == 'call_module' else node.name}' cannot be inflated: it {why}",
        allowed="convolutions, pools, batch norms, dropout and what treats every number by itself, up to a mean or "
        "flatten; behind that, anything",
        next_step="write it with those, or inflate the part of the network in front of it",
    )


def _adapt_first_convolution(traced: fx.GraphModule, in_channels: int) -> None:
    pictures = next(node for node in traced.graph.nodes if node.op == "placeholder")
    node = next(iter(pictures.users))
    layer = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
    if len(pictures.users) > 1 or not isinstance(layer, nn.Conv2d) or layer.groups > 1:
        raise _refusal(node, f"is no single convolution that could take {in_channels} channels")
    Option("in_channels", int, "", low=1).check(in_channels)
    layer.weight = nn.Parameter(inflate_kernel(layer.weight.detach(), 1, in_channels).squeeze(2))
    layer.in_channels = in_channels


def _pair(size: Any) -> tuple[Any, Any]:
    return (size[0], size[-1]) if isinstance(size, tuple | list) else (size, size)


def _padding(flat: nn.Conv2d) -> tuple[int, int]:
    if not isinstance(flat.padding, str):
        return _pair(flat.padding)
    if flat.padding == "valid":
        return (0, 0)
    spans = [dilation * (kernel - 1) for dilation, kernel in zip(flat.dilation, flat.kernel_size, strict=True)]
    if any(span % 2 for span in spans):
        raise UsageError(
            f"a convolution of {flat.kernel_size} padded to the 'same' size cannot be inflated",
            allowed="kernels of odd size where padding is 'same'",
        )
    return (spans[0] // 2, spans[1] // 2)
