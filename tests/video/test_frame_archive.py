import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from kinema.core.errors import MediaError, UsageError
from kinema.video.frame_archive import FrameArchive
from kinema.video.frame_folder import FrameFolder
from kinema.video.source import expand, open_recording
from kinema.video.still import encode_jpeg

h5py = pytest.importorskip("h5py")


def jpegs(count=5):
    small = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    still = np.asarray(Image.fromarray(small).resize((96, 64), Image.Resampling.BICUBIC))
    pictures = torch.from_numpy(np.stack([np.roll(still, index, axis=1) for index in range(count)]))
    return [encode_jpeg(picture, 90) for picture in pictures.permute(0, 3, 1, 2)]


def archive(path, pictures, name="video", **attributes):
    with h5py.File(path, "w") as file:
        video = file.create_dataset(name, (len(pictures),), dtype=h5py.special_dtype(vlen=np.dtype("uint8")))
        for index, data in enumerate(pictures):
            video[index] = np.frombuffer(data, np.uint8)
        video.attrs.update(attributes)
    return path


def test_an_archive_reads_as_the_folder_it_was_made_of(tmp_path):
    pictures = jpegs()
    for index, data in enumerate(pictures):
        (tmp_path / f"image_{index + 1:05d}.jpg").write_bytes(data)
    archive(tmp_path / "a.hdf5", pictures)
    with (
        FrameArchive(tmp_path / "a.hdf5", short_side_px=32) as packed,
        FrameFolder(tmp_path, short_side_px=32) as loose,
    ):
        assert torch.equal(packed.read([4, 0]).data, loose.read([4, 0]).data)
        assert packed.times == loose.times
        assert torch.equal(next(packed.frames()).data, next(loose.frames()).data)
        assert packed.info.rate_assumed
        assert (packed.info.codec, packed.info.width_px, packed.info.frame_count) == ("mjpeg", 96, 5)


@pytest.mark.parametrize("fps", [30, 29.97, "30000/1001", np.float32(12.5)])
def test_an_attribute_tells_the_rate(tmp_path, fps):
    with FrameArchive(archive(tmp_path / "a.hdf5", jpegs(), fps=fps)) as video:
        assert not video.info.rate_assumed
        assert video.info.average_fps == pytest.approx(float(Fraction(str(fps))))


def test_an_attribute_that_is_no_rate_is_refused(tmp_path):
    with pytest.raises(MediaError, match="its attribute fps"):
        FrameArchive(archive(tmp_path / "a.hdf5", jpegs(), fps="fast"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "picture 2: the picture is empty"), (jpegs()[0][:-9], "cut off"), (b"no picture", "not a JPEG")],
)
def test_a_damaged_picture_is_named(tmp_path, data, reason):
    path = archive(tmp_path / "a.hdf5", [*jpegs(2), data, *jpegs(1)])
    with FrameArchive(path) as video, pytest.raises(MediaError, match="picture 2") as caught:
        list(video.frames())
    assert reason in caught.value.reason
    with FrameArchive(path, strict=False) as video:
        assert sum(len(frames) for frames in video.frames()) == 3


def test_other_layouts_are_refused(tmp_path):
    path = archive(tmp_path / "a.hdf5", jpegs(), name="video_u")
    with h5py.File(path, "a") as file:
        file["video_v"] = file["video_u"]
    with pytest.raises(MediaError, match=r"optical flow \(video_u, video_v\)"):
        FrameArchive(path)
    with pytest.raises(MediaError, match="but features"):
        FrameArchive(archive(tmp_path / "b.hdf5", jpegs(), name="features"))
    with h5py.File(tmp_path / "c.hdf5", "w") as file:
        file["video"] = np.zeros((3, 8, 8, 3), np.uint8)
    with pytest.raises(MediaError, match="its dataset 'video' is uint8"):
        FrameArchive(tmp_path / "c.hdf5")
    with pytest.raises(MediaError, match="no pictures"):
        FrameArchive(archive(tmp_path / "d.hdf5", []))
    (tmp_path / "e.hdf5").write_bytes(b"no archive")
    with pytest.raises(MediaError, match="not an HDF5 file"):
        FrameArchive(tmp_path / "e.hdf5")


def test_links_that_lead_out_of_the_file_are_refused(tmp_path):
    archive(tmp_path / "secret.hdf5", jpegs())
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["video"] = h5py.ExternalLink("secret.hdf5", "/video")
    with pytest.raises(MediaError, match="no dataset of this file"):
        FrameArchive(tmp_path / "a.hdf5")


def test_reading_after_closing_is_refused(tmp_path):
    video = FrameArchive(archive(tmp_path / "a.hdf5", jpegs()))
    video.close()
    video.close()
    with pytest.raises(UsageError, match="closed"):
        video.read([0])


def test_sources_and_folders_find_archives(tmp_path):
    archive(tmp_path / "a.hdf5", jpegs())
    assert expand([str(tmp_path)]) == [str(tmp_path / "a.hdf5")]
    with open_recording(tmp_path / "a.hdf5") as video:
        assert isinstance(video, FrameArchive)


def test_a_missing_library_is_answered_by_the_command_that_installs_it(tmp_path, monkeypatch):
    archive(tmp_path / "a.hdf5", jpegs())
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match="h5py") as caught:
        open_recording(tmp_path / "a.hdf5")
    assert caught.value.next_step == "pip install 'kinema[hdf5]'"
