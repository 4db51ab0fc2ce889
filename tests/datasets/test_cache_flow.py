"""Flow in the frame cache: computed once, kept, and never taken for flow that was computed otherwise."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from kinema.core.errors import UsageError
from kinema.core.progress import Silent
from kinema.core.spec import ClipSpec, FlowSpec, InputSpec
from kinema.datasets.cache import FrameCache
from kinema.datasets.sample import Sample
from kinema.video.file import VideoFile
from kinema.video.flow import FlowChoice, make_algorithm
from kinema.video.flow_record import FlowRecipe, read_record
from kinema.video.flow_writer import store_flow
from kinema.video.writer import VideoWriter

FLOW = InputSpec(
    ClipSpec(4), "flow", 32, 40, mean=(0.5,) * 2, std=(0.5,) * 2, flow=FlowSpec("dis", fps="10", short_side_px=48)
)
BOTH = replace(FLOW, modality="rgb+flow", mean=(0.5,) * 5, std=(0.5,) * 5)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def video(tmp_path):
    return film(tmp_path / "a.mkv")


def film(path, seed=0):
    strip = np.random.default_rng(seed).integers(0, 256, (12, 40, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    with VideoWriter(path, fps=10, size=(64, 48), crf=5) as writer:
        for step in range(8):
            writer.write(np.ascontiguousarray(strip[None, :, 2 * step : 2 * step + 64]))
    return path


@pytest.fixture
def stored(video, tmp_path):
    algorithm = make_algorithm(FlowChoice("dis"))
    recipe = FlowRecipe(
        "dis", algorithm.library, algorithm.parameters, fps=Fraction(10), short_side_px=48, store="video"
    )
    store_flow(video, tmp_path / "flow", recipe, algorithm)
    return tmp_path / "flow" / "flow.json"


@pytest.mark.parametrize("fed", [FLOW, BOTH])
def test_a_video_and_its_stored_flow_give_the_same_frames(video, stored, fed):
    cache = FrameCache.of(fed)

    computed, kept = cache.open(video), cache.open(stored)

    assert computed.data.shape == (7, fed.channels, 40, 53)
    assert torch.equal(computed.data, kept.data)
    assert computed.times == kept.times == pytest.approx([n / 10 for n in range(7)])
    part = cache.open(video, start_seconds=0.2, end_seconds=0.5)
    assert torch.equal(part.data, computed.data[2:5])


def test_flow_is_computed_once(video, monkeypatch):
    first = FrameCache.of(FLOW).open(video)
    monkeypatch.setattr("kinema.datasets.cache.open_fed", None)

    assert torch.equal(FrameCache.of(FLOW).open(video).data, first.data)


def test_what_is_computed_otherwise_is_kept_apart(video, stored):
    specs = [FLOW, BOTH, replace(FLOW, flow=replace(FLOW.flow, bound_px=5.0)), replace(FLOW, modality="rgb", flow=None,
        mean=(0.5,) * 3, std=(0.5,) * 3)]  # fmt: skip

    opened = [FrameCache.of(spec).open(video).data for spec in specs]

    assert [data.shape[1] for data in opened] == [2, 5, 2, 3]
    assert not torch.equal(opened[0], opened[2])
    assert torch.equal(opened[3], FrameCache(40).open(video).data)
    assert FrameCache.of(FLOW).open(stored).data.shape[1] == FrameCache(40).open(stored).data.shape[1] == 2


def test_pictures_beside_stored_flow_are_those_of_the_video_as_it_is_now(video, stored):
    before = FrameCache.of(BOTH).open(stored)
    with VideoFile(video) as opened, VideoWriter(video.with_name("b.mkv"), fps=10, size=(64, 48), crf=5) as writer:
        writer.write(255 - opened.read(range(8)).data)
    other = video.with_name("b.mkv").read_bytes()
    video.write_bytes(other)
    record = read_record(stored)
    replace(record, source=replace(record.source, size_bytes=len(other))).write(stored.parent)

    after = FrameCache.of(BOTH).open(stored)

    assert not torch.equal(after.data[:, :3], before.data[:, :3])
    assert torch.equal(after.data[:, 3:], before.data[:, 3:])


def test_what_cannot_be_computed_is_no_broken_file(video):
    with pytest.raises(UsageError, match="does not say how its flow is computed"):
        FrameCache.of(replace(FLOW, flow=None)).fill([Sample(video, "a")], Silent())


def test_broken_files_are_told_as_ever(video, tmp_path):
    (tmp_path / "b.mkv").write_bytes(b"no video")

    reasons = FrameCache.of(FLOW).fill([Sample(video, "a"), Sample(tmp_path / "b.mkv", "a")], Silent())

    assert [sample.path for sample in reasons] == [tmp_path / "b.mkv"]
