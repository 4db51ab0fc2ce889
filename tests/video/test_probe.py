from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import pytest

from kinema.core.errors import MediaError
from kinema.video.probe import probe


@dataclass(frozen=True)
class Odd:
    """What a file is, found with FFmpeg's own tools and by eye, not with kinema."""

    name: str
    size: tuple[int, int]  # (width, height) as displayed
    count: int
    duration: Fraction  # seconds
    codec: str
    pixel_format: str
    time_base: Fraction
    start_pts: int = 0
    rotation: int = 0
    variable: bool = False


ODD = [
    Odd("animated.gif", (64, 48), 4, Fraction(4, 10), "gif", "bgra", Fraction(1, 100)),
    Odd("corrupted.mp4", (1280, 720), 50, Fraction(5), "h264", "yuv420p", Fraction(1, 10240)),
    # 340x256 stored with pixels of 64:51, so 426.67 wide
    Odd("demo.mp4", (427, 256), 280, Fraction(10), "h264", "yuv420p", Fraction(1, 14336)),
    # 30 packets, of which the edit list hides 5
    Odd("discard_first_keyframe.mp4", (64, 64), 25, Fraction(1), "h264", "yuv420p", Fraction(1, 12800)),
    Odd("h264_10bits.mp4", (200, 200), 30, Fraction(1), "h264", "yuv420p10le", Fraction(1, 15360)),
    Odd(
        "nasa_13013_rotated.mp4", (270, 480), 17, Fraction(17 * 1001, 30000), "h264", "yuv420p", Fraction(1, 30000),
        rotation=270,
    ),
    # the last frame comes one late: the file lasts longer than its header's 16384 units
    Odd("part_0.mp4", (455, 256), 32, Fraction(33, 30), "h264", "yuv420p", Fraction(1, 15360), variable=True),
    Odd("test.mp4", (455, 256), 300, Fraction(10), "h264", "yuv420p", Fraction(1, 15360)),
    # pixels of 224:225: higher than wide, by less than half a line of the picture
    Odd("test_non_zero_start.mp4", (200, 112), 12, Fraction(4, 10), "h264", "yuv420p", Fraction(1, 15360), 127995),
    Odd("testsrc2_mpeg4.mp4", (64, 64), 1, Fraction(1, 25), "mpeg4", "yuv420p", Fraction(1, 12800)),
    Odd("testsrc2_odd_height_and_width_444.mp4", (321, 241), 25, Fraction(1), "h264", "yuv444p", Fraction(1, 12800)),
    Odd("testsrc2_vp9.webm", (1280, 720), 30, Fraction(1), "vp9", "yuv420p", Fraction(1, 1000)),
    Odd(
        "v_Biking_g05_c02.avi", (320, 240), 201, Fraction(201 * 1001, 30000), "mpeg4", "yuv420p",
        Fraction(1001, 30000),
    ),
    Odd("video_90.mov", (320, 568), 3, Fraction(3, 30), "h264", "yuv420p", Fraction(1, 19200), rotation=90),
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.name)
def test_odd_files_are_described_as_they_are(shared_video, odd):
    info = probe(shared_video / "odd" / odd.name)
    assert (info.width_px, info.height_px) == odd.size
    assert info.frame_count == odd.count
    assert info.duration_seconds == float(odd.duration)
    assert info.average_fps == pytest.approx(float(odd.count / odd.duration), rel=1e-12)
    assert (info.codec, info.pixel_format, info.time_base) == (odd.codec, odd.pixel_format, odd.time_base)
    assert (info.start_pts, info.rotation_degrees) == (odd.start_pts, odd.rotation)
    assert info.variable_frame_rate is odd.variable


def test_every_odd_file_has_its_row(shared_video):
    assert {path.name for path in (shared_video / "odd").iterdir()} == {odd.name for odd in ODD}


@pytest.mark.parametrize(
    ("name", "variable"),
    [("b_frames.mp4", False), ("open_gop.mkv", False), ("variable.mkv", True), ("raw.h264", False)],
)
def test_the_rounding_of_a_clock_is_no_variable_rate(made_video, name, variable):
    assert probe(made_video(name)).variable_frame_rate is variable


def test_a_variable_rate_is_averaged_over_the_time_shown(made_video):
    info = probe(made_video("variable.mkv"))
    last_seconds = (47 + 47 * 47 // 3) / 25
    assert info.duration_seconds > last_seconds
    assert info.average_fps == pytest.approx(48 / info.duration_seconds)


def test_a_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "street.mp4").touch()
    with pytest.raises(MediaError, match=r"no such file; did you mean 'street.mp4'") as caught:
        probe(tmp_path / "stret.mp4")
    assert caught.value.path == tmp_path / "stret.mp4"


def test_what_is_no_video_says_why(tmp_path):
    folder, empty, text, song = (tmp_path / name for name in ("folder.mp4", "empty.mp4", "text.mp4", "song.wav"))
    folder.mkdir()
    empty.touch()
    text.write_text("not a video " * 100)
    with av.open(str(song), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    for path, reason in ((folder, "folder"), (empty, "empty"), (text, "not a video"), (song, "only audio")):
        with pytest.raises(MediaError, match=reason):
            probe(path)


def test_a_file_of_which_nothing_decodes_is_refused(made_video, tmp_path):
    data = bytearray(made_video("index_first.mp4").read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = bytes(len(data) - start)
    path = tmp_path / "blank.mp4"
    path.write_bytes(data)
    with pytest.raises(MediaError, match="none of its 48 pictures can be decoded"):
        probe(path)


def test_a_file_cut_off_before_its_index_says_so(made_video, tmp_path):
    whole = made_video("b_frames.mp4").read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(MediaError, match="cut off where its index is"):
        probe(path)
