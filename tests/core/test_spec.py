"""Clip and input specifications refuse what cannot be fed."""

from dataclasses import replace
from fractions import Fraction

import pytest

from kinema.core.errors import UsageError
from kinema.core.spec import ClipSpec, FlowSpec, InputSpec


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"frames": 0}, "a clip of 0 frames"),
        ({"stride": 0}, "a stride of 0 frames"),
        ({"fps": 0}, "0 frames a second"),
        ({"fps": float("nan")}, "nan frames a second"),
        ({"padding": "mirror"}, "padding 'mirror'"),
    ],
)
def test_impossible_clips_are_refused(wrong, told):
    with pytest.raises(UsageError, match=told) as caught:
        ClipSpec(**wrong)
    assert caught.value.allowed


@pytest.mark.parametrize("padding", ["loop", "last", "none"])
def test_paddings(padding):
    assert ClipSpec(padding=padding).padding == padding


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"modality": "depth"}, "modality 'depth'"),
        ({"crop": "corner"}, "crop 'corner'"),
        ({"size_px": 8}, "an input of 8 pixels"),
        ({"size_px": 112, "short_side_px": 100}, "short side of 100 pixels cannot give crops of 112"),
        ({"mean": (0.5,)}, "1 means and 3 deviations for 3 rgb channels"),
        ({"modality": "flow"}, "3 means and 3 deviations for 2 flow channels"),
        ({"flow": FlowSpec("tvl1")}, "flow by tvl1 in an input of modality rgb"),
        ({"std": (1.0, 1.0, 0.0)}, "a standard deviation of 0.0"),
        (
            {"modality": "difference", "mean": (0.0,), "std": (0.1,), "clip": ClipSpec(frames=1)},
            "differences of a clip of one frame",
        ),
    ],
)
def test_impossible_inputs_are_refused(wrong, told):
    with pytest.raises(UsageError, match=told) as caught:
        InputSpec(**wrong)
    assert caught.value.allowed


@pytest.mark.parametrize(
    ("modality", "channels", "time_steps"),
    [("rgb", 3, 16), ("flow", 2, 16), ("rgb+flow", 5, 16), ("difference", 1, 15)],
)
def test_shape_of_the_network_input(modality, channels, time_steps):
    spec = InputSpec(modality=modality, mean=(0.0,) * channels, std=(1.0,) * channels)
    assert (spec.channels, spec.time_steps) == (channels, time_steps)


def test_specifications_are_values():
    assert InputSpec() == InputSpec()
    assert hash(InputSpec()) == hash(InputSpec(clip=ClipSpec()))
    with pytest.raises(AttributeError):
        InputSpec().size_px = 3


def test_differences_name_what_differs_and_nothing_else():
    one = InputSpec()
    assert one.differences(InputSpec()) == {}
    other = InputSpec(
        clip=ClipSpec(frames=32, fps=12.5, padding="last"), size_px=96, crop="full", mean=(0.0, 0.0, 0.0),
        value_range=255.0,
    )  # fmt: skip
    assert one.differences(other) == {
        "size_px": ("112", "96"),
        "crop": ("center", "full"),
        "mean": ("0.4345 0.4051 0.3775", "0 0 0"),
        "value_range": ("1", "255"),
        "frames": ("16", "32"),
        "padding": ("loop", "last"),
        "spacing": ("stride 1", "12.5 fps"),
    }


def test_a_stride_that_fps_overrules_makes_no_difference():
    assert InputSpec(clip=ClipSpec(stride=2, fps=15.0)).differences(InputSpec(clip=ClipSpec(fps=15.0))) == {}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"fps": "0"}, "flow at 0 frames a second"),
        ({"fps": "fast"}, "flow at fast frames"),
        ({"fps": "1/0"}, "flow at 1/0 frames"),
        ({"short_side_px": 0}, "frames of 0 pixels"),
        ({"bound_px": 0.0}, "bounded by 0.0"),
        ({"bound_px": float("nan")}, "bounded by nan"),
    ],
)
def test_impossible_flow_is_refused(wrong, told):
    with pytest.raises(UsageError, match=told) as caught:
        FlowSpec("tvl1", **wrong)
    assert caught.value.allowed


def test_flow_is_that_of_the_paper_unless_said_otherwise():
    assert FlowSpec("tvl1") == FlowSpec("tvl1", "25", 256, 20.0, {})
    assert FlowSpec("tvl1", "30000/1001").rate == Fraction(30000, 1001)


def test_differences_of_flow():
    one = FlowSpec("dis", "25", 256, 20.0, {"PatchSize": 8, "preset": "medium"})

    assert one.differences(FlowSpec("dis", "50/2")) == {}
    assert one.differences(FlowSpec("dis", "25", 256, 20.0, {"PatchSize": 8, "Newer": 1})) == {}
    assert one.differences(FlowSpec("dis", "12.5", 128, 15.0, {"PatchSize": 4})) == {
        "fps": ("25", "25/2"),
        "short_side_px": ("256", "128"),
        "bound_px": ("20", "15"),
        "PatchSize": ("8", "4"),
    }
    fed = InputSpec(modality="flow", mean=(0.5,) * 2, std=(0.5,) * 2, flow=one)
    assert fed.differences(replace(fed, flow=FlowSpec("dis", "5"))) == {
        "flow": ("dis at 25 fps, short side 256, within 20 pixels", "dis at 5 fps, short side 256, within 20 pixels")
    }
