"""`kinema models convert`: from others' files to videos with names for what happens in them."""

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kinema.models.weights import load_model, load_weights
from kinema.models.zoo import create_model

NARROW = {"widen_factor": 0.125}


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return create_model("resnet3d_10", 3, **NARROW).eval()


@pytest.fixture
def published(resnet, tmp_path):
    path = tmp_path / "r3d10_K.pth"
    optimizer = torch.optim.SGD(resnet.parameters(), 0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [50, 100])
    torch.save(
        {
            "epoch": 200,
            "arch": "resnet-10",
            "state_dict": resnet.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": schedule.state_dict(),
        },
        path,
    )
    return path


def test_a_published_file_answers_about_videos(kinema_command, published, resnet, tiny_clips, tmp_path):
    out, labels = tmp_path / "r3d10.safetensors", tmp_path / "labels.txt"
    labels.write_text("run\nwalk\nstand\n")

    ran = kinema_command("models", "convert", published, "-o", out, "--labels", labels)

    assert ran.code == 0
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert lines[0] == "network resnet3d_10 from 3D-ResNets-PyTorch (the file says resnet-10)"
    assert "classes 3" in lines
    assert "input rgb, 16 x 112², mean 0.4345 0.4051 0.3775, deviation 0.2768 0.2713 0.2737 of 0 to 1" in lines
    assert f"tensors {len(resnet.state_dict())} matched" in lines
    assert lines[-1] == f"written {out}, float32"
    back = load_model(out)
    assert all(torch.equal(back.state_dict()[name], x) for name, x in resnet.state_dict().items())

    video = next(tiny_clips.parent.rglob("*.mp4"), None) or next(tiny_clips.parent.rglob("*.mkv"))
    ran = kinema_command("predict", out, video, "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["labels"]["names"] == ["run", "walk", "stand"]


def test_classes_whose_names_are_unknown_have_numbers(kinema_command, published, tiny_clips, tmp_path):
    out = tmp_path / "r3d10.safetensors"
    assert "classes  3, their names unknown" in kinema_command("models", "convert", published, "-o", out).out
    video = next(tiny_clips.parent.rglob("*.mp4"), None) or next(tiny_clips.parent.rglob("*.mkv"))
    ran = kinema_command("predict", out, video)
    assert ran.code == 0
    assert "class 1" in ran.out


def old_hara(resnet, path):
    tensors = {f"module.{name}": x for name, x in resnet.state_dict().items() if not name.endswith("tracked")}
    torch.save({"epoch": 201, "arch": "resnet-10", "state_dict": tensors, "optimizer": {}}, path)
    return path


def bare(name, *, channels=3, **options):
    def write(_resnet, path):
        torch.manual_seed(0)
        torch.save(create_model(name, 3, channels, **options).state_dict(), path)
        return path

    return write


def pytorchvideo(_resnet, path):
    torch.save({"model_state": create_model("slow_r50", 3, **NARROW).state_dict()}, path)
    return path


def safetensors(resnet, path):
    save_file(resnet.state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("write", "told", "source", "network"),
    [
        (old_hara, (), "3D-ResNets-PyTorch, branch CVPR2018", ("resnet3d_10", 3, "rgb", 255)),
        (safetensors, (), "3D-ResNets-PyTorch", ("resnet3d_10", 3, "rgb", 1)),
        (bare("i3d", channels=2), (), "pytorch-i3d", ("i3d", 2, "flow", 1)),
        (bare("r3d_18"), (), "torchvision", ("r3d_18", 3, "rgb", 1)),
        (pytorchvideo, (), "PyTorchVideo", ("slow_r50", 3, "rgb", 1)),
        (bare("c3d", **NARROW), (), "a port of C3D", ("c3d", 3, "rgb", None)),
        (
            bare("x3d_s", **NARROW),
            ("--arch", "x3d_s", "--option", "widen_factor=0.125"),
            "PyTorchVideo",
            ("x3d_s", 3, "rgb", 1),
        ),
    ],
)
def test_each_source(kinema_command, resnet, tmp_path, write, told, source, network):
    path, out = write(resnet, tmp_path / "theirs.pth"), tmp_path / "ours.safetensors"
    ran = kinema_command("models", "convert", path, "-o", out, "--json", *told)
    assert (ran.code, ran.err) == (0, "")
    answer = json.loads(ran.out)
    assert answer["provenance"]["converted_from"] == source
    assert answer["num_classes"] == 3
    assert answer["missing"] == answer["left_over"] == []
    card = load_weights(out).card
    architecture, channels, modality, value_range = network
    assert (card.architecture, card.in_channels, card.input.modality) == (architecture, channels, modality)
    assert value_range in (None, card.input.value_range)


def test_options_that_no_shape_shows(kinema_command, published, tmp_path):
    out = tmp_path / "o.safetensors"
    options = ("--option", "conv1_t_stride=2", "--option", "max_pool=false")
    assert kinema_command("models", "convert", published, "-o", out, *options).code == 0
    assert load_model(out).options["max_pool"] is False
    assert load_model(out).conv1.stride == (2, 2, 2)


def test_what_is_missing_and_left_over(kinema_command, resnet, tmp_path):
    tensors = {name: x for name, x in resnet.state_dict().items() if not name.startswith("fc.")}
    torch.save({**tensors, "aux.weight": torch.zeros(2)}, tmp_path / "a.pth")
    out = tmp_path / "o.safetensors"
    ran = kinema_command("models", "convert", tmp_path / "a.pth", "-o", out, "--num-classes", 4)
    assert ran.code == 5
    assert "missing (2): fc.weight, fc.bias" in ran.err
    assert not out.exists()
    ran = kinema_command("models", "convert", tmp_path / "a.pth", "-o", out, "--num-classes", 4, "--allow-unmatched")
    assert ran.code == 0
    assert "2 missing, left fresh fc.weight, fc.bias" in ran.out
    assert "1 left over aux.weight" in ran.out


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return __import__("os").mkdir, (str(self.path),)


def malicious(path):
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}, "optimizer": Bomb(path.with_name("boom"))}, path)


@pytest.mark.parametrize(
    ("spoil", "arguments", "code", "told"),
    [
        (malicious, (), 5, "wants Python to call posix.mkdir"),
        (lambda path: path.write_bytes(pickle.dumps(np.zeros(3))), (), 5, "cannot be read"),
        (lambda path: path.unlink(), (), 5, "is no file"),
        (lambda _: None, ("--arch", "resnet3d_18"), 5, "where resnet3d_18 is asked for"),
        (lambda _: None, ("--arch", "resnet3d_1"), 2, "no model named 'resnet3d_1'"),
        (lambda _: None, ("--num-classes", 9), 5, "a last layer of 3 classes"),
        (lambda _: None, ("--option", "shortcut=A"), 5, "the tensors show shortcut=B"),
        (lambda _: None, ("--option", "shortcut"), 2, "--option shortcut"),
        (lambda _: None, ("--option", "k=1", "--option", "k=2"), 2, "each key once"),
        (lambda _: None, ("--option", "shortcut=["), 2, "--option shortcut=["),
        (
            lambda path: path.with_name("l").write_text("a\nb"),
            ("--labels", "l"),
            3,
            "2 labels for a network of 3 classes",
        ),
        (lambda _: None, ("--labels", "nothing"), 3, "cannot read the labels nothing"),
        (lambda _: None, ("--out", "r3d10_K.pth"), 2, "is the file that is read"),
        (lambda _: None, ("--out", "."), 3, "it is a folder"),
    ],
)
def test_mistakes_are_answered(kinema_command, published, monkeypatch, spoil, arguments, code, told):
    monkeypatch.chdir(published.parent)
    spoil(published)
    before = set(published.parent.iterdir())
    out = () if "--out" in arguments else ("--out", "o.safetensors")
    ran = kinema_command("models", "convert", published, *out, *arguments)
    assert ran.code == code
    assert told in ran.err
    assert ran.out == ""
    assert set(published.parent.iterdir()) == before  # nothing written, nothing run
