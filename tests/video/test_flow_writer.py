from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from kinema.core.errors import DataError, MediaError
from kinema.video.file import VideoFile
from kinema.video.flow import FlowChoice, flow_fields, make_algorithm, to_bytes
from kinema.video.flow_record import FlowRecipe, FlowSource, read_record, source_of
from kinema.video.flow_source import FlowFile
from kinema.video.flow_writer import store_flow
from kinema.video.writer import VideoWriter


def recipe_of(algorithm, **settings):
    settings = {"fps": Fraction(10), "short_side_px": 48, **settings}
    return FlowRecipe(algorithm.name, algorithm.library, algorithm.parameters, **settings)


@pytest.fixture(scope="module")
def dis():
    return make_algorithm(FlowChoice("dis"))


@pytest.fixture
def video(tmp_path):
    """Twelve frames 96x64 at 10 fps: a smooth texture that moves by (2, -1) pixels a frame."""
    rows, columns = np.mgrid[0:64, 0:96].astype(np.float64)
    path = tmp_path / "moving.mkv"
    with VideoWriter(path, fps=10, size=(96, 64), crf=5) as writer:
        for step in range(12):
            wave = np.sin((columns - 2 * step) / 5) + np.cos((rows + step) / 4) + np.sin((columns + rows - step) / 7)
            grey = (128 + 35 * wave).round().astype(np.uint8)
            writer.write(np.stack([grey] * 3, axis=-1)[None])
    return path


@pytest.mark.parametrize("store", ["jpeg", "video"])
def test_what_is_stored_is_the_flow_of_the_scaled_frames(video, tmp_path, dis, store):
    recipe = recipe_of(dis, store=store)

    record = store_flow(video, tmp_path / "out" / "moving", recipe, dis)

    with VideoFile(video, short_side_px=48) as opened:
        frames = opened.read(range(12)).data
    expected = to_bytes(flow_fields(frames, dis), 20).int()
    assert (record.fields, record.width_px, record.height_px) == (11, 72, 48)
    assert record == read_record(tmp_path / "out" / "moving" / "flow.json")
    assert record.source == FlowSource.of(video)
    assert source_of(tmp_path / "out" / "moving" / "flow.json") == video
    assert (record.source.name, record.source.size_bytes) == ("moving.mkv", video.stat().st_size)
    with FlowFile(tmp_path / "out" / "moving" / "flow.json") as flow:
        found = flow.read(range(11)).data.int()
    assert (found - expected).abs().max() <= (2 if store == "jpeg" else 0)
    # 2 pixels to the right and 1 up, on frames of three quarters the size
    middle = (found[:, :, 8:-8, 8:-8].float().mean(dim=(0, 2, 3)) - 128) / 127 * 20
    torch.testing.assert_close(middle, torch.tensor([1.5, -0.75]), atol=0.15, rtol=0)


def test_pictures_are_named_as_others_read_them(video, tmp_path, dis):
    store_flow(video, tmp_path / "out", recipe_of(dis), dis)

    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names[:2] == ["flow.json", "flow_x_00001.jpg"]
    assert names[-1] == "flow_y_00011.jpg"
    assert len(names) == 23


def test_still_pictures_are_exactly_zero(tmp_path, dis):
    picture = np.random.default_rng(0).integers(0, 256, (1, 48, 64, 3), dtype=np.uint8)
    with VideoWriter(tmp_path / "still.mkv", fps=10, size=(64, 48), codec="ffv1", crf=None, pixel_format="bgr0") as out:
        out.write(np.repeat(picture, 3, axis=0))

    store_flow(tmp_path / "still.mkv", tmp_path / "out", recipe_of(dis), dis)

    with FlowFile(tmp_path / "out" / "flow.json") as flow:
        assert (flow.read([0, 1]).data == 128).all()


def test_one_frame_has_no_flow_and_nothing_is_left(video, tmp_path, dis):
    slow = recipe_of(dis, fps=Fraction(1, 2))

    for store in ("jpeg", "video"):
        with pytest.raises(MediaError, match="one frame at 1/2 frames a second"):
            store_flow(video, tmp_path / "out", recipe_of(dis, fps=slow.fps, store=store), dis)

    assert [path.name for path in tmp_path.iterdir()] == ["moving.mkv"]


def test_a_damaged_video_leaves_nothing(video, tmp_path, dis):
    content = bytearray(video.read_bytes())
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(content[: len(content) // 2])

    with pytest.raises(MediaError):
        store_flow(cut, tmp_path / "out", recipe_of(dis), dis)

    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))


def test_old_flow_and_remains_of_a_killed_run_are_replaced(video, tmp_path, dis):
    for name in ("out", ".out.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "flow_x_00099.jpg").touch()

    store_flow(video, tmp_path / "out", recipe_of(dis), dis)

    assert not (tmp_path / "out" / "flow_x_00099.jpg").exists()
    assert not (tmp_path / ".out.part").exists()


def test_a_folder_that_cannot_be_written(video, tmp_path, dis):
    (tmp_path / "file").touch()

    with pytest.raises(DataError, match="cannot write"):
        store_flow(video, tmp_path / "file" / "out", recipe_of(dis), dis)
