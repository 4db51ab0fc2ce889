"""The table of models and the answers to mistakes in asking for them."""

import pytest
import torch

from kinema.core.errors import UsageError
from kinema.models.model import Option
from kinema.models.zoo import _by_name, create_model, describe, find_row, full_options, list_models


def test_names_are_sorted_and_complete():
    assert list_models() == sorted(list_models())
    assert {f"resnet3d_{depth}" for depth in (10, 18, 34, 50, 101, 152, 200)} <= set(list_models())


def test_a_model_knows_how_it_was_built():
    model = create_model("resnet3d_10", 2, shortcut="A")

    assert model.architecture == "resnet3d_10"
    assert model.options == {**find_row("resnet3d_10").defaults, "shortcut": "A"}
    assert model.training


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("resnet3d_81", {}, "did you mean 'resnet3d_18'"),
        ("resnet3d-18", {}, "did you mean 'resnet3d_18'"),
        ("xyz", {}, "allowed: c2d_r50, c3d"),
        ("resnet3d_18", {"shortcutt": "A"}, "did you mean 'shortcut'"),
        ("resnet3d_18", {"zzz": 1}, "allowed: shortcut, conv1_t_size"),
        ("resnet3d_18", {"shortcut": "C"}, "shortcut='C'\nallowed: A or B"),
        ("resnet3d_18", {"shortcut": 1}, "allowed: A or B"),
        ("resnet3d_18", {"widen_factor": -1}, "widen_factor=-1\nallowed: a number from 0.125"),
        ("resnet3d_18", {"widen_factor": float("nan")}, "allowed: a number from 0.125"),
        ("resnet3d_18", {"widen_factor": float("inf")}, "allowed: a number from 0.125"),
        ("resnet3d_18", {"widen_factor": True}, "allowed: a number from 0.125"),
        ("resnet3d_18", {"conv1_t_size": 0}, "allowed: a whole number from 1"),
        ("resnet3d_18", {"conv1_t_size": 7.0}, "allowed: a whole number from 1"),
        ("resnet3d_18", {"max_pool": "yes"}, "allowed: true or false"),
        ("resnet3d_18", {"max_pool": 1}, "allowed: true or false"),
        ("resnet3d_18", {"dropout": 1.0}, "allowed: a number from 0 to below 1"),
    ],
)
def test_mistakes_are_answered(name, options, told):
    with pytest.raises(UsageError) as caught:
        create_model(name, 2, **options)
    assert told in str(caught.value)


@pytest.mark.parametrize(("classes", "channels"), [(0, 3), (-1, 3), (2, 0), (2.5, 3)])
def test_impossible_sizes_are_refused(classes, channels):
    with pytest.raises(UsageError, match="allowed: a whole number from 1"):
        create_model("resnet3d_10", classes, channels)


def test_a_whole_number_serves_as_a_float():
    value = full_options("resnet3d_10", {"widen_factor": 2})["widen_factor"]
    assert isinstance(value, float)
    assert value == 2.0


@pytest.mark.parametrize("name", list_models())
def test_every_option_is_a_keyword_with_an_allowed_default(name):
    row = find_row(name)
    for option in row.options:
        assert option.check(row.defaults[option.name]) == row.defaults[option.name]
        assert option.summary


def test_choices_of_numbers():
    option = Option("k", int, "", choices=(1, 2))
    assert option.check(2) == 2
    with pytest.raises(UsageError, match="1 or 2"):
        option.check(3)


def test_two_rows_of_one_name_are_an_error():
    row = find_row("resnet3d_10")
    with pytest.raises(ValueError, match="two rows"):
        _by_name((row, row))


def test_describe_draws_the_road_from_clip_to_logits():
    told = describe("resnet3d_18")

    assert [(stage.name, *stage.shapes) for stage in told.stages] == [
        ("conv1", (64, 8, 28, 28)),  # pooled
        ("layer1", (64, 8, 28, 28)),
        ("layer2", (128, 4, 14, 14)),
        ("layer3", (256, 2, 7, 7)),
        ("layer4", (512, 1, 4, 4)),
        ("fc", (400,)),
    ]
    assert told.stages[0].parameters == 64 * 3 * 7**3 + 2 * 64  # bn1 goes with conv1
    assert sum(stage.parameters for stage in told.stages) == told.parameters == 33_409_104


def test_describe_takes_options_and_leaves_random_numbers_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()

    told = describe("resnet3d_10", 2, 2, max_pool=False)

    assert told.stages[1].shapes == ((64, 16, 56, 56),)
    assert told.stages[-1].shapes == ((2,),)
    assert told.num_classes == 2
    assert told.clip_shape == (2, 16, 112, 112)
    assert torch.equal(before, torch.get_rng_state())


def test_operations_are_counted_as_by_hand():
    # conv1: 64 kernels of 3·7·7·7 over 16·56·56 places, a multiplication and an addition each.
    stem = 2 * 64 * 3 * 7**3 * 16 * 56 * 56 / 1e9
    assert stem < describe("resnet3d_10").gflops == pytest.approx(find_row("resnet3d_10").gflops, abs=0.005)


def test_a_row_builds_what_it_names():
    row = find_row("resnet3d_10")
    model = row.build(4, 1, {**row.defaults, "widen_factor": 0.25})
    assert model.architecture == "resnet3d_10"
    assert model.options["widen_factor"] == 0.25
    assert model.fc.weight.shape == (4, 128)
    assert model.conv1.weight.shape[1] == 1
