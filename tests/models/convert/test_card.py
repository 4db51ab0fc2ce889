"""The card of a converted network: labels in any of their forms, the input it was trained on, its sources."""

import hashlib
import json

import pytest
import torch

from kinema.core.errors import DataError, WeightsError
from kinema.core.labels import LabelMap
from kinema.core.spec import InputSpec
from kinema.core.version import __version__
from kinema.models.convert.card import card_of, read_labels
from kinema.models.convert.conversion import convert_file, convert_tensors
from kinema.models.zoo import create_model

NAMES = ("서다", "fall down", "x,y")


@pytest.mark.parametrize(
    "text",
    [
        "서다\nfall down\nx,y",
        "\ufeff서다\r\n fall down \r\nx,y\r\n\r\n",
        json.dumps(NAMES),
        json.dumps({"0": "서다", "2": "x,y", "1": "fall down"}),
        json.dumps({"fall down": 1, "서다": 0, "x,y": 2}, ensure_ascii=False),
        json.dumps({"labels": NAMES, "database": {}}),
    ],
)
def test_labels_in_each_form(tmp_path, text):
    path = tmp_path / "labels"
    path.write_text(text, encoding="utf-8")
    assert read_labels(path) == LabelMap.of(NAMES)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot read the labels"),
        ("a\n\nb\n", "no name at line 2"),
        ("", "a label map of 0 classes"),
        ("a\nb\na\n", "given twice: a"),
        ('["a", 3]', "in no form kinema knows"),
        ('["a"', "in no form kinema knows"),
        ('{"0": "a", "2": "b"}', "numbers other than 0 to 1"),
        ('{"a": "b"}', "in no form kinema knows"),
    ],
)
def test_other_labels_are_refused(tmp_path, text, told):
    path = tmp_path / "labels"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=told):
        read_labels(path)


def test_the_card_says_where_it_comes_from(resnet, tmp_path):
    path = tmp_path / "r3d.pth"
    torch.save({"state_dict": resnet.state_dict()}, path)

    card = card_of(convert_file(path), LabelMap.of("abcde"))

    assert (card.architecture, card.options, card.in_channels) == ("resnet3d_10", resnet.options, 3)
    assert card.labels == LabelMap.of("abcde")
    assert card.input == InputSpec()
    assert card.provenance == {
        "kinema": __version__,
        "converted_from": "3D-ResNets-PyTorch",
        "files_sha256": {"r3d.pth": hashlib.sha256(path.read_bytes()).hexdigest()},
        "input_reason": "files of branch master were trained with the mean and deviation of Kinetics",
        "fresh_tensors": [],
    }


def test_old_files_are_fed_with_bytes(resnet):
    old = {f"module.{name}": tensor for name, tensor in resnet.state_dict().items()}
    spec = card_of(convert_tensors(old)).input
    assert (spec.value_range, spec.mean, spec.std) == (255, (114.7748, 107.7354, 99.475), (1, 1, 1))


def test_labels_are_unknown_unless_given(resnet):
    assert card_of(convert_tensors(resnet.state_dict())).labels == LabelMap.unknown(5)


def test_another_number_of_labels_is_an_error(resnet):
    with pytest.raises(DataError, match="3 labels for a network of 5 classes"):
        card_of(convert_tensors(resnet.state_dict()), LabelMap.of(NAMES))


def test_other_networks_of_two_channels_are_taken_for_flow():
    found = convert_tensors(create_model("slow_r50", 3, 2, widen_factor=0.125).state_dict())
    card = card_of(found)
    assert (card.input.modality, card.input.mean, card.input.size_px) == ("flow", (128 / 255,) * 2, 224)
    assert "taken for flow" in card.provenance["input_reason"]


def test_networks_that_cannot_be_fed_are_refused():
    model = create_model("resnet3d_10", 3, 4, widen_factor=0.125)
    with pytest.raises(WeightsError, match="4 channels, which kinema cannot feed") as caught:
        card_of(convert_tensors(model.state_dict()))
    assert "convert_file" in caught.value.next_step
