"""The weights file: what it keeps, and what it says about files that are none."""

import json
import pickle
import re
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from kinema.core.errors import DataError, UsageError, WeightsError
from kinema.core.labels import LabelMap
from kinema.core.spec import ClipSpec, InputSpec
from kinema.models.weights import (
    ModelCard,
    fresh_notes,
    load_backbone,
    load_extractor,
    load_model,
    load_weights,
    read_card,
    replace_head,
    save_weights,
)
from kinema.models.zoo import create_model

CLASSES = LabelMap.of(["normal", "넘어짐"])
METRIC = {"name": "top1", "value": 0.5, "protocol": "3-fold by scene, video level, 1 view"}


def small(classes=2, channels=3, **options):
    return create_model("resnet3d_10", classes, channels, widen_factor=0.125, **options)


def card_of(model, **changes):
    parts = {
        "architecture": model.architecture,
        "options": dict(model.options),
        "in_channels": 3,
        "labels": LabelMap.of(["normal", "넘어짐"]),
        "input": InputSpec(clip=ClipSpec(frames=8, fps=12.5, padding="last"), size_px=64, short_side_px=72),
        "provenance": {"recipe": {"lr": 0.1, "steps": [50, 100]}, "licence": "CC BY 4.0", "parent": None},
        "metrics": (METRIC,),
    }
    return ModelCard(**{**parts, **changes})


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = small()
    path = tmp_path / "best.safetensors"
    save_weights(path, model, card_of(model))
    return path, model


def test_everything_comes_back(saved):
    path, model = saved

    weights = load_weights(path)

    assert weights.card == read_card(path) == card_of(model)
    assert not weights.model.training
    assert weights.model.architecture == "resnet3d_10"
    assert weights.model.options == model.options
    assert all(torch.equal(tensor, weights.model.state_dict()[name]) for name, tensor in model.state_dict().items())
    clip = torch.randn(1, 3, 4, 32, 32)
    assert torch.equal(model.eval()(clip), weights.model(clip))
    assert all(parameter.requires_grad for parameter in weights.model.parameters())


def test_running_statistics_and_options_travel(tmp_path):
    model = small(shortcut="A", max_pool=False)
    model(torch.randn(2, 3, 4, 32, 32))  # moves the statistics of the batch norms
    path = tmp_path / "w.safetensors"

    save_weights(path, model, card_of(model))

    back = load_model(path)
    assert back.options["shortcut"] == "A"
    assert back.bn1.num_batches_tracked == 1
    assert torch.equal(back.bn1.running_mean, model.bn1.running_mean)


def test_options_not_given_are_written_with_their_defaults(tmp_path):
    model = small()
    path = tmp_path / "w.safetensors"
    save_weights(path, model, card_of(model, options={"widen_factor": 0.125}))
    assert read_card(path).options == model.options


def test_saving_twice_gives_the_same_bytes(saved, tmp_path):
    path, model = saved
    again = tmp_path / "again.safetensors"
    save_weights(again, model, card_of(model, provenance=dict(reversed(card_of(model).provenance.items()))))
    assert again.read_bytes() == path.read_bytes()


def test_loading_draws_no_random_numbers(saved):
    before = torch.get_rng_state()
    load_model(saved[0])
    assert torch.equal(before, torch.get_rng_state())


def test_a_loaded_model_does_not_follow_its_file(saved):
    path, _ = saved
    model = load_model(path)
    before = model.conv1.weight.clone()
    with path.open("rb+") as file:
        file.seek(-4096, 2)
        file.write(bytes(4096))
    assert torch.equal(model.conv1.weight, before)


def test_half_precision_is_read_as_float32(saved, tmp_path):
    _, model = saved
    half = tmp_path / "half.safetensors"
    save_weights(half, small().half(), card_of(model))
    assert {parameter.dtype for parameter in load_model(half).parameters()} == {torch.float32}


def test_double_precision_is_read_exactly_where_asked_for(saved, tmp_path):
    _, model = saved
    double = small().double()
    path = tmp_path / "double.safetensors"
    save_weights(path, double, card_of(model))

    back = load_model(path, dtype=torch.float64)

    assert {parameter.dtype for parameter in back.parameters()} == {torch.float64}
    assert back.bn1.num_batches_tracked.dtype == torch.int64
    assert all(torch.equal(tensor, back.state_dict()[name]) for name, tensor in double.state_dict().items())


def test_unknown_labels_stay_unknown(tmp_path):
    model, path = small(), tmp_path / "w.safetensors"
    save_weights(path, model, card_of(model, labels=LabelMap.unknown(2)))
    assert not read_card(path).labels.is_known


def test_a_metric_needs_its_protocol():
    with pytest.raises(UsageError, match="protocol"):
        card_of(small(), metrics=({"name": "top1", "value": 0.5},))


def test_channels_and_modality_agree():
    with pytest.raises(UsageError, match="2 channels"):
        card_of(small(), in_channels=2)


def test_a_card_that_does_not_describe_the_model_is_refused(tmp_path):
    model = small()
    for changes in ({"options": {}}, {"labels": LabelMap.unknown(3)}, {"architecture": "resnet3d_18"}):
        with pytest.raises(WeightsError, match="do not fit"):
            save_weights(tmp_path / "w.safetensors", model, card_of(model, **changes))
    assert not list(tmp_path.iterdir())


def test_numbers_that_json_cannot_hold_are_refused(tmp_path):
    model = small()
    metric = {**METRIC, "value": float("nan")}
    with pytest.raises(WeightsError, match="not a number"):
        save_weights(tmp_path / "w.safetensors", model, card_of(model, metrics=(metric,)))


def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    model = small()
    with pytest.raises(DataError, match="cannot write"):
        save_weights(tmp_path / "file" / "w.safetensors", model, card_of(model))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
def test_a_full_disk_leaves_the_old_file(saved):
    import resource

    path, model = saved
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(DataError, match=re.compile("cannot write .* room for 1 MiB", re.DOTALL)):
            save_weights(path, model, card_of(model))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def _truncated(path):
    path.write_bytes(path.read_bytes()[:-1000])


def _truncated_in_the_header(path):
    path.write_bytes(path.read_bytes()[:300])


def _pickled(path):
    torch.save({"state_dict": {}}, path)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: path.unlink(), "is no file"),
        (lambda path: (path.unlink(), path.mkdir()), "is a folder"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (_truncated, "is cut off: a safetensors file of .* bytes, of which"),
        (_truncated_in_the_header, "is cut off: .* of which 300 are there"),
        (_pickled, "is a zip archive, as torch.save writes: a pickle"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "is a pickle"),
        (lambda path: path.write_text("epoch,loss\n1,0.5\n"), "is a text file"),
        (lambda path: path.write_text("<!DOCTYPE html><html>Not found</html>"), "is a web page"),
        (lambda path: path.write_bytes(bytes(range(256)) * 9), "is no safetensors file"),
        (lambda path: path.write_bytes((9).to_bytes(8, "little") + b'{"a": 1  '), "is no safetensors file"),
    ],
)
def test_files_that_are_no_weights_are_named(saved, spoil, told):
    path, _ = saved
    spoil(path)
    for read in (read_card, load_weights, load_model):
        with pytest.raises(WeightsError, match=f"best.safetensors {told}") as caught:
            read(path)
        assert caught.value.next_step
        assert ("kinema models convert" in caught.value.next_step) == ("pickle" in told)


def test_a_pickle_is_never_opened(saved, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    path, _ = saved
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(WeightsError):
        load_model(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_safetensors_of_another_program(saved, metadata):
    path, _ = saved
    save_file({"a.weight": torch.zeros(2)}, path, metadata=metadata)
    with pytest.raises(WeightsError, match=r"of another program; tensors: a\.weight") as caught:
        load_weights(path)
    assert caught.value.next_step == f"kinema models convert {path} -o OUT.safetensors"


def rewrite(path, change):
    """Write the file again with another header."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["kinema"])
    header = change(header) or header
    text = header if isinstance(header, str) else json.dumps(header)
    save_file(load_file(path), path, metadata={"kinema": text})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda _: "no json", "header: Invalid JSON"),
        (lambda header: header.update(format=2), "format: Input should be 1.*update kinema"),
        (lambda header: header.update(extra=2), "extra: Extra inputs"),
        (lambda header: header.pop("card") and None, "card: Field required"),
        (
            lambda header: header["card"].update(in_channels="three"),
            "card.in_channels: Input should be a valid integer",
        ),
        (lambda header: header["card"]["labels"].update(count=3), "contradicts itself: 2 class names for 3 classes"),
        (lambda header: header["card"]["input"].update(size_px=2), "contradicts itself: an input of 2 pixels"),
        (lambda header: header["card"].update(architecture="resnet3d_9000"), "cannot build: no model named"),
        (lambda header: header["card"]["options"].update(shortcut="C"), "cannot build: option shortcut='C'"),
        (lambda header: header["card"]["options"].update(new_option=1), "cannot build: .* no option 'new_option'"),
        (lambda header: header["card"]["options"].update(widen_factor=1.0), "tensors do not fit"),
    ],
)
def test_altered_headers_are_refused(saved, change, told):
    path, _ = saved
    rewrite(path, change)
    with pytest.raises(WeightsError, match=re.compile(told, re.DOTALL)):
        load_weights(path)


def test_tensors_that_do_not_fit_are_listed(saved):
    path, model = saved
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    del tensors["bn1.weight"]
    tensors["extra"] = torch.zeros(1)
    tensors["fc.bias"] = torch.zeros(7)
    save_file(tensors, path, metadata=metadata)

    with pytest.raises(WeightsError) as caught:
        load_weights(path)

    total = len(model.state_dict())
    assert f"{total - 2} of {total} match" in caught.value.given
    assert "missing (1): bn1.weight" in caught.value.given
    assert "left over (1): extra" in caught.value.given
    assert "other shape (1): fc.bias (7,) instead of (2,)" in caught.value.given


def test_replace_head_keeps_the_rest():
    model = small().double()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    replace_head(model, 7)

    assert model.fc.weight.shape == (7, 64)
    assert model.fc.weight.dtype == torch.float64
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items() if "fc" not in name)


def test_backbone_with_the_same_classes_takes_everything(saved):
    path, model = saved
    fresh = small()

    report = load_backbone(fresh, path, CLASSES)

    assert report.fresh == report.differing_options == ()
    assert set(report.matched) == set(model.state_dict())
    assert all(torch.equal(tensor, fresh.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_backbone_with_other_classes_keeps_the_new_head(saved):
    path, model = saved
    fresh = small(classes=5, max_pool=False, dropout=0.5)
    head = fresh.fc.weight.clone()

    report = load_backbone(fresh, path, LabelMap.of(["a", "b", "c"]))

    assert report.fresh == ("fc.weight", "fc.bias")
    assert report.differing_options == ("max_pool: True in the file, False here", "dropout: 0.0 in the file, 0.5 here")
    assert torch.equal(fresh.fc.weight, head)
    assert torch.equal(fresh.layer4[0].conv2.weight, model.layer4[0].conv2.weight)
    assert "new: fc.weight, fc.bias; max_pool" in str(report)


def test_a_head_that_was_never_trained_is_not_taken(saved):
    path, model = saved
    card = card_of(model, provenance={"fresh_tensors": ["fc.weight", "fc.bias", "conv1.weight"]})
    save_weights(path, model, card)
    fresh = small()
    head = fresh.fc.weight.clone()

    report = load_backbone(fresh, path, CLASSES)

    assert report.fresh == ("fc.weight", "fc.bias")
    assert torch.equal(fresh.fc.weight, head)
    assert fresh_notes(card)[0].startswith("fc.weight, fc.bias, conv1.weight had no values")
    assert fresh_notes(card_of(model)) == fresh_notes(card_of(model, provenance={"fresh_tensors": []})) == ()


def test_backbone_that_will_be_fed_otherwise_says_so(saved):
    path, model = saved
    was = card_of(model).input

    assert load_backbone(small(), path, CLASSES, fed=was).differing_input == ()
    fed = replace(was, clip=ClipSpec(frames=16, stride=2, padding="last"), value_range=255.0, std=(1.0, 1.0, 1.0))
    report = load_backbone(small(), path, CLASSES, fed=fed)

    assert set(report.differing_input) == {
        "frames: 8 in the file, 16 here",
        "spacing: 12.5 fps in the file, stride 2 here",
        "std: 0.2768 0.2713 0.2737 in the file, 1 1 1 here",
        "value_range: 1 in the file, 255 here",
    }
    assert "; fed otherwise: " in str(report)
    assert "value_range: 1 in the file, 255 here" in str(report)
    assert load_backbone(small(), path, CLASSES).differing_input == ()


@pytest.mark.parametrize("labels", [LabelMap.of(["넘어짐", "normal"]), LabelMap.of(["a", "b"]), LabelMap.unknown(2)])
def test_a_head_for_as_many_other_classes_is_not_taken(saved, labels):
    path, _ = saved
    assert load_backbone(small(), path, labels).fresh == ("fc.weight", "fc.bias")


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (
            lambda: create_model("resnet3d_18", 2, widen_factor=0.125),
            "holds a resnet3d_10, the network is a resnet3d_18",
        ),
        (lambda: small(channels=2), r"conv1.weight \(8, 3, 7, 7, 7\) instead of \(8, 2, 7, 7, 7\)"),
        (lambda: small(shortcut="A"), "left over .*downsample"),
    ],
)
def test_backbone_that_does_not_fit_changes_nothing(saved, build, told):
    path, _ = saved
    model = build()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(WeightsError, match=told):
        load_backbone(model, path, CLASSES)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def dymsta(**options):
    torch.manual_seed(1)
    return create_model("dymsta", 3, **{"backbone": "resnet3d_10", **options})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A whole network with weights of its own on disk, whose front is the extractor of a dymsta."""
    torch.manual_seed(0)
    model = create_model("resnet3d_10", 2, dropout=0.5)
    path = tmp_path_factory.mktemp("whole") / "w.safetensors"
    save_weights(path, model, card_of(model))
    return path, model


@pytest.mark.parametrize(
    "load", [load_extractor, lambda model, path: load_backbone(model, path, CLASSES)], ids=["extractor", "backbone"]
)
@torch.no_grad()
def test_an_extractor_takes_the_front_of_a_whole_network(whole, load):
    path, model = whole
    fresh = dymsta()
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}

    report = load(fresh, path)

    clips = torch.randn(1, 3, 8, 32, 32)
    expected = model.eval().forward_features(clips, until="layer2")
    assert torch.equal(fresh.eval().forward_features(clips, until="backbone.layer2"), expected)
    assert {name.split(".")[0] for name in report.matched} == {"conv1", "bn1", "layer1", "layer2"}
    assert {name.split(".")[0] for name in report.unused} == {"layer3", "layer4", "fc"}
    assert set(report.matched) | set(report.unused) == set(model.state_dict())
    assert {name.split(".")[0] for name in report.fresh} == {"dynamic", "temporal", "attention", "fc"}
    assert all(torch.equal(fresh.state_dict()[name], before[name]) for name in report.fresh)
    assert report.differing_options == ("dropout: 0.5 in the file, 0.0 here",)
    assert "behind the tap: fc.bias, fc.weight, layer3" in str(report)


@pytest.mark.parametrize(
    ("build", "options", "told"),
    [
        (lambda: dymsta(backbone="resnet3d_18"), {}, "holds a resnet3d_10, the network is a resnet3d_18"),
        (dymsta, {"shortcut": "A"}, "missing .*layer2.0.downsample"),
        (dymsta, {"widen_factor": 0.5}, r"conv1.weight \(32, 3, 7, 7, 7\) instead of \(64, 3, 7, 7, 7\)"),
    ],
)
def test_a_front_that_does_not_fit_changes_nothing(tmp_path, build, options, told):
    other = create_model("resnet3d_10", 2, **options)
    save_weights(tmp_path / "w.safetensors", other, card_of(other))
    model = build()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(WeightsError, match=told):
        load_extractor(model, tmp_path / "w.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_an_extractor_is_not_taken_from_a_file_that_contradicts_itself(whole, tmp_path):
    path = tmp_path / "cut.safetensors"
    from safetensors import safe_open

    with safe_open(whole[0], framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(whole[0])
    del tensors["layer4.0.conv1.weight"]  # behind the tap, yet a sign that the file is not what it says
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(WeightsError, match=r"missing \(1\): layer4\.0\.conv1\.weight"):
        load_extractor(dymsta(), path)


def test_a_whole_dymsta_is_loaded_as_any_other_network(tmp_path):
    model = dymsta()
    save_weights(tmp_path / "w.safetensors", model, card_of(model, labels=LabelMap.unknown(3)))
    report = load_backbone(dymsta(), tmp_path / "w.safetensors", CLASSES)
    assert report.fresh == ("fc.weight", "fc.bias")
    assert set(report.matched) | set(report.fresh) == set(model.state_dict())
