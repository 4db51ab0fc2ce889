import io
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from kinema.core.errors import MediaError
from kinema.video.limits import MOST_PIXELS
from kinema.video.still import decode_still, encode_jpeg, still_header


def picture(width=48, height=32, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def stored(kind="JPEG", **options):
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "codec"), [("JPEG", "mjpeg"), ("PNG", "png")])
def test_headers_tell_the_size_without_decoding(kind, codec):
    header = still_header(stored(kind), "a")
    assert (header.codec, header.width_px, header.height_px, header.whole) == (codec, 48, 32, True)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"comment": b"\xff\xd9" * 4}])
def test_jpeg_decodes_to_what_pillow_makes_of_it(options):
    data = stored(quality=95, **options)
    decoded = decode_still(data, "a").to_ndarray(format="rgb24").astype(int)
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(opened.convert("RGB")).astype(int)
    assert np.abs(decoded - expected).mean() < 6  # of 255; chroma is interpolated differently


def test_png_decodes_exactly():
    assert np.array_equal(decode_still(stored("PNG"), "a").to_ndarray(format="rgb24"), picture())


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.99])
def test_a_picture_cut_off_is_refused(kind, kept):
    data = stored(kind)
    with pytest.raises(MediaError, match=r"a\.jpg"):
        decode_still(data[: int(len(data) * kept)], "a.jpg")


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_picture():
    data = stored(comment=b"\xff\xd9")
    assert still_header(data, "a").whole
    assert not still_header(data[:-2], "a").whole


@pytest.mark.parametrize("data", [b"", b"hello" * 20, b"\xff\xd8\xff", stored()[:30], stored("PNG")[:20]])
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(MediaError, match=r"empty|not a JPEG or PNG"):
        decode_still(data, "a.jpg")


def bomb(kind):
    data = bytearray(stored(kind))
    if kind == "PNG":
        data[16:24] = struct.pack(">II", 60_000, 60_000)
    else:
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", 60_000, 60_000)
    return bytes(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_header_that_promises_too_much_is_refused_before_decoding(kind, monkeypatch):
    monkeypatch.setattr("kinema.video.still.CodecContext", None)  # to decode would fail otherwise
    with pytest.raises(MediaError, match="60000x60000 pixels") as caught:
        decode_still(bomb(kind), "bomb.jpg")
    assert str(MOST_PIXELS) in caught.value.allowed


def test_encoding_is_repeatable_and_near():
    pixels = torch.from_numpy(picture().copy()).permute(2, 0, 1)
    data = encode_jpeg(pixels, 95)
    assert data == encode_jpeg(pixels, 95)
    assert len(encode_jpeg(pixels, 20)) < len(data)
    decoded = decode_still(data, "a").to_ndarray(format="rgb24").astype(int)
    assert np.abs(decoded - picture().astype(int)).mean() < 8
