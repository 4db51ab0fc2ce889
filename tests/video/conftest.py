"""Small videos made on the spot, by PyAV alone, so that the reader is not tested against its own writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

Encode = Callable[..., Path]


def moving(count: int, width: int = 96, height: int = 64) -> list[np.ndarray]:
    """`count` RGB pictures (height, width, 3) of blocks that move, each unlike all others."""
    blocks = np.random.default_rng(0).integers(0, 255, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    scene = blocks.repeat(8, 0).repeat(8, 1)
    return [np.ascontiguousarray(np.roll(scene, (i, 2 * i), (0, 1))[:height, :width]) for i in range(count)]


def encode_video(
    path: Path,
    pictures: Sequence[np.ndarray | av.VideoFrame],
    *,
    codec: str = "libx264",
    fps: int = 25,
    pixel_format: str = "yuv420p",
    keyframe_interval: int = 12,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    pts: Sequence[int] | None = None,
    metadata: dict[str, str] | None = None,
    **stream_settings: Any,
) -> Path:
    """Write `pictures` (RGB arrays or ready frames) to `path`; `stream_settings` are called on the stream or set."""
    height, width = (
        pictures[0].shape[:2] if isinstance(pictures[0], np.ndarray) else (pictures[0].height, pictures[0].width)
    )
    with av.open(str(path), "w", options=container_options or {}) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.gop_size = keyframe_interval
        for name, value in stream_settings.items():
            if callable(getattr(stream, name, None)):
                getattr(stream, name)(**value)
            else:
                setattr(stream.codec_context, name, value)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24") if isinstance(picture, np.ndarray) else picture
            frame.pts = number if pts is None else pts[number]
            frame.time_base = Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


X264_OPEN = {"x264-params": "open-gop=1:keyint=12:bframes=3:b-adapt=0"}
SETTINGS: dict[str, dict[str, Any]] = {
    "b_frames.mp4": {"options": {"bf": "3"}},
    "b_pyramid.mp4": {"options": {"x264-params": "keyint=30:bframes=8:b-pyramid=normal:b-adapt=0:ref=8"}},
    "open_gop.mp4": {"options": X264_OPEN},
    "open_gop.mkv": {"options": X264_OPEN},
    "open_gop.ts": {"options": X264_OPEN},
    "hevc_open_gop.mp4": {"codec": "libx265", "options": {"x265-params": "open-gop=1:keyint=12:log-level=none"}},
    "intra_refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=12:bframes=0"}},
    "all_intra.mp4": {"keyframe_interval": 1},
    "fragmented.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "index_first.mp4": {"container_options": {"movflags": "faststart"}, "options": {"bf": "2"}},
    "variable.mkv": {"pts": [i + i * i // 3 for i in range(48)]},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg4_b_frames.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "h264_b_frames.avi": {"options": {"bf": "3"}},
    "raw.h264": {"options": {"bf": "2"}},
    "hidden_frames.webm": {
        "codec": "libvpx",
        "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "arnr-maxframes": "5", "cpu-used": "4"},
    },
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "flash.flv": {},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "loop.gif": {"codec": "gif", "pixel_format": "rgb8"},
}


@pytest.fixture(scope="session")
def made_video(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Encodes one of `SETTINGS` (48 frames of 96x64 at 25 fps) when it is first asked for."""
    folder = tmp_path_factory.mktemp("made")

    def make(name: str) -> Path:
        path = folder / name
        return path if path.exists() else encode_video(path, moving(48), **SETTINGS[name])

    return make


@pytest.fixture(scope="session")
def encode() -> Encode:
    return encode_video


@pytest.fixture(scope="session")
def scene() -> Callable[..., list[np.ndarray]]:
    return moving
