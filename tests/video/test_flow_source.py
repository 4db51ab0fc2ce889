from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from kinema.core.errors import MediaError, UsageError
from kinema.video.flow_record import FlowRecipe, FlowRecord, FlowSource
from kinema.video.flow_source import FlowFile, pair_names
from kinema.video.source import open_recording
from kinema.video.writer import VideoWriter

FIELDS, HEIGHT, WIDTH = 10, 24, 32


@pytest.fixture
def fields():
    """Smooth bytes uint8 (T, 2, H, W), another level in each field and channel."""
    ramp = torch.linspace(0, 20, WIDTH).expand(HEIGHT, WIDTH)
    levels = 40 + 8 * torch.arange(2 * FIELDS).view(FIELDS, 2, 1, 1)
    return (levels + ramp).to(torch.uint8)


@pytest.fixture(params=["jpeg", "video"])
def stored(request, fields, tmp_path):
    """The `flow.json` of `fields`, at 25/2 fps."""
    recipe = FlowRecipe("dis", "OpenCV", {}, fps=Fraction(25, 2), short_side_px=HEIGHT, store=request.param)
    if request.param == "jpeg":
        for index, field in enumerate(fields):
            for plane, name in zip(field, pair_names(index), strict=True):
                Image.fromarray(plane.numpy()).save(tmp_path / name, quality=100)
    else:
        rgb = torch.cat([fields, fields[:, :1]], dim=1)
        with VideoWriter(
            tmp_path / "flow.mkv", Fraction(25, 2), (WIDTH, HEIGHT), codec="ffv1", crf=None, pixel_format="bgr0"
        ) as writer:
            writer.write(rgb)
    FlowRecord(recipe, FIELDS, WIDTH, HEIGHT, FlowSource("a.mp4", 1, "0")).write(tmp_path)
    return tmp_path / "flow.json"


def near(found, expected):
    return (found.int() - expected.int()).abs().max() <= 1


def test_fields_are_read_in_any_order(stored, fields):
    with FlowFile(stored) as flow:
        found = flow.read([7, 0, 7])

    assert found.data.shape == (3, 2, HEIGHT, WIDTH)
    assert near(found.data, fields[[7, 0, 7]])
    assert found.pts == (7, 0, 7)
    assert found.time_base == Fraction(2, 25)


@pytest.mark.parametrize(
    ("span", "expected"),
    [({}, range(10)), ({"start_seconds": 0.16}, range(2, 10)), ({"end_seconds": 0.24}, range(3)),
     ({"start_seconds": 0.1, "end_seconds": 0.33}, range(2, 5)), ({"start_seconds": 5}, range(0))],
)  # fmt: skip
def test_fields_of_a_segment(stored, fields, span, expected):
    with FlowFile(stored) as flow:
        chunks = list(flow.frames(**span, chunk_frames=3))

    assert [pts for chunk in chunks for pts in chunk.pts] == list(expected)
    assert all(len(chunk) <= 3 for chunk in chunks)
    for chunk in chunks:
        assert near(chunk.data, fields[list(chunk.pts)])


def test_it_opens_as_any_recording_does(stored):
    with open_recording(stored, short_side_px=12) as flow:
        assert isinstance(flow, FlowFile)
        info = flow.info
        assert flow.read([1]).data.shape == (1, 2, 12, 16)

    assert (info.width_px, info.height_px, info.frame_count) == (WIDTH, HEIGHT, FIELDS)
    assert (info.duration_seconds, info.average_fps, info.start_pts) == (0.8, 12.5, 0)
    assert info.codec.startswith("flow (dis, ")
    assert not info.variable_frame_rate


def test_scaling_keeps_the_motion(stored, fields):
    with FlowFile(stored, short_side_px=12) as flow:
        found = flow.read([3])

    assert found.data.shape == (1, 2, 12, 16)
    assert (found.data.float().mean(dim=(2, 3)) - fields[3:4].float().mean(dim=(2, 3))).abs().max() < 1


def test_what_cannot_be_asked_for(stored):
    with FlowFile(stored) as flow:
        for wrong in ([], [10], [-1]):
            with pytest.raises(UsageError, match="from 0 to 9"):
                flow.read(wrong)
        with pytest.raises(UsageError, match="1 frame or more"):
            flow.frames(chunk_frames=0)
        with pytest.raises(UsageError, match="no earlier end"):
            flow.frames(start_seconds=2, end_seconds=1)
    with pytest.raises(UsageError, match="short side"):
        FlowFile(stored, short_side_px=0)


@pytest.mark.parametrize("stored", ["jpeg"], indirect=True)
def test_broken_pictures_are_named(stored):
    stored.with_name("flow_x_00003.jpg").write_bytes(b"no picture")
    stored.with_name("flow_y_00005.jpg").unlink()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(stored.with_name("flow_y_00008.jpg"))

    kept = []
    with FlowFile(stored) as flow, pytest.raises(MediaError) as caught:
        kept.extend(pts for chunk in flow.frames() for pts in chunk.pts)

    assert kept == [0, 1, 3, 5, 6, 8, 9]
    for said in ("flow_x_00003.jpg: not a picture", "at 0.160 s", "flow_y_00005.jpg: No such file", "8x8 pixels, not"):
        assert said in str(caught.value)
    with FlowFile(stored, strict=False) as flow:
        assert sum(len(chunk) for chunk in flow.frames()) == 7
        assert [place.seconds for place in flow.damage] == pytest.approx([0.16, 0.32, 0.56])
        with pytest.raises(MediaError, match="flow_x_00003"):
            flow.read([2])


@pytest.mark.parametrize("stored", ["video"], indirect=True)
def test_a_video_that_lacks_fields(stored):
    with VideoWriter(stored.with_name("flow.mkv"), 25, (WIDTH, HEIGHT)) as writer:
        writer.write(np.zeros((3, HEIGHT, WIDTH, 3), np.uint8))

    with pytest.raises(MediaError, match=r"flow\.mkv holds 3 fields of 10"):
        FlowFile(stored)


def test_repr_and_times(stored):
    with FlowFile(stored, short_side_px=12) as flow:
        assert repr(flow) == f"FlowFile('{stored}', short_side_px=12)"
        assert flow.pts == tuple(range(10))
        assert flow.times == pytest.approx([0.08 * index for index in range(10)])
        assert flow.damage == ()
