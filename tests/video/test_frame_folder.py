import json
import os
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from kinema.core.errors import MediaError, UsageError
from kinema.video.file import VideoFile
from kinema.video.frame_folder import FrameFolder, frame_files, is_picture_name
from kinema.video.frame_record import FrameRecord, FrameTimes
from kinema.video.picture import Layout, Painter
from kinema.video.source import expand, is_frame_folder, open_recording, open_video
from kinema.video.still import decode_still, encode_jpeg
from kinema.video.writer import VideoWriter


def scene(count, width=96, height=64):
    small = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    still = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    return np.stack([np.roll(still, index, axis=1) for index in range(count)])


def save(folder, count=6, name="image_{:05d}.jpg", first=1, **size):
    folder.mkdir(exist_ok=True, parents=True)
    for index, picture in enumerate(torch.from_numpy(scene(count, **size)).permute(0, 3, 1, 2)):
        path = folder / name.format(index + first)
        if path.suffix == ".png":
            Image.fromarray(picture.permute(1, 2, 0).numpy()).save(path)
        else:
            path.write_bytes(encode_jpeg(picture, 90))
    return folder


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    "name",
    [
        "image_{:05d}.jpg",
        "img_{:05d}.jpg",
        "frame_{:06d}.jpg",
        "{:06d}.jpg",
        "{}.jpg",
        "v_a.b-{:04d}.JPEG",
        "{:03d}.png",
    ],
)
def test_the_pattern_is_seen(tmp_path, name, first):
    with FrameFolder(save(tmp_path / "a", 12, name, first)) as video:
        assert len(video.pts) == 12
        assert len(video.read(range(12))) == 12  # in the order of numbers, 2 before 10
        assert torch.equal(video.read([11]).data, torch.cat([each.data for each in video.frames()])[11:])
        assert not video.damage


def test_flow_hidden_files_and_records_are_no_pictures(tmp_path):
    folder = save(tmp_path / "a")
    for name in ("flow_x_00001.jpg", "flow_y_00001.jpg", ".image_00009.jpg", "n_frames.txt", "Thumbs.db"):
        (folder / name).write_bytes(b"x")
    assert len(frame_files(folder)) == 6


@pytest.mark.parametrize("other", ["img_00001.jpg", "image_00007.png", "image_00007.JPG"])
def test_two_patterns_are_refused(tmp_path, other):
    folder = save(tmp_path / "a")
    (folder / other).write_bytes(b"x")
    with pytest.raises(MediaError, match="pictures of 2 patterns") as caught:
        FrameFolder(folder)
    assert "image_#.jpg (6)" in caught.value.reason


def test_one_number_twice_is_refused(tmp_path):
    folder = save(tmp_path / "a")
    (folder / "image_1.jpg").write_bytes(b"x")
    with pytest.raises(MediaError, match=r"image_00001.jpg and image_1.jpg"):
        FrameFolder(folder)


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(MediaError, match="without numbered pictures"):
        FrameFolder(tmp_path)
    with pytest.raises(MediaError, match="No such"):
        FrameFolder(tmp_path / "gone")


def broken_folder(folder, what):
    save(folder)
    third = folder / "image_00003.jpg"
    if what == "missing":
        third.unlink()
    elif what == "empty":
        third.write_bytes(b"")
    elif what == "cut off":
        third.write_bytes(third.read_bytes()[:-20])
    elif what == "no picture":
        third.write_bytes(b"not a picture")
    elif what == "other size":
        save(folder / "small", 1, width=48, height=32)
        third.write_bytes((folder / "small" / "image_00001.jpg").read_bytes())
    elif what == "bomb":
        data = bytearray(third.read_bytes())
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = b"\xea\x60\xea\x60"
        third.write_bytes(data)


REASONS = {
    "missing": "the picture is missing",
    "empty": "the picture is empty",
    "cut off": "the picture is cut off",
    "no picture": "not a JPEG or PNG",
    "other size": "48x32 pixels, where the first has 96x64",
    "bomb": "60000x60000 pixels",
}


@pytest.mark.parametrize("what", REASONS)
def test_damage_names_the_picture_and_raises_when_all_was_given(tmp_path, what):
    broken_folder(tmp_path / "a", what)
    seen = []
    with FrameFolder(tmp_path / "a") as video, pytest.raises(MediaError) as caught:
        seen.extend(len(frames) for frames in video.frames(chunk_frames=2))
    assert sum(seen) == 5
    assert "image_00003.jpg" in caught.value.reason
    assert REASONS[what] in caught.value.reason


@pytest.mark.parametrize("what", REASONS)
def test_damage_is_noted_where_it_is_allowed(tmp_path, what):
    broken_folder(tmp_path / "a", what)
    with FrameFolder(tmp_path / "a", strict=False) as video:
        (frames,) = video.frames()
        assert frames.pts == (0, 1, 3, 4, 5)  # the others keep their times
        (place,) = video.damage
        assert place.seconds == pytest.approx(2 / 25)
        assert len(video.read([0, 1])) == 2
        with pytest.raises(MediaError, match="image_00003"):
            video.read([1, 2])


def test_a_pipe_among_the_pictures_is_not_waited_for(tmp_path):
    folder = save(tmp_path / "a", 2)
    (folder / "image_00002.jpg").unlink()
    os.mkfifo(folder / "image_00002.jpg")
    with FrameFolder(folder) as video, pytest.raises(MediaError, match="it is a pipe"):
        video.read([1])


def test_damage_elsewhere_does_not_matter(tmp_path):
    broken_folder(tmp_path / "a", "cut off")
    with FrameFolder(tmp_path / "a") as video:
        assert len(next(video.frames(start_seconds=3 / 25))) == 3


def test_nothing_that_decodes_is_an_error(tmp_path):
    (tmp_path / "000001.jpg").write_bytes(b"x")
    with FrameFolder(tmp_path, strict=False) as video, pytest.raises(MediaError, match="none of its 1 pictures"):
        list(video.frames())


def test_numbers_that_begin_late_lack_the_ones_before(tmp_path):
    with FrameFolder(save(tmp_path / "a", first=4), strict=False) as video:
        assert [place.reason for place in video.damage] == [
            f"image_0000{n}.jpg: the picture is missing" for n in (1, 2, 3)
        ]


def test_a_record_may_say_where_numbers_begin(tmp_path):
    folder = save(tmp_path / "a", first=400)
    (folder / "frames.json").write_text('{"fps": "30000/1001", "first_number": 400}')
    with FrameFolder(folder) as video:
        assert len(next(video.frames())) == 6
        assert video.info.average_fps == pytest.approx(30000 / 1001)


def test_numbers_far_from_a_sequence_are_refused(tmp_path):
    save(tmp_path / "a", first=20_220_101)
    with pytest.raises(MediaError, match="numbers from 20220101"):
        FrameFolder(tmp_path / "a")


def test_without_a_record_25_frames_a_second_are_assumed_and_said(tmp_path):
    with FrameFolder(save(tmp_path / "a")) as video:
        assert video.info.rate_assumed
        assert (video.info.average_fps, video.info.time_base) == (25, Fraction(1, 25))
        assert video.times == pytest.approx([index / 25 for index in range(6)])


@pytest.mark.parametrize(("fps", "exact"), [("30", Fraction(30)), ("12.5", Fraction(25, 2)), ('"30000/1001"', None)])
def test_a_record_by_hand_tells_the_rate(tmp_path, fps, exact):
    folder = save(tmp_path / "a")
    (folder / "frames.json").write_text(f'{{"fps": {fps}}}')
    with FrameFolder(folder) as video:
        assert not video.info.rate_assumed
        assert video.info.time_base == 1 / (exact or Fraction(30000, 1001))


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"fps": 0}', '{"fps": true}', '{"fps": "1/0"}', '{"fps": 25, "version": 2}',
     '{"fps": 25, "count": 2, "pts": [0, 1, 2], "end_pts": 3, "time_base": "1/25"}',
     '{"fps": 25, "count": 2, "pts": [1, 0], "end_pts": 3, "time_base": "1/25"}'],
)  # fmt: skip
def test_a_damaged_record_is_refused(tmp_path, text):
    folder = save(tmp_path / "a")
    (folder / "frames.json").write_text(text)
    with pytest.raises(MediaError, match=r"frames\.json"):
        FrameFolder(folder)


@pytest.mark.parametrize("teller", ["frames.json", "n_frames"])
def test_a_count_that_is_not_reached_is_damage(tmp_path, teller):
    folder = save(tmp_path / "a")
    (folder / teller).write_text('{"fps": 25, "count": 8}' if teller == "frames.json" else "8")
    with FrameFolder(folder, strict=False) as video:
        assert [place.reason[:15] for place in video.damage] == ["image_00007.jpg", "image_00008.jpg"]
        assert video.info.frame_count == 8


def test_more_pictures_than_promised_are_refused(tmp_path):
    folder = save(tmp_path / "a")
    (folder / "n_frames").write_text("5\n")
    with pytest.raises(MediaError, match="numbered 1 to 6, but 5 from 1 on"):
        FrameFolder(folder)


def test_exact_uneven_times_come_back(tmp_path):
    folder = save(tmp_path / "a", 3)
    times = FrameTimes((10, 13, 20), 24, Fraction(1, 90))
    record = FrameRecord(Fraction(3 * 90, 14), 3, 1, times)
    record.write(folder)
    assert FrameRecord.read(folder) == record
    assert json.loads((folder / "frames.json").read_text())["schema"] == "kinema.frames"
    with FrameFolder(folder) as video:
        assert video.pts == (10, 13, 20)
        assert video.times == pytest.approx([0, 3 / 90, 10 / 90])
        assert video.info.variable_frame_rate
        assert video.info.duration_seconds == pytest.approx(14 / 90)
        (frames,) = video.frames(start_seconds=0.03, end_seconds=0.1)
        assert frames.pts == (13,)


@pytest.mark.parametrize("short_side_px", [None, 24, 80])
def test_reading_is_decoding_the_picture_then_resizing(tmp_path, short_side_px):
    folder = save(tmp_path / "a", 2)
    picture = decode_still((folder / "image_00002.jpg").read_bytes(), "a")
    painter = Painter("a", Layout.of(picture, Fraction(1), short_side_px))
    expected = painter.canvas(1)
    painter.paint(picture, expected[0])
    with FrameFolder(folder, short_side_px=short_side_px) as video:
        assert torch.equal(video.read([1]).data, expected)
        assert min(expected.shape[-2:]) == (short_side_px or 64)


def test_frames_equal_the_video_they_come_from_up_to_jpeg(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", fps=25, size=(96, 64), crf=10) as writer:
        writer.write(scene(8))
    folder = tmp_path / "frames"
    folder.mkdir()
    with VideoFile(tmp_path / "a.mp4") as video:
        for index, picture in enumerate(video.read(range(8)).data):
            (folder / f"image_{index + 1:05d}.jpg").write_bytes(encode_jpeg(picture, 95))
    with VideoFile(tmp_path / "a.mp4", short_side_px=32) as video, FrameFolder(folder, short_side_px=32) as frames:
        of_video, of_frames = video.read(range(8)), frames.read(range(8))
    assert of_video.data.shape == of_frames.data.shape
    difference = (of_video.data.int() - of_frames.data.int()).abs().float()
    assert difference.mean() < 4  # of 255; the next frame differs by 10 times that
    shifted = (of_video.data[1:].int() - of_frames.data[:-1].int()).abs().float()
    assert shifted.mean() > difference.mean()


def test_indices_out_of_range_are_refused(tmp_path):
    with FrameFolder(save(tmp_path / "a")) as video:
        for indices in ([], [-1], [6]):
            with pytest.raises(UsageError):
                video.read(indices)
        assert video.read([3, 1, 3]).pts == (3, 1, 3)
        with pytest.raises(UsageError):
            video.frames(chunk_frames=0)
        with pytest.raises(UsageError):
            video.frames(start_seconds=2, end_seconds=1)
    with pytest.raises(UsageError):
        FrameFolder(tmp_path / "a", short_side_px=0)


def test_a_folder_of_frames_is_known_by_what_lies_in_it(tmp_path):
    assert is_frame_folder(save(tmp_path / "a"))
    assert not is_frame_folder(tmp_path)  # a folder of folders
    (tmp_path / "a" / "clip.mp4").touch()
    assert not is_frame_folder(tmp_path / "a")  # a video with its thumbnails
    assert not is_frame_folder(tmp_path / "gone")
    assert is_picture_name("a1.jpg")
    assert not is_picture_name("cover.jpg")


def test_sources_name_folders_of_frames(tmp_path):
    save(tmp_path / "b" / "c")
    save(tmp_path / "a")
    (tmp_path / "d.mp4").touch()
    assert expand([str(tmp_path)]) == [str(tmp_path / "a"), str(tmp_path / "b" / "c"), str(tmp_path / "d.mp4")]
    assert expand([str(tmp_path / "a")]) == [str(tmp_path / "a")]
    assert expand([str(tmp_path / "?")]) == [str(tmp_path / "a"), str(tmp_path / "b" / "c")]
    with open_recording(tmp_path / "a") as video:
        assert isinstance(video, FrameFolder)
    with open_video(str(tmp_path / "a"), short_side_px=16) as video:
        assert next(video.frames()).data.shape[-2:] == (16, 24)
