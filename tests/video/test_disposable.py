from __future__ import annotations

import av
import pytest
import torch
from tests.video.conftest import moving

from kinema.video.disposable import is_disposable, length_bytes_of
from kinema.video.file import VideoFile


def nal(head: int, *, size: int = 5, length_bytes: int = 4) -> bytes:
    return size.to_bytes(length_bytes, "big") + bytes([head]) + bytes(size - 1)


NEEDED, SPARE, KEY, REMARK, PARAMETERS = 0x41, 0x01, 0x65, 0x06, 0x67


@pytest.mark.parametrize(
    ("heads", "spare"),
    [
        ([SPARE], True),
        ([SPARE, SPARE], True),
        ([REMARK, SPARE], True),
        ([NEEDED], False),
        ([SPARE, NEEDED], False),  # two fields, of which one is predicted from
        ([KEY], False),
        ([PARAMETERS, SPARE], False),
        ([REMARK], False),
        ([], False),
    ],
)
def test_a_picture_is_disposable_if_no_slice_is_predicted_from(heads, spare):
    assert is_disposable(memoryview(b"".join(nal(head) for head in heads)), 4) is spare


@pytest.mark.parametrize("damaged", [nal(SPARE)[:-1], nal(SPARE) + b"\0\0", bytes(4), nal(SPARE) + bytes(8)])
def test_what_is_damaged_is_left_to_the_decoder(damaged):
    assert not is_disposable(memoryview(damaged), 4)


def test_lengths_are_read_in_the_width_the_file_tells():
    assert is_disposable(memoryview(nal(SPARE, length_bytes=2) + nal(SPARE, length_bytes=2)), 2)


@pytest.mark.parametrize(("name", "length"), [("b_frames.mp4", 4), ("open_gop.ts", None), ("hevc_open_gop.mp4", None)])
def test_only_h264_with_lengths_is_looked_into(made_video, name, length):
    with av.open(str(made_video(name))) as container:
        assert length_bytes_of(container.streams.video[0]) == length


@pytest.mark.parametrize("options", [{"bf": "3", "b-pyramid": "normal"}, {"bf": "8", "b-adapt": "0", "refs": "5"}])
@pytest.mark.parametrize("threads", [1, 2])
def test_leaving_them_out_changes_no_byte(encode, tmp_path, options, threads):
    path = encode(tmp_path / "a.mp4", moving(60), keyframe_interval=30, options=options)
    with VideoFile(path, threads=threads) as video:
        (whole,) = video.frames(chunk_frames=60)
        for index in (29, 13, 44, 59, 1, 16, 17, 30, 58):
            assert torch.equal(video.read([index]).data[0], whole.data[index])
        assert torch.equal(video.read([3, 11, 26, 55]).data, whole.data[[3, 11, 26, 55]])
        assert video.damage == ()
