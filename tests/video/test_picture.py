from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image

from kinema.core.errors import UsageError
from kinema.video.file import VideoFile
from kinema.video.picture import Layout, Painter


def plain(width: int, height: int) -> av.VideoFrame:
    return av.VideoFrame(width, height, "yuv420p")


@pytest.mark.parametrize(
    ("stored", "pixel_aspect", "short_side", "shown"),
    [
        ((320, 240), Fraction(1), None, (320, 240)),
        ((340, 256), Fraction(64, 51), None, (427, 256)),  # wide pixels: wider
        ((720, 480), Fraction(8, 9), None, (720, 540)),  # high pixels: higher, no column lost
        ((200, 112), Fraction(224, 225), None, (200, 112)),
        ((340, 256), Fraction(1), 128, (170, 128)),
        ((341, 256), Fraction(1), 128, (170, 128)),
        ((343, 256), Fraction(1), 128, (172, 128)),
        ((256, 340), Fraction(1), 128, (128, 170)),
        ((340, 256), Fraction(64, 51), 128, (213, 128)),  # from 426.67, not from 427
        ((64, 48), Fraction(1), 96, (128, 96)),
        ((1000, 2), Fraction(1), 1, (500, 1)),
    ],
)
def test_size_shown(stored, pixel_aspect, short_side, shown):
    layout = Layout.of(plain(*stored), pixel_aspect, short_side)
    assert (layout.width_px, layout.height_px) == shown


def test_no_side_without_pixels():
    with pytest.raises(UsageError, match="short side of 0"):
        Layout.of(plain(64, 48), Fraction(1), 0)


CORNERS = np.zeros((48, 64, 3), np.uint8)
CORNERS[:24, :32], CORNERS[:24, 32:], CORNERS[24:, :32] = (255, 0, 0), (0, 255, 0), (0, 0, 255)  # last stays black


def corners(picture: np.ndarray) -> str:
    """Names of the colours at top left, top right, bottom left, bottom right."""
    height, width = picture.shape[:2]
    points = [(height // 4, width // 4), (height // 4, -width // 4), (-height // 4, width // 4)]
    points.append((-height // 4, -width // 4))
    return "".join("rgbk"[int(colour.argmax()) if colour.max() > 128 else 3] for colour in (picture[p] for p in points))


@pytest.mark.parametrize(
    ("counter_clockwise", "hflip", "vflip", "rotation", "shown"),
    [
        (0, False, False, 0, "rgbk"),
        (-90, False, False, 90, "brkg"),
        (180, False, False, 180, "kbgr"),
        (90, False, False, 270, "gkrb"),
        (0, True, False, 0, "grkb"),
        (0, False, True, 180, "bkrg"),
    ],
)
@pytest.mark.parametrize("short_side", [None, 24])
def test_pictures_stand_upright(encode, tmp_path, counter_clockwise, hflip, vflip, rotation, shown, short_side):
    path = encode(
        tmp_path / "turned.mp4",
        [CORNERS],
        options={"crf": "1"},
        set_display_rotation={"degrees": counter_clockwise, "hflip": hflip, "vflip": vflip},
    )
    with VideoFile(path, short_side_px=short_side) as video:
        picture = video.read([0]).data[0]
        turned = counter_clockwise in (90, -90)
        assert (video.info.width_px, video.info.height_px) == ((48, 64) if turned else (64, 48))
        assert video.info.rotation_degrees == rotation
    full = (64, 48) if turned else (48, 64)
    assert tuple(picture.shape[1:]) == tuple(side // (2 if short_side else 1) for side in full)
    assert corners(picture.permute(1, 2, 0).numpy()) == shown


COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 100, 50), (128, 128, 128), (255, 255, 255), (0, 0, 0)]
BT601, BT709, BT2020 = (0.299, 0.114), (0.2126, 0.0722), (0.2627, 0.0593)


@pytest.mark.parametrize(
    ("flag", "full_range", "pixel_format", "weights"),
    [
        (1, False, "yuv420p", BT709),
        (1, True, "yuv420p", BT709),
        (5, False, "yuv420p", BT601),
        (6, False, "yuv444p", BT601),
        (6, True, "yuvj420p", BT601),
        (2, False, "yuv420p", BT601),  # not flagged
        (9, False, "yuv420p10le", BT2020),
    ],
)
def test_colours_follow_matrix_and_range(encode, tmp_path, flag, full_range, pixel_format, weights):
    range_ = 2 if full_range else 1
    frames = [yuv_frame(colour, pixel_format, weights, full_range=full_range) for colour in COLOURS]
    for frame in frames:
        frame.colorspace, frame.color_range = flag, range_
    path = encode(
        tmp_path / "colours.mkv",
        frames,
        pixel_format=pixel_format,
        options={"qp": "1"},
        colorspace=flag,
        color_range=range_,
    )
    with VideoFile(path) as video:
        shown = video.read(range(len(COLOURS))).data.float().mean(dim=(2, 3))
    assert torch.allclose(shown, torch.tensor(COLOURS, dtype=torch.float32), atol=2)


def yuv_frame(
    rgb: tuple[int, ...], pixel_format: str, weights: tuple[float, float], *, full_range: bool
) -> av.VideoFrame:
    """A picture of one colour, converted by the definition of the matrix."""
    red, green, blue = rgb
    red_weight, blue_weight = weights
    luma = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    chroma = (blue - luma) / (2 * (1 - blue_weight)), (red - luma) / (2 * (1 - red_weight))
    offset, gain, chroma_gain = (0, 1, 1) if full_range else (16, 219 / 255, 224 / 255)
    values = [offset + luma * gain, *(128 + part * chroma_gain for part in chroma)]
    frame = av.VideoFrame(64, 48, pixel_format)
    deep = "10" in pixel_format
    for plane, value in zip(frame.planes, values, strict=True):
        count = plane.buffer_size // (2 if deep else 1)
        number = min(round(value * 4), 1023) if deep else min(round(value), 255)
        plane.update(np.full(count, number, np.uint16 if deep else np.uint8).tobytes())
    return frame


def test_shrinking_averages_like_an_antialiased_bilinear(encode, tmp_path):
    noise = np.random.default_rng(1).integers(0, 255, (96, 128), np.uint8).repeat(3).reshape(96, 128, 3)
    path = encode(tmp_path / "noise.mkv", [noise], pixel_format="yuv444p", options={"qp": "1"})
    with VideoFile(path) as video:
        stored = video.read([0]).data[0].permute(1, 2, 0).numpy()
    with VideoFile(path, short_side_px=24) as video:
        small = video.read([0]).data[0].permute(1, 2, 0).numpy()
    pillow = np.asarray(Image.fromarray(stored).resize((32, 24), Image.Resampling.BILINEAR))
    assert np.abs(small.astype(int) - pillow).mean() < 1
    nearest = np.asarray(Image.fromarray(stored).resize((32, 24), Image.Resampling.NEAREST))
    assert np.abs(small.astype(int) - nearest).mean() > 30


def test_odd_sides_reach_the_last_column_and_line(encode, tmp_path):
    picture = np.zeros((41, 61, 3), np.uint8)
    picture[-2:], picture[:, -2:] = 255, 255
    path = encode(tmp_path / "odd.mkv", [picture], pixel_format="yuv444p", options={"qp": "1"})
    with VideoFile(path) as video:
        shown = video.read([0]).data[0]
    assert tuple(shown.shape) == (3, 41, 61)
    assert shown[:, -1].min() > 250
    assert shown[:, :, -1].min() > 250
    assert shown[:, 2:38, 2:58].max() < 5


def test_stored_pixels_that_are_not_square_are_stretched(encode, tmp_path, scene):
    path = encode(tmp_path / "wide.mp4", scene(2), sample_aspect_ratio=Fraction(4, 3))
    with VideoFile(path, short_side_px=32) as video:
        assert (video.info.width_px, video.info.height_px) == (128, 64)
        assert tuple(video.read([0]).data.shape) == (1, 3, 32, 64)


def test_memory_is_used_again_only_when_nobody_holds_it():
    painter = Painter("a", Layout(16, 12))
    held = painter.canvas(2)
    view = held[1]
    address, array = held.data_ptr(), held.numpy()
    del held
    assert painter.canvas(2).data_ptr() != address  # the view still needs it
    del view
    assert painter.canvas(2).data_ptr() != address  # so does the array
    del array
    again = [painter.canvas(2) for _ in range(3)]
    assert len({each.data_ptr() for each in again}) == 3
    addresses = {each.data_ptr() for each in again}
    del again
    assert painter.canvas(2).data_ptr() in addresses
    assert painter.canvas(1).shape == (1, 3, 12, 16)
