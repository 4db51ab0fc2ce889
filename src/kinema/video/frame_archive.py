"""An HDF5 file of JPEG pictures as a video: one file a video, a dataset `video` of variable-length bytes.

The layout that 3D-ResNets-PyTorch writes. It tells no rate; an attribute `fps` of the dataset, a number or a
text such as `30000/1001`, does where somebody has set it.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from kinema.core.errors import MediaError, UsageError
from kinema.video.frame_record import ASSUMED_FPS, even_timeline, exact_fps
from kinema.video.picture_sequence import PictureSequence

__all__ = ["ARCHIVE_SUFFIXES", "FrameArchive"]

ARCHIVE_SUFFIXES = frozenset({".hdf5", ".h5"})
_DATASET = "video"
_SHAPE = f"a dataset '{_DATASET}' of one dimension, each element the bytes of one JPEG picture"


class FrameArchive(PictureSequence):
    """An HDF5 file of JPEG pictures; use it as a context manager, as a `VideoFile`.

    Without an attribute `fps`, 25 frames a second are assumed, which `info.rate_assumed` tells.

    Args:
        path: the file.
        short_side_px: scale frames, up or down, to this shorter side; None keeps the size.
        strict: whether damage raises or is only noted in `damage`.

    Raises:
        MediaError: no HDF5 file, or one of another layout.
        UsageError: h5py is not installed, or an argument out of range.
    """

    def __init__(self, path: Path | str, *, short_side_px: int | None = None, strict: bool = True) -> None:
        h5py = _library()
        try:
            self._file: Any = h5py.File(path, "r")
        except OSError as error:
            raise MediaError(path, f"not an HDF5 file, or a damaged one: {_line(error)}") from error
        try:
            self._video = _dataset(h5py, self._file, path)
            count, fps = len(self._video), _fps(self._video, path)
            super().__init__(
                path,
                short_side_px=short_side_px,
                strict=strict,
                timeline=even_timeline(count, fps or ASSUMED_FPS),
                rate_assumed=fps is None,
            )
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Release the file; more than once does no harm."""
        self._file.close()

    def _bytes(self, index: int) -> bytes:
        if not self._file:
            raise UsageError(f"reading from {self.path}, which was closed", allowed="reading inside its `with` block")
        try:
            return bytes(self._video[index].tobytes())
        except (OSError, RuntimeError, KeyError, AttributeError) as error:
            raise MediaError(self._name(index), f"the archive cannot be read here: {_line(error)}") from error

    def _name(self, index: int) -> str:
        return f"picture {index}"


def _library() -> Any:
    try:
        import h5py  # noqa: PLC0415  an extra: only who has such archives needs it
    except ModuleNotFoundError as error:
        raise UsageError(
            "archives of frames in HDF5 need the package h5py, which is not installed",
            allowed="videos and folders of frames, without it",
            next_step="pip install 'kinema[hdf5]'",
        ) from error
    return h5py


def _dataset(h5py: Any, file: Any, path: Path | str) -> Any:
    names = sorted(file)
    if _DATASET not in names:
        flow = {"video_u", "video_v"} <= set(names)
        what = "optical flow (video_u, video_v)" if flow else ", ".join(names[:8]) or "nothing"
        raise MediaError(path, f"no dataset '{_DATASET}' in it, but {what}", allowed=_SHAPE)
    link = file.get(_DATASET, getlink=True)
    video = file[_DATASET] if isinstance(link, h5py.HardLink) else None
    # What an archive holds lies in it: links and external storage could read any file of this machine.
    if not isinstance(video, h5py.Dataset) or video.external is not None or video.is_virtual:
        raise MediaError(path, f"'{_DATASET}' in it is no dataset of this file", allowed=_SHAPE)
    if video.ndim != 1 or h5py.check_vlen_dtype(video.dtype) != "uint8":
        raise MediaError(path, f"its dataset '{_DATASET}' is {video.dtype} {video.shape}", allowed=_SHAPE)
    if not len(video):
        raise MediaError(path, "it holds no pictures", allowed="a video of at least one picture")
    return video


def _fps(video: Any, path: Path | str) -> Fraction | None:
    given = video.attrs.get("fps")
    if given is None:
        return None
    try:
        return exact_fps(given.item() if hasattr(given, "item") else given)
    except ValueError as error:
        raise MediaError(
            path, f"its attribute fps is {given!r}", allowed="frames a second, as a number or a text such as 30000/1001"
        ) from error


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
