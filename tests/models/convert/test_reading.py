"""Tensors come out of every kind of file, and nothing in a file is run."""

import argparse
import collections
import io
import os
import pickle
import tarfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kinema.core.errors import WeightsError
from kinema.core.labels import LabelMap
from kinema.core.spec import InputSpec
from kinema.models.convert.reading import read_foreign
from kinema.models.weights import ModelCard, save_weights

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(3)}


def same(tensors):
    return list(tensors) == list(TENSORS) and all(torch.equal(tensors[name], x) for name, x in TENSORS.items())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        collections.OrderedDict,
        lambda tensors: {"epoch": 3, "state_dict": tensors, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        lambda tensors: {"model_state": tensors, "cfg": "text"},
        lambda tensors: {"model_state_dict": tensors},
        lambda tensors: {"model": tensors, "args": argparse.Namespace(lr=0.1)},
        lambda tensors: {"state_dict": tensors, "best_acc": np.float64(0.5), "n": np.int64(3), "f": np.float32(1)},
        lambda tensors: {name: torch.nn.Parameter(x) if x.is_floating_point() else x for name, x in tensors.items()},
    ],
)
def test_torch_files_as_training_programs_write_them(tmp_path, wrap, zipped):
    path = tmp_path / "a.pth"
    torch.save(wrap(dict(TENSORS)), path, _use_new_zipfile_serialization=zipped)
    found = read_foreign(path)
    assert same(found.tensors)
    assert found.files == (path,)
    assert not any(tensor.requires_grad for tensor in found.tensors.values())


def test_tensors_of_torch_before_04_are_read(tmp_path, monkeypatch):
    def reduce_as_then(tensor, _protocol):
        storage = torch.storage.TypedStorage(wrap_storage=tensor.untyped_storage(), dtype=tensor.dtype, _internal=True)
        return torch._utils._rebuild_tensor, (storage, 0, tuple(tensor.shape), tensor.stride())

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "__reduce_ex__", reduce_as_then)
        torch.save({"state_dict": dict(TENSORS)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert b"_rebuild_tensor\n" in (tmp_path / "a.pth").read_bytes()
    assert same(read_foreign(tmp_path / "a.pth").tensors)


def test_the_name_in_the_file_is_kept(tmp_path):
    torch.save({"arch": "resnet-50", "state_dict": TENSORS}, tmp_path / "a.pth")
    assert read_foreign(tmp_path / "a.pth").arch == "resnet-50"


def test_safetensors_of_other_programs(tmp_path):
    save_file(TENSORS, tmp_path / "a.safetensors", metadata={"format": "pt"})
    found = read_foreign(tmp_path / "a.safetensors").tensors
    assert same({name: found[name] for name in TENSORS})


def test_a_tensorflow_checkpoint(tools, tmp_path):
    tools.write_bundle(tmp_path / "model.ckpt", {"a": np.ones((2, 3), "f4")})
    found = read_foreign(tmp_path)
    assert found.tensors["a"].shape == (2, 3)
    assert [path.name for path in found.files] == ["model.ckpt.index", "model.ckpt.data-00000-of-00001"]


class Runs:
    """A pickle that calls `function` when it is opened by a reader that trusts it."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("function", "argument", "named"),
    [
        (os.system, "echo > '{}'", "(posix|nt).system"),
        (os.mkdir, "{}", "(posix|nt).mkdir"),
        (eval, "__import__('pathlib').Path({!r}).touch()", "eval"),
    ],
)
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, function, argument, named, zipped):
    made, path = tmp_path / "made", tmp_path / "bad.pth"
    bomb = Runs(function, argument.format(str(made)))
    torch.save({"state_dict": TENSORS, "optimizer": bomb}, path, _use_new_zipfile_serialization=zipped)

    with pytest.raises(WeightsError, match=f"bad.pth wants Python to call {named}, .*nothing of the file was run"):
        read_foreign(path)
    assert not made.exists()

    pickle.loads(pickle.dumps(bomb))  # what a trusting reader would have done
    assert made.exists()


def test_a_bare_pickle_is_refused_and_not_run(tmp_path):
    path = tmp_path / "bad.pkl"
    path.write_bytes(pickle.dumps(Runs(os.mkdir, str(tmp_path / "made"))))
    with pytest.raises(WeightsError):
        read_foreign(path)
    assert not (tmp_path / "made").exists()


def test_a_whole_network_is_refused_by_its_class(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pt")
    with pytest.raises(WeightsError, match=r"call torch\.nn\.modules\.linear\.Linear") as caught:
        read_foreign(tmp_path / "net.pt")
    assert "torch.save(model.state_dict(), path)" in caught.value.next_step


def tar(path):
    """As torch 0.1 wrote: a tar archive of pickles."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(0, protocol=2)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def kinemas_own(path):
    from kinema.models.zoo import create_model

    model = create_model("resnet3d_10", 2, widen_factor=0.125)
    card = ModelCard("resnet3d_10", {"widen_factor": 0.125}, 3, LabelMap.unknown(2), InputSpec(), {})
    save_weights(path, model, card)


def cut(path):
    torch.save(TENSORS, path)
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda _: None, "is no file"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("<html>"), "is a web page"),
        (lambda path: path.write_text("hello"), "is a text file"),
        (lambda path: path.write_bytes(bytes(1000)), "is no safetensors file"),
        (cut, "cannot be read: PytorchStreamReader failed"),
        (tar, "tar archive of torch before 0.2"),
        (kinemas_own, "is a weights file of kinema already"),
        (lambda path: torch.save([torch.zeros(2)], path), "holds no table of tensors; it holds: list"),
        (lambda path: torch.save({"epoch": 3, "lr": 0.1}, path), "holds no table of tensors; it holds: epoch, lr"),
    ],
)
def test_what_is_no_file_of_weights_is_named(tmp_path, make, told):
    path = tmp_path / "a.pth"
    make(path)
    with pytest.raises(WeightsError, match=told) as caught:
        read_foreign(path)
    assert caught.value.next_step
