"""TensorFlow's checkpoints: one that TensorFlow wrote, others as it would, and damaged ones.

`tensorflow/model.ckpt` was written by TensorFlow 2.21 (tf.compat.v1.train.Saver) from
numpy.random.RandomState(0), variables drawn in the order of `EXPECTED`.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from kinema.core.errors import WeightsError
from kinema.models.convert.bundle import find_bundle, read_bundle, read_index

WRITTEN_BY_TENSORFLOW = Path(__file__).parent / "tensorflow" / "model.ckpt"


def expected():
    draw = np.random.RandomState(0).standard_normal
    return {
        "RGB/inception_i3d/Conv3d_1a_7x7/conv_3d/w": draw((2, 3, 2, 3, 4)).astype("f4"),
        "RGB/inception_i3d/Conv3d_1a_7x7/batch_norm/beta": draw((1, 1, 1, 1, 4)).astype("f4"),
        "RGB/inception_i3d/Conv3d_1a_7x7/batch_norm/moving_mean": draw((1, 1, 1, 1, 4)).astype("f4"),
        "half": draw((3,)).astype("f2"),
        "double": draw((5, 2)),
        "bfloat": np.array([1.5, -2, 0.25]),
        "global_step": np.array(12345678901),
        "empty": np.zeros((0, 3), "f4"),
        "flag": np.array([True, False]),
    }


def test_what_tensorflow_wrote_is_read():
    tensors, without, files = read_bundle(WRITTEN_BY_TENSORFLOW)

    assert without == ("words",)  # strings
    assert [file.name for file in files] == ["model.ckpt.index", "model.ckpt.data-00000-of-00001"]
    assert set(tensors) == set(expected())
    for name, values in expected().items():
        assert tensors[name].shape == values.shape
        assert np.array_equal(tensors[name].to(torch.float64).numpy(), values.astype("f8"))
    assert tensors["bfloat"].dtype == torch.bfloat16
    assert tensors["half"].dtype == torch.float16


def test_the_tests_write_what_tensorflow_writes(tools, tmp_path):
    variables = {f"scope/{name}": values for name, values in expected().items() if values.dtype in ("f4", "f8", "f2")}
    tensors, without, _ = read_bundle(tools.write_bundle(tmp_path / "own", variables))
    assert without == ()
    assert all(np.array_equal(tensors[name].numpy(), values) for name, values in variables.items())
    shards, entries = read_index(tmp_path / "own.index")
    assert shards == 1
    assert [entry.name for entry in entries] == sorted(variables)


@pytest.mark.parametrize("given", ["", "model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001"])
def test_any_of_its_paths_means_the_checkpoint(given):
    assert find_bundle(WRITTEN_BY_TENSORFLOW.parent / given) == WRITTEN_BY_TENSORFLOW


def test_other_paths_mean_none(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"")
    (tmp_path / "a.pth.index").write_bytes(b"")
    for path in (tmp_path, tmp_path / "a.pth", tmp_path / "b"):
        (tmp_path / "a.pth.index").unlink(missing_ok=True) if path == tmp_path else None
        assert find_bundle(path) is None


def test_a_folder_of_two_checkpoints_is_a_question(tools, tmp_path):
    for name in ("model-1", "model-2"):
        tools.write_bundle(tmp_path / name, {"a": np.zeros(1, "f4")})
    with pytest.raises(WeightsError, match="holds 2 checkpoints") as caught:
        find_bundle(tmp_path)
    assert str(tmp_path / "model-2") in caught.value.next_step


def altered(path, place, change=lambda byte: byte ^ 1):
    content = bytearray(path.read_bytes())
    content[place] = change(content[place])
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda index, _: altered(index, 10), "index is damaged: the checksum of a block"),
        (lambda index, _: altered(index, -1), "index is damaged: it does not end as an index does"),
        (lambda index, _: index.write_bytes(index.read_bytes()[:20]), "index is damaged: it does not end"),
        (lambda index, _: index.write_bytes(index.read_bytes()[100:]), "index is damaged"),
        (lambda _, data: altered(data, 5), "data-00000-of-00001 is damaged: the checksum of a/w is wrong"),
        (lambda _, data: data.write_bytes(data.read_bytes()[:-1]), "b ends beyond the file's"),
        (lambda _, data: data.write_bytes(b""), "a/w ends beyond the file's 0 bytes"),
        (lambda _, data: data.unlink(), "data-00000-of-00001 is not there"),
    ],
)
def test_damage_is_named(tools, tmp_path, spoil, told):
    prefix = tools.write_bundle(tmp_path / "m", {"a/w": np.ones((2, 3), "f4"), "b": np.ones(7, "f4")})
    spoil(tmp_path / "m.index", tmp_path / "m.data-00000-of-00001")
    with pytest.raises(WeightsError, match=told) as caught:
        read_bundle(prefix)
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"kind": 1}, "is compressed"),
        ({"sliced": True}, "stores a in slices"),
        ({"endianness": 1}, "big-endian"),
    ],
)
def test_what_is_not_read_is_said(tools, tmp_path, how, told):
    prefix = tools.write_bundle(tmp_path / "m", {"a": np.ones(2, "f4")}, **how)
    with pytest.raises(WeightsError, match=told):
        read_bundle(prefix)
