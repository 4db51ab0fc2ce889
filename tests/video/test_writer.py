"""A written file holds the frames it was given, at their times, or does not exist."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
import torch

from kinema.core.errors import DataError, UsageError
from kinema.video.writer import VideoWriter

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (48, 32)
LOSSLESS: dict[str, Any] = {"codec": "libx264rgb", "pixel_format": "rgb24", "crf": 0}


def pictures(count: int = 12, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A grey slope with a red square that walks to the right."""
    width, height = size
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[...] = np.linspace(20, 220, width)[None, None, :, None]
    for i in range(count):
        frames[i, 8:16, 2 * i : 2 * i + 8] = (220, 30, 40)
    return frames


def decode(path: Path) -> tuple[np.ndarray, list[Fraction], Any]:
    with av.open(path) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        pixels = np.stack([frame.to_ndarray(format="rgb24") for frame in frames])
        times = [frame.pts * frame.time_base for frame in frames]
        facts = {
            "codec": stream.codec_context.name,
            "rate": stream.average_rate,
            "promised": stream.frames,
            "duration": stream.duration and stream.duration * stream.time_base,
            "keys": [i for i, frame in enumerate(frames) if frame.key_frame],
            "matrix": frames[0].colorspace,
        }
    return pixels, times, facts


def write(path: Path, frames: np.ndarray | torch.Tensor, fps: Fraction | int = 25, **options: Any) -> None:
    pts = options.pop("pts", None)
    with VideoWriter(path, fps, options.pop("size", SIZE), **options) as writer:
        writer.write(frames, pts=pts)


def write_then_fail(path: Path) -> None:
    with VideoWriter(path, 25, SIZE) as writer:
        writer.write(pictures())
        writer.write(pictures()[:, :-2])


def test_h264_at_an_exact_rate(tmp_path: Path) -> None:
    path = tmp_path / "new" / "clip.mp4"
    write(path, pictures(), Fraction(30000, 1001))
    pixels, times, facts = decode(path)
    assert (facts["codec"], facts["rate"], facts["promised"]) == ("h264", Fraction(30000, 1001), 12)
    assert times == [Fraction(1001 * i, 30000) for i in range(12)]
    assert facts["duration"] == Fraction(12 * 1001, 30000)
    assert np.abs(pixels.astype(int) - pictures()).mean() < 4


@pytest.mark.parametrize(
    ("suffix", "codec", "crf", "pixel_format", "tolerance"),
    [
        (".mp4", "libx264rgb", 0, "rgb24", 0),
        (".mkv", "ffv1", None, "yuv444p", 1),
        (".webm", "libvpx-vp9", 10, "yuv420p", 4),
        (".avi", "mpeg4", None, "yuv420p", 6),
    ],
)
def test_other_codecs(
    tmp_path: Path, suffix: str, codec: str, crf: int | None, pixel_format: str, tolerance: float
) -> None:
    path = tmp_path / f"clip{suffix}"
    write(path, pictures(), codec=codec, crf=crf, pixel_format=pixel_format)
    pixels, _, _ = decode(path)
    assert np.abs(pixels.astype(int) - pictures()).mean() <= tolerance


def test_colours_come_back_because_the_matrix_is_named(tmp_path: Path) -> None:
    colours = np.zeros((4, 32, 48, 3), np.uint8)
    for i, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40)]):
        colours[i] = colour
    write(tmp_path / "colours.mp4", colours, crf=1)
    pixels, _, facts = decode(tmp_path / "colours.mp4")
    assert facts["matrix"] == 6
    assert np.abs(pixels.astype(int) - colours).max() <= 4


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_rate_keeps_every_time(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"uneven{suffix}"
    pts = [0, 40, 41, 100, 500, 540]
    with VideoWriter(path, 25, SIZE, time_base=Fraction(1, 1000)) as writer:
        writer.write(pictures(4), pts=pts[:4])
        writer.write(pictures(2), pts=pts[4:])
        assert writer.frame_count == 6
    _, times, facts = decode(path)
    assert times == [Fraction(t, 1000) for t in pts]
    if suffix == ".mp4":  # Matroska states no duration of a track
        assert facts["duration"] == Fraction(580, 1000)


def test_tensors_and_arrays_in_parts_give_the_same_bytes_as_in_one(tmp_path: Path) -> None:
    frames = pictures()
    write(tmp_path / "whole.mp4", frames)
    with VideoWriter(tmp_path / "parts.mp4", 25, SIZE) as writer:
        writer.write(frames[:5])
        writer.write(torch.from_numpy(frames[5:]).permute(0, 3, 1, 2))
    assert (tmp_path / "whole.mp4").read_bytes() == (tmp_path / "parts.mp4").read_bytes()


def test_the_same_frames_give_the_same_bytes_whatever_lies_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = np.clip(pictures(24).astype(int) + rng.integers(-12, 12, (24, 32, 48, 1)), 0, 255).astype(np.uint8)
    written = set()
    for _ in range(30):
        # Dirt in freed memory is what encoders differed by.
        dirt = [rng.integers(0, 255, rng.integers(1000, 200_000), dtype=np.uint8) for _ in range(20)]
        del dirt
        write(tmp_path / "again.mp4", frames, 12, crf=18)
        written.add((tmp_path / "again.mp4").read_bytes())
    assert len(written) == 1


def test_keyframe_interval(tmp_path: Path) -> None:
    write(tmp_path / "keys.mp4", pictures(), keyframe_interval_frames=5)
    assert decode(tmp_path / "keys.mp4")[2]["keys"] == [0, 5, 10]


def test_a_preset_reaches_the_encoder(tmp_path: Path) -> None:
    for preset in ("ultrafast", "slow"):
        write(tmp_path / f"{preset}.mp4", pictures(), preset=preset)
    sizes = [(tmp_path / f"{preset}.mp4").stat().st_size for preset in ("ultrafast", "slow")]
    assert sizes[0] > sizes[1]


def test_odd_sides_fit_a_format_with_full_chroma(tmp_path: Path) -> None:
    write(tmp_path / "odd.mp4", pictures(3, (47, 31)), size=(47, 31), **LOSSLESS)
    assert decode(tmp_path / "odd.mp4")[0].shape == (3, 31, 47, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (47, 32)}, "47x32 pixels in yuv420p\nallowed: a width divisible by 2"),
        ({"size": (48, 31)}, "48x31 pixels in yuv420p"),
        ({"size": (0, 32)}, "one pixel or more"),
        ({"fps": 29.97}, "rate of 29.97"),
        ({"fps": 0}, "rate of 0"),
        ({"keyframe_interval_frames": 0}, "keyframe every 0"),
        ({"pixel_format": "yuv421q"}, "no pixel format is called 'yuv421q'"),
        ({"codec": "h26x"}, "no encoder is called 'h26x'"),
        ({"codec": "ffv1"}, "crf 23 for ffv1"),
        ({"codec": "ffv1", "crf": None, "preset": "fast"}, "preset 'fast' for ffv1"),
        ({"name": "clip.xyz"}, "no container is known for clip.xyz"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"fps": 25, "size": SIZE, **options}
    with pytest.raises(UsageError, match=message), VideoWriter(tmp_path / arguments.pop("name", "a.mp4"), **arguments):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_pixel_format_the_encoder_lacks(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="libx264 with rgb24"),
        VideoWriter(tmp_path / "a.mp4", 25, SIZE, pixel_format="rgb24"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("frames", "pts", "time_base", "error", "message"),
    [
        (pictures(2).astype(np.float32), None, None, DataError, "float32"),
        (pictures(2)[:, :-2], None, None, DataError, r"allowed: uint8 \(T, 32, 48, 3\)"),
        (pictures(2)[0], None, None, DataError, "shape"),
        (torch.zeros(2, 32, 48, 3, dtype=torch.uint8), None, None, DataError, r"uint8 \(T, 3, 32, 48\)"),
        (pictures(2), [0, 1], None, UsageError, "times for a constant rate"),
        (pictures(2), None, Fraction(1, 1000), UsageError, "without times"),
        (pictures(2), [0], Fraction(1, 1000), DataError, "2 frames with 1 times"),
        (pictures(2), [40, 40], Fraction(1, 1000), DataError, "a frame at 40 after 40"),
        (pictures(2), [-1, 40], Fraction(1, 1000), DataError, "ascending times from 0"),
    ],
)
def test_frames_that_cannot_be(
    tmp_path: Path, frames: Any, pts: list[int] | None, time_base: Fraction | None, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        write(tmp_path / "a.mp4", frames, pts=pts, time_base=time_base)
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_fails_keeps_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    with pytest.raises(DataError, match="shape"):
        write_then_fail(path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("clip.mp4", b"old")]


def test_a_video_without_frames_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no frame was written"), VideoWriter(tmp_path / "a.mp4", 25, SIZE):
        pass
    assert list(tmp_path.iterdir()) == []
