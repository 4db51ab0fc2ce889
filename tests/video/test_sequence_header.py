from __future__ import annotations

from fractions import Fraction

import av
import pytest

from kinema.video.handle import Handle
from kinema.video.sequence_header import says_everything
from kinema.video.timeline import read_timeline

MADE = {
    # what x264 is asked for -> whether its header suffices
    "bframes=3": True,
    "bframes=8:b-pyramid=normal": True,
    "bframes=2:interlaced=1": True,
    "bframes=2:nal-hrd=vbr:vbv-maxrate=500:vbv-bufsize=500": True,
    "bframes=2:sar=1/1": True,
    "bframes=2:sar=64/51": False,  # FFmpeg finds the shape of pixels when it decodes
    "bframes=0": False,  # nothing is reordered, says the header; FFmpeg looks at seven pictures before it believes that
    "bframes=2:overscan=show:colorprim=bt709:chromaloc=1": True,
}


@pytest.fixture
def header(encode, scene, tmp_path):
    def make(settings: str, pixel_format: str = "yuv420p") -> bytes:
        path = encode(
            tmp_path / "film.mp4", scene(8), pixel_format=pixel_format, options={"x264-params": f"log=-1:{settings}"}
        )
        with av.open(str(path)) as container:
            return bytes(container.streams.video[0].codec_context.extradata)

    return make


@pytest.mark.parametrize("settings", MADE)
def test_what_a_header_tells(header, settings):
    assert says_everything(header(settings)) is MADE[settings]


@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv422p10le"])
def test_other_shapes_of_pixels_are_understood(header, pixel_format):
    assert says_everything(header("bframes=3", pixel_format))


def test_scaling_lists_leave_doubt(header):
    # The set begins with profile 100, constraints and level, then in Exp-Golomb codes: set 0, 4:2:0, 8 bits, 8 bits,
    # not lossless ("1", "010", "1", "1", "0"), and one bit for scaling lists.
    whole = bytearray(header("bframes=3"))
    assert (whole[9], whole[12] & 0b11111111) == (100, 0b10101100)
    assert says_everything(bytes(whole))
    whole[12] |= 1
    assert not says_everything(bytes(whole))


def test_whatever_is_cut_off_or_strange_leaves_doubt(header):
    whole = header("bframes=3")
    length = int.from_bytes(whole[6:8], "big")
    for end in range(8 + length):
        assert not says_everything(whole[:end])
    assert not says_everything(b"\0\0\0\1" + whole)
    assert not says_everything(whole[:5] + b"\xe2" + whole[6:])  # two sets
    assert not says_everything(whole[:8] + b"\x68" + whole[9:])  # another kind
    for cut in range(1, length):  # a shorter set, told honestly
        says_everything(whole[:6] + cut.to_bytes(2, "big") + whole[8 : 8 + cut])


def told(path, monkeypatch, *, in_full: bool):
    """Everything that kinema takes from an open file before it decodes."""
    with monkeypatch.context() as patch:
        if in_full:
            patch.setattr("kinema.video.handle._opened_by_header", lambda *_: None)
        with Handle(path) as handle:
            stream, container = handle.stream, handle.container
            return (
                handle.time_base, handle.pixel_aspect, handle.frame_rate, container.format.name, container.duration,
                stream.index, stream.id, stream.duration, stream.codec_context.name, stream.codec_context.extradata,
                len(container.streams), len(container.streams.audio),
                dict(stream.metadata), len(stream.index_entries), read_timeline(handle, lambda *_: None),
            )  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["b_frames.mp4", "b_pyramid.mp4", "open_gop.mp4", "intra_refresh.mp4", "all_intra.mp4", "fragmented.mp4",
     "index_first.mp4"],
)  # fmt: skip
def test_a_file_opened_by_its_header_tells_the_same(made_video, name, monkeypatch):
    assert told(made_video(name), monkeypatch, in_full=False) == told(made_video(name), monkeypatch, in_full=True)


def test_real_files_opened_by_their_headers_tell_the_same(shared_video, monkeypatch):
    paths = sorted(path for path in shared_video.rglob("*") if path.suffix in {".mp4", ".mov"})
    by_header = 0
    for path in [*paths[::10], *(shared_video / "odd").glob("*.m*")]:
        assert told(path, monkeypatch, in_full=False) == told(path, monkeypatch, in_full=True), path
        with Handle(path) as handle:
            by_header += handle.opened_by_header
    assert by_header > 30


def test_the_rate_of_a_file_without_durations_is_found_by_looking(encode, scene, tmp_path):
    path = encode(tmp_path / "film.mp4", scene(12), options={"bf": "3"}, fps=10)
    with Handle(path) as handle:
        assert handle.opened_by_header
        assert handle.frame_rate == Fraction(10)
