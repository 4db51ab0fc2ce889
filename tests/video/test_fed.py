"""What networks of each modality are fed with, of videos and of stored flow."""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models.optical_flow import raft_small

from kinema.core.errors import MediaError, UsageError, WeightsError
from kinema.core.spec import ClipSpec, FlowSpec, InputSpec
from kinema.video.fed import FlowSteps, doubts_of, open_fed, read_as
from kinema.video.file import VideoFile
from kinema.video.flow import FlowChoice, algorithm_of, make_algorithm
from kinema.video.flow_record import FlowRecipe, read_record
from kinema.video.flow_writer import store_flow
from kinema.video.frame import Frames
from kinema.video.writer import VideoWriter

DIS = FlowSpec("dis", fps="10", short_side_px=48)
FLOW = InputSpec(ClipSpec(4), modality="flow", size_px=32, short_side_px=40, mean=(0.5,) * 2, std=(0.5,) * 2, flow=DIS)
BOTH = replace(FLOW, modality="rgb+flow", mean=(0.5,) * 5, std=(0.5,) * 5)


@pytest.fixture
def video(tmp_path):
    """Fourteen frames 96x64 at 12 fps: a texture that moves by (2, -1) pixels a frame."""
    rows, columns = np.mgrid[0:64, 0:96].astype(np.float64)
    path = tmp_path / "data" / "moving.mkv"
    with VideoWriter(path, fps=12, size=(96, 64), crf=5) as writer:
        for step in range(14):
            wave = np.sin((columns - 2 * step) / 5) + np.cos((rows + step) / 4) + np.sin((columns + rows - step) / 7)
            grey = (128 + 35 * wave).round().astype(np.uint8)
            writer.write(np.stack([grey, grey // 2, 255 - grey], axis=-1)[None])
    return path


@pytest.fixture
def stored(video, tmp_path):
    """Its flow, stored without loss, as the command stores it."""
    algorithm = make_algorithm(FlowChoice("dis"))
    recipe = FlowRecipe(
        "dis", algorithm.library, algorithm.parameters, fps=DIS.rate, short_side_px=DIS.short_side_px, store="video"
    )
    store_flow(video, tmp_path / "flow" / "moving", recipe, algorithm)
    return tmp_path / "flow" / "moving" / "flow.json"


def read(source, fed, **settings):
    with open_fed(source, fed) as reader:
        return Frames.join(list(reader.frames(**settings)))


@pytest.mark.parametrize("short_side_px", [32, 40, 48])
def test_computed_flow_is_the_stored_flow_to_the_byte(video, stored, short_side_px):
    fed = replace(FLOW, short_side_px=short_side_px)

    computed, kept = read(video, fed), read(stored, fed)

    assert torch.equal(computed.data, kept.data)
    assert (computed.pts, computed.time_base) == (kept.pts, kept.time_base) == (tuple(range(10)), Fraction(1, 10))
    assert computed.data.shape[1:3] == (2, short_side_px)
    assert (computed.data != 128).float().mean() > 0.5  # something moves


@pytest.mark.parametrize(("start", "end"), [(0.0, None), (0.25, 0.7), (0.3, None), (0.1 + 0.2, 0.9)])
def test_segments_are_those_of_stored_flow(video, stored, start, end):
    segment = {"start_seconds": start, "end_seconds": end}

    computed, kept = (read(source, FLOW, **segment) for source in (video, stored))

    assert torch.equal(computed.data, kept.data)
    assert computed.pts == kept.pts
    assert read(video, FLOW, **segment, chunk_frames=3).pts == kept.pts


def test_pictures_come_with_the_flow_to_the_next_one(video, stored):
    computed, kept = read(video, BOTH), read(stored, BOTH)

    assert torch.equal(computed.data, kept.data)
    assert computed.data.shape == (10, 5, 40, 60)
    assert torch.equal(computed.data[:, 3:], read(stored, FLOW).data)
    with VideoFile(video, short_side_px=48) as opened:
        shown = opened.read([0, 1, 2, 3, 4])  # at 10 of its 12 frames a second the first five are those
    same_size = replace(BOTH, short_side_px=48)
    assert torch.equal(read(video, same_size).data[:5, :3], shown.data)


@pytest.mark.parametrize("modality", ["rgb", "difference"])
def test_networks_of_pictures_see_the_video_as_it_is(video, modality):
    channels = 3 if modality == "rgb" else 1
    fed = replace(FLOW, modality=modality, flow=None, mean=(0.5,) * channels, std=(0.5,) * channels)

    found = read(video, fed)

    with VideoFile(video, short_side_px=40) as opened:
        assert torch.equal(found.data, opened.read(range(14)).data)
    assert read_as(video, fed) == ()


def test_parameters_are_those_that_the_network_names(video):
    coarse = replace(FLOW, flow=replace(DIS, parameters={"FinestScale": 3}))
    narrow = replace(FLOW, flow=replace(DIS, bound_px=1.0))

    usual = read(video, FLOW).data

    assert not torch.equal(read(video, coarse).data, usual)
    assert read(video, narrow).data.float().sub(128).abs().mean() > usual.float().sub(128).abs().mean()
    settings = make_algorithm(FlowChoice("dis")).parameters
    assert torch.equal(read(video, replace(FLOW, flow=replace(DIS, parameters=settings))).data, usual)


def test_a_chunk_at_a_time_is_held(video):
    with open_fed(video, BOTH) as reader:
        assert [len(frames) for frames in reader.frames()] == [4, 4, 2]
        assert isinstance(reader, FlowSteps)


def test_what_frames_depend_on_besides_the_file(video, stored):
    others = ({"bound_px": 5.0}, {"fps": "5"}, {"short_side_px": 32}, {"parameters": {"PatchStride": 4}})
    fed = [FLOW, BOTH, *(replace(FLOW, flow=replace(DIS, **other)) for other in others)]
    assert len({repr(read_as(video, each)) for each in fed}) == len(fed)
    assert read_as(stored, FLOW) == ()
    assert read_as(stored, BOTH) == ("rgb+flow",)


def test_a_network_that_does_not_say_how_its_flow_is_computed(video, stored):
    unsaid = replace(FLOW, flow=None)

    for asked in (open_fed, read_as):
        with pytest.raises(UsageError, match="does not say how its flow is computed") as caught:
            asked(video, unsaid)
        assert "kinema data flow" in caught.value.next_step
    assert len(read(stored, unsaid)) == 10


def test_an_algorithm_or_parameter_that_kinema_lacks(video):
    for flow, said in (
        (replace(DIS, algorithm="brox"), "no flow algorithm is called 'brox'"),
        (replace(DIS, parameters={"PatchSizes": 8}), "dis has no parameter PatchSizes; did you mean 'PatchSize'"),
        (replace(DIS, parameters={"preset": "fast"}), "DIS at preset fast"),
    ):
        with pytest.raises(UsageError, match=said):
            open_fed(video, replace(FLOW, flow=flow))


def test_without_opencv_stored_flow_is_read_all_the_same(video, stored, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)

    with pytest.raises(UsageError, match=r"pip install 'kinema\[flow\]'"):
        open_fed(video, FLOW)
    assert len(read(stored, FLOW)) == len(read(stored, BOTH)) == 10


def test_one_frame_has_no_flow(tmp_path):
    with VideoWriter(tmp_path / "one.mkv", fps=10, size=(64, 48)) as writer:
        writer.write(np.zeros((1, 48, 64, 3), np.uint8))

    with pytest.raises(MediaError, match="one frame at 10 frames a second, and flow is what lies between two"):
        read(tmp_path / "one.mkv", FLOW)


def test_what_a_damaged_video_still_gives(video):
    content = video.read_bytes()
    video.write_bytes(content[: len(content) * 3 // 4])

    found: list[int] = []
    with open_fed(video, FLOW) as reader, pytest.raises(MediaError):
        found.extend(pts for frames in reader.frames() for pts in frames.pts)

    assert found == list(range(len(found)))
    assert found


def test_flow_of_another_video_is_noticed(video, stored):
    record = read_record(stored)

    for altered, said in (({"fields": 9}, "more than 10 frames"), ({"width_px": 80}, "frames of 72x48 pixels")):
        replace(record, **altered).write(stored.parent)
        if "fields" in altered:
            with pytest.raises(MediaError, match=r"flow\.mkv holds 10 fields of 9"):
                read(stored, BOTH)
            continue
        with pytest.raises(MediaError, match=said) as caught:
            read(stored, BOTH)
        assert "kinema data flow" in caught.value.next_step

    record.write(stored.parent)
    video.unlink()
    with pytest.raises(MediaError, match="is not there"):
        read(stored, BOTH)
    assert len(read(stored, FLOW)) == 10  # which needs no video


@pytest.mark.parametrize("frames", [9, 16])
def test_a_video_that_is_longer_or_shorter_than_its_flow(video, tmp_path, frames):
    algorithm = make_algorithm(FlowChoice("dis"))
    recipe = FlowRecipe("dis", algorithm.library, algorithm.parameters, fps=Fraction(12), short_side_px=48)
    record = store_flow(video, tmp_path / "other", recipe, algorithm)
    with VideoWriter(video, fps=12, size=(96, 64)) as writer:
        writer.write(np.zeros((frames, 64, 96, 3), np.uint8))
    source = replace(record.source, size_bytes=video.stat().st_size)
    replace(record, source=source).write(tmp_path / "other")

    told = "more than 14 frames" if frames == 16 else "has 9 frames at 12 a second"
    with pytest.raises(MediaError, match=told):
        read(tmp_path / "other" / "flow.json", BOTH)


def test_doubts_about_stored_flow_and_about_rates(video, stored, tmp_path):
    with open_fed(stored, FLOW) as reader:
        assert doubts_of(reader, FLOW) == ()
    for fed in (FLOW, BOTH):
        expects = replace(fed, flow=FlowSpec("tvl1"))
        with open_fed(stored, expects) as reader:
            (doubt,) = doubts_of(reader, expects)
        assert "by dis, and the network was trained on tvl1" in doubt
    with VideoFile(video) as opened:
        for number, picture in enumerate(opened.read(range(4)).data):
            (tmp_path / "frames").mkdir(exist_ok=True)
            Image.fromarray(picture.permute(1, 2, 0).numpy()).save(tmp_path / "frames" / f"{number:05}.png")
    with open_fed(tmp_path / "frames", FLOW) as reader:
        (doubt,) = doubts_of(reader, FLOW)
    assert "25 a second are assumed" in doubt


@pytest.mark.parametrize(("settings", "said"), [({"chunk_frames": 0}, "chunks of 0"), ({"start_seconds": -1}, "-1")])
def test_segments_that_are_none(video, settings, said):
    with open_fed(video, FLOW) as reader, pytest.raises(UsageError, match=said):
        reader.frames(**settings)


def test_raft_needs_the_weights_that_were_trained_on(video, tmp_path):
    torch.manual_seed(0)
    torch.save(raft_small().state_dict(), tmp_path / "raft.pth")
    torch.save({name: 2 * value for name, value in raft_small().state_dict().items()}, tmp_path / "other.pth")
    made = make_algorithm(FlowChoice("raft", weights=tmp_path / "raft.pth"))
    flow = FlowSpec("raft", "10", 128, 20.0, dict(made.parameters))

    with pytest.raises(UsageError, match="flow by raft_small, and no weights of it") as caught:
        open_fed(video, replace(FLOW, flow=flow))
    assert "--raft-weights" in caught.value.next_step
    with pytest.raises(WeightsError, match="not the RAFT that the network's flow was computed with"):
        open_fed(video, replace(FLOW, flow=flow), raft_weights=tmp_path / "other.pth")
    assert algorithm_of(flow, weights=tmp_path / "raft.pth").parameters == made.parameters
    with open_fed(video, replace(FLOW, flow=flow), raft_weights=tmp_path / "raft.pth") as reader:
        assert next(reader.frames(chunk_frames=1)).data.shape == (1, 2, 40, 60)
