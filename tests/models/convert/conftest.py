"""Files as other projects write them, with networks small enough to be quick."""

import struct

import numpy as np
import pytest
import torch

from kinema.models.convert.crc32c import masked_crc32c
from kinema.models.zoo import create_model

# TensorFlow's numbers of types.
TYPES = {"float32": 1, "float64": 2, "int64": 9, "float16": 19}
PYTORCH_BRANCHES = {
    "b0": "branch_0",
    "b1a": "branch_1.0",
    "b1b": "branch_1.1",
    "b2a": "branch_2.0",
    "b2b": "branch_2.1",
}
PYTORCH_BRANCHES["b3b"] = "branch_3.1"
TENSORFLOW_BRANCHES = {
    "b0": "Branch_0/Conv3d_0a_1x1",
    "b1a": "Branch_1/Conv3d_0a_1x1",
    "b1b": "Branch_1/Conv3d_0b_3x3",
    "b2a": "Branch_2/Conv3d_0a_1x1",
    "b2b": "Branch_2/Conv3d_0b_3x3",
    "b3b": "Branch_3/Conv3d_0b_1x1",
}
TENSORFLOW_LEAVES = {
    "conv3d.weight": "conv_3d/w",
    "conv3d.bias": "conv_3d/b",
    "bn.bias": "batch_norm/beta",
    "bn.running_mean": "batch_norm/moving_mean",
    "bn.running_var": "batch_norm/moving_variance",
}


def randomised(model, seed=0):
    """The model with statistics that are not those of a fresh one, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(generator=generator)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


@pytest.fixture(scope="session")
def resnet():
    """A narrow 3D ResNet of depth 10 for 5 classes."""
    torch.manual_seed(0)
    return randomised(create_model("resnet3d_10", 5, widen_factor=0.125))


@pytest.fixture(scope="session")
def i3d():
    """An I3D for 3 classes; its batch norms shift and do not scale."""
    torch.manual_seed(0)
    return randomised(create_model("i3d", 3))


@pytest.fixture(scope="session")
def scaled_i3d(i3d):
    """The tensors of `i3d` and scales of its batch norms, as pytorch-i3d names them; and what they amount to."""
    tensors = {name: tensor.double() for name, tensor in i3d.state_dict().items()}
    generator = torch.Generator().manual_seed(1)
    for name in [name for name in tensors if name.endswith(".bn.bias")]:
        unit = name.removesuffix(".bn.bias")
        tensors[f"{unit}.bn.weight"] = torch.empty_like(tensors[name]).uniform_(-1, 2, generator=generator)
    return tensors


def hassony_name(name):
    """kinetics_i3d_pytorch's name of what pytorch-i3d calls `name`."""
    if name.startswith("logits."):
        return name.replace("logits", "conv3d_0c_1x1")
    top, *middle, module, leaf = name.split(".")
    branch = [PYTORCH_BRANCHES[middle[0]]] if middle else []
    return ".".join([top.lower(), *branch, module.replace("bn", "batch3d"), leaf])


def deepmind_variables(model, scope="RGB/inception_i3d/"):
    """The variables of DeepMind's checkpoint of `model`, as arrays in TensorFlow's order of axes."""
    variables = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        top, *middle, module, leaf = name.split(".")
        endpoint = "Logits/Conv3d_0c_1x1" if top == "logits" else top
        branch = f"{TENSORFLOW_BRANCHES[middle[0]]}/" if middle else ""
        if (top, middle) == ("Mixed_5b", ["b2b"]):  # so called in every published checkpoint
            branch = "Branch_2/Conv3d_0a_3x3/"
        array = tensor.numpy()
        if leaf == "weight":
            array = array.transpose(2, 3, 4, 1, 0)
        elif module == "bn":
            array = array.reshape(1, 1, 1, 1, -1)
        variables[f"{scope}{endpoint}/{branch}{TENSORFLOW_LEAVES[f'{module}.{leaf}']}"] = np.ascontiguousarray(array)
    return variables


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number, value):
    """One field of a protocol buffer: a number, or bytes."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def block(pairs, kind=0):
    """A block of a table, whose keys share their beginnings, with its trailer."""
    content, last = b"", b""
    for key, value in pairs:
        shared = 0
        while shared < min(len(key), len(last)) and key[shared] == last[shared]:
            shared += 1
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    content += struct.pack("<II", 0, 1) + bytes([kind])  # one restart, at the start
    return content + struct.pack("<I", masked_crc32c(content))


def write_bundle(prefix, variables, *, kind=0, sliced=False, endianness=0):
    """Write `variables` as a TensorFlow checkpoint: the table in blocks of three entries, and one data file."""
    data, size, entries = [], 0, [(b"", field(1, 1) + field(2, endianness) + field(3, field(1, 1)))]
    for name in sorted(variables):
        array = variables[name]
        stored = array.tobytes()
        shape = b"".join(field(2, field(1, size)) for size in array.shape)
        entry = field(1, TYPES[str(array.dtype)]) + field(2, shape) + field(4, size) + field(5, len(stored))
        entry += varint(6 << 3 | 5) + struct.pack("<I", masked_crc32c(stored))
        entries.append((name.encode(), entry + (field(7, b"") if sliced else b"")))
        data.append(stored)
        size += len(stored)
    table, handles = b"", []
    for start in range(0, len(entries), 3):
        part = block(entries[start : start + 3], kind)
        handles.append((entries[min(start + 2, len(entries) - 1)][0], varint(len(table)) + varint(len(part) - 5)))
        table += part
    empty, of_handles = block([]), block(handles)
    places = varint(len(table)) + varint(len(empty) - 5)
    places += varint(len(table) + len(empty)) + varint(len(of_handles) - 5)
    table += empty + of_handles + places.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")
    prefix.with_name(f"{prefix.name}.index").write_bytes(table)
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(b"".join(data))
    return prefix


@pytest.fixture(scope="session")
def tools():
    """The functions of this file, for tests that make files of their own."""
    from types import SimpleNamespace

    return SimpleNamespace(
        randomised=randomised,
        hassony_name=hassony_name,
        deepmind_variables=deepmind_variables,
        write_bundle=write_bundle,
    )
