from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from kinema.core.errors import MediaError
from kinema.video.file import VideoFile
from kinema.video.handle import Handle
from kinema.video.limits import MOST_PIXELS, require_claims, require_size
from kinema.video.source import expand, open_video


def reading(path: Path, **settings) -> str:
    """Why `path` is refused."""
    with pytest.raises(MediaError) as caught, VideoFile(path, **settings) as video:
        for _ in video.frames():
            pass
    return caught.value.reason


def png(width: int, height: int) -> bytes:
    """The header of a picture, and pixels for little of it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


def gif(width: int, height: int) -> bytes:
    """Fifty pictures of one pixel on a large canvas."""
    picture = b"!\xf9\x04\0\4\0\0\0," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2\x44\1\0"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + 50 * picture + b";"


def sequence_header(width: int, height: int) -> bytes:
    """A sequence parameter set of H.264: baseline, level 6.2, of a size divisible by 16."""
    bits = ""

    def number(value: int) -> None:  # Exp-Golomb
        nonlocal bits
        code = f"{value + 1:b}"
        bits += "0" * (len(code) - 1) + code

    for value in (0, 0, 2, 1):  # id, frame numbers of 4 bits, order by decoding, one reference
        number(value)
    bits += "0"
    number(width // 16 - 1)
    number(height // 16 - 1)
    bits += "11001"  # frames only, direct inference, no cropping, no further notes, end
    bits += "0" * (-len(bits) % 8)
    return b"\x67\x42\0\x3e" + bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def with_sequence_header(raw: bytes, header: bytes) -> bytes:
    """A raw H.264 stream with every sequence parameter set exchanged."""
    units = raw.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
    return b"".join(b"\0\0\0\1" + (header if unit[0] & 31 == 7 else unit) for unit in units)


PEAK = """
import resource, sys
from kinema.core.errors import MediaError
from kinema.video.file import VideoFile
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    with VideoFile(sys.argv[1]) as video:
        sum(len(frames) for frames in video.frames())
except MediaError as error:
    print(error.reason)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def peak_mib(path: Path) -> tuple[str, int]:
    """Why `path` is refused, and how much memory that took, in a process of its own."""
    ran = subprocess.run([sys.executable, "-c", PEAK, path], check=True, capture_output=True, text=True, timeout=60)
    *reason, peak = ran.stdout.splitlines()
    return " ".join(reason), int(peak)


@pytest.mark.parametrize("make", [png, gif])
@pytest.mark.parametrize("size", [(60000, 60000), (16384, 4097)])
def test_a_picture_too_large_is_refused_by_its_header(tmp_path, make, size):
    path = tmp_path / f"bomb.{make.__name__}"
    path.write_bytes(make(*size))
    assert f"{size[0]}x{size[1]} pixels are too large" in reading(path)


def test_a_sequence_header_of_16384_is_refused(made_video, tmp_path):
    path = tmp_path / "huge.h264"
    path.write_bytes(with_sequence_header(made_video("raw.h264").read_bytes(), sequence_header(16384, 16384)))
    reason, peak = peak_mib(path)
    assert "its size is missing or above 67108864 pixels" in reason
    assert peak < 150
    # The same way of changing it, to a size that is not too large, is understood.
    path.write_bytes(with_sequence_header(made_video("raw.h264").read_bytes(), sequence_header(4096, 64)))
    with Handle(path) as handle:
        assert (handle.stream.codec_context.width, handle.stream.codec_context.height) == (4096, 64)


def test_a_container_that_claims_a_large_size_is_refused(encode, scene, tmp_path):
    data = bytearray(encode(tmp_path / "raw.avi", scene(2), codec="rawvideo", pixel_format="bgr24").read_bytes())
    place = data.index(struct.pack("<Ii", 40, 96)) + 4
    data[place : place + 8] = struct.pack("<ii", 60000, 60000)
    (tmp_path / "raw.avi").write_bytes(data)
    reason, peak = peak_mib(tmp_path / "raw.avi")
    assert "too large" in reason or "above 67108864 pixels" in reason
    assert peak < 150


def test_8k_is_read(encode, tmp_path):
    picture = np.zeros((4320, 7680, 3), np.uint8)
    path = encode(tmp_path / "8k.avi", [picture], codec="mjpeg", pixel_format="yuvj420p")
    with VideoFile(path, short_side_px=64) as video:
        assert (video.info.width_px, video.info.height_px) == (7680, 4320)
        assert len(video.read([0])) == 1


def test_sizes_up_to_the_limit_pass():
    require_size("x", 8192, 8192)
    assert MOST_PIXELS > 7680 * 4320
    with pytest.raises(MediaError, match="8193x8192 pixels are too large"):
        require_size("x", 8193, 8192)


def test_what_would_be_shown_too_large_is_refused(encode, scene, tmp_path):
    path = encode(tmp_path / "thin.mkv", scene(2, 4096, 16), codec="ffv1", pixel_format="yuv420p")
    assert "too large" in reading(path, short_side_px=1000)


def test_an_index_that_claims_more_than_there_are_bytes_is_refused(made_video, tmp_path):
    claims = 80_000_000  # for which FFmpeg would take 5 GB
    for name in ("b_frames.mp4", "index_first.mp4"):
        data = bytearray(made_video(name).read_bytes())
        for box, at in ((b"stsz", 8), (b"stsz", 12), (b"stsc", 16), (b"stts", 12)):
            value = 1 if (box, at) == (b"stsz", 8) else claims
            place = data.index(box) + at
            data[place : place + 4] = struct.pack(">I", value)
        path = tmp_path / name
        path.write_bytes(data)
        if name == "b_frames.mp4":
            reason, peak = peak_mib(path)
            assert peak < 150
        else:
            reason = reading(path)
        assert reason == f"its index claims {claims} pictures or sounds in {len(data)} bytes"


def test_a_fragment_that_claims_more_than_there_are_bytes_is_refused(made_video, tmp_path):
    data = bytearray(made_video("fragmented.mp4").read_bytes())
    place = data.index(b"trun") + 8
    data[place : place + 4] = struct.pack(">I", 2**31)
    (tmp_path / "claims.mp4").write_bytes(data)
    assert "claims 2147483648" in reading(tmp_path / "claims.mp4")


def test_boxes_in_boxes_without_end_are_walked_to_an_end(tmp_path):
    path = tmp_path / "deep.mp4"
    path.write_bytes(b"".join(struct.pack(">I4s", 8 * (5000 - depth), b"moov") for depth in range(5000)))
    require_claims(path)
    path.write_bytes(struct.pack(">I4sQ", 1, b"moov", 2**63) + bytes(100))
    require_claims(path)


# --- what is no file ---


def special(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.mp4"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    return path


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_has_no_end_is_refused_at_once(tmp_path, kind):
    assert reading(special(tmp_path, kind)) == f"it is a {kind}"


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # their names may only be short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("s.mp4")
        assert reading(Path("s.mp4")) == "it is a socket"


@pytest.mark.parametrize("name", ["a" * 5000 + ".mp4", "a\0b.mp4", "\0", "loop.mp4", "\udcff.mp4"])
def test_names_that_no_file_can_have_are_refused(tmp_path, name):
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    path = tmp_path / name
    assert reading(path)
    with pytest.raises(MediaError), open_video(path):
        pass
    with pytest.raises(MediaError):
        expand([str(path)])
