"""One open container: its packets, its decoded pictures, and FFmpeg's failures as reasons a person can read.

FFmpeg conceals what is broken and says so on stderr, if at all. Here every sign it gives (errors of
the demuxer and the decoder, packets and pictures it flags) is handed to the caller, and nothing is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import av
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from kinema.core.errors import MediaError, UsageError, nearest
from kinema.video.limits import MOST_PIXELS, require_claims, require_regular, require_size

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from typing_extensions import Self

__all__ = ["Handle", "Keyframe", "Report", "reason_of"]

Report = Callable[[int | None, str], None]
"""Takes the time of what is broken (in units of the time base; None: unknown) and the reason."""


@dataclass(frozen=True)
class Keyframe:
    """A packet that decodes without any other.

    Attributes:
        pts: presentation time, in units of the stream's time base.
        dts: decoding time likewise, at most `pts`.
        position: of its first byte in the file; None where that is unknown.
    """

    pts: int
    dts: int
    position: int | None = None

    def is_in(self, packet: Packet[VideoStream]) -> bool:
        """Whether this is `packet`; in a damaged AVI another one may have its times after a seek."""
        placed = self.position is None or packet.pos is None or packet.pos == self.position
        return packet.is_keyframe and packet.pts == self.pts and placed


class Handle:
    """An open file or stream and the one video stream in it that is read; a context manager.

    Args:
        source: a path, or a URL where `timeouts` are given.
        threads: decoder threads; 1 decodes in the calling thread and starts none.
        timeouts: seconds to wait for (opening, each packet); None waits for ever, as local files allow.
        options: FFmpeg's options for the container.

    Attributes:
        time_base: seconds a unit of packet and picture times.
        pixel_aspect: width of a stored pixel by its height.

    Raises:
        MediaError: the source cannot be opened, or holds no video.
        UsageError: less than one thread.
    """

    def __init__(
        self,
        source: Path | str,
        *,
        threads: int = 1,
        timeouts: tuple[float, float] | None = None,
        options: dict[str, str] | None = None,
    ) -> None:
        if threads < 1:
            raise UsageError(f"{threads} decoder threads", allowed="1 or more")
        self.source = source
        self.threads = threads
        self._timeouts = timeouts
        self._options = options or {}
        self._opened: tuple[InputContainer, VideoStream] | None = self._open()
        self._at_start = True
        self.time_base = self.stream.time_base or Fraction(1)
        self.pixel_aspect = self.stream.sample_aspect_ratio or Fraction(1)

    @property
    def container(self) -> InputContainer:
        """The open container; UsageError when closed, where FFmpeg would read freed memory."""
        return self._require_open()[0]

    @property
    def stream(self) -> VideoStream:
        """The video stream that is read; UsageError when closed."""
        return self._require_open()[1]

    def _require_open(self) -> tuple[InputContainer, VideoStream]:
        if self._opened is None:
            raise UsageError(f"reading from {self.source}, which was closed", allowed="reading inside its `with` block")
        return self._opened

    def _open(self) -> tuple[InputContainer, VideoStream]:
        url = str(self.source)
        if self._timeouts is None:
            _check_file(Path(self.source))
            # A colon in a name is no protocol. What is read as a file may not lead to the network either.
            url = f"file:{url}"
        options = self._options | _LIMITS
        try:
            container = av.open(url, "r", options=options, timeout=self._timeouts, **_TOLERANT)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._refusal(error) from error
        stream = container.streams.best("video")
        # Cover pictures of songs count as video too; a codec that FFmpeg lacks has no context.
        if (
            not isinstance(stream, VideoStream)
            or stream.codec_context is None
            or Disposition.attached_pic in stream.disposition
        ):
            kinds = ", ".join(sorted({each.type for each in container.streams})) or "nothing"
            container.close()
            raise MediaError(
                self.source, f"no video in it that can be decoded, only {kinds}", allowed="a file with a video stream"
            )
        try:
            require_size(self.source, stream.codec_context.width, stream.codec_context.height)
        except MediaError:
            container.close()
            raise
        self._prepare(container, stream)
        return container, stream

    def _prepare(self, container: InputContainer, stream: VideoStream) -> None:
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        stream.thread_count = self.threads
        if self.threads > 1:
            stream.thread_type = "AUTO"
        options = dict(_LIMITS)
        if stream.codec_context.name == "mjpeg":
            # Its pictures stand alone, and without this its decoder never tells that one is broken.
            options["err_detect"] = "explode"
        stream.codec_context.options = options

    def _refusal(self, error: Exception) -> MediaError:
        reason = reason_of(error)
        if isinstance(error, (av.error.InvalidDataError, av.error.EOFError)):
            reason = "not a video, or one that is damaged or cut off where its index is"
        if self._timeouts is None:
            step = "play it in another program; if that fails too, copy it again from where it came"
            return MediaError(self.source, reason, next_step=step)
        if isinstance(error, av.error.ExitError):
            reason = f"no answer within {self._timeouts[0]:g} s"
        return MediaError(
            self.source,
            reason,
            allowed="the address of a camera or server that answers and sends video",
            next_step="check the address, and that the camera or server can be reached from this machine",
        )

    def packets(self, report: Report) -> Iterator[Packet[VideoStream]]:
        """Packets from where the container stands, the last one empty (it flushes the decoder); errors are reported."""
        self._at_start = False
        try:
            yield from self.container.demux(self.stream)
        except (av.FFmpegError, OSError) as error:
            reason = reason_of(error)
            if isinstance(error, av.error.ExitError) and self._timeouts is not None:
                reason = f"nothing arrives for {self._timeouts[1]:g} s"
            report(None, f"reading stops early: {reason}")
            yield cast("Packet[VideoStream]", Packet())

    def pictures(self, report: Report, packets: Iterator[Packet[VideoStream]] | None = None) -> Iterator[VideoFrame]:
        """Decoded pictures of `packets` (from where the container stands) in the order they are shown."""
        stream = self.stream
        for packet in self.packets(report) if packets is None else packets:
            if packet.is_corrupt:
                report(packet.pts, "a picture arrives incomplete")
            try:
                decoded = stream.decode(packet)
            except (av.FFmpegError, OSError) as error:
                unsized = f"its size is missing or above {MOST_PIXELS} pixels"
                reason = reason_of(error) if stream.codec_context.width else unsized
                report(packet.pts, f"a picture cannot be decoded: {reason}")
                continue
            for picture in decoded:
                if picture.is_corrupt:
                    report(picture.pts, "a picture decodes with errors")
                yield picture

    def packets_from(self, key: Keyframe | None, report: Report) -> Iterator[Packet[VideoStream]]:
        """Packets from keyframe `key` on (None: all), wherever the container stands now.

        Containers differ in whether they seek by decoding or by presentation time, and some miss. So
        both are tried, what arrives is checked, and what no seek finds is found by reading from the start.
        """
        if key is not None:
            for time in (key.pts, key.dts):
                found = self._sought(time, key, report)
                if found is not None:
                    return found
        self.rewind()
        packets = self.packets(report)
        return packets if key is None else _after(packets, key, strictly=False) or packets

    def _sought(self, time: int, key: Keyframe, report: Report) -> Iterator[Packet[VideoStream]] | None:
        try:
            self.container.seek(time, stream=self.stream)
        except (av.FFmpegError, OSError):
            self._at_start = False
            return None
        return _after(self.packets(report), key, strictly=True)

    def rewind(self) -> None:
        """Stand at the very first packet again; by opening anew, since not every container seeks there."""
        self._require_open()
        if not self._at_start:
            self.close()
            self._opened = self._open()
            self._at_start = True

    def close(self) -> None:
        """Release the file; more than once does no harm."""
        if self._opened is not None:
            self._opened[0].close()
            self._opened = None  # the decoder, its memory and its threads go with the last reference

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


# A title in another encoding than UTF-8 must not make a video unreadable; from version 19 on PyAV sees to it.
_TOLERANT: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


# FFmpeg decodes while it opens, and sizes can grow in the middle of a stream: decoders see them before we do.
_LIMITS = {"max_pixels": str(MOST_PIXELS)}


def reason_of(error: Exception) -> str:
    """What FFmpeg says of `error`, without number and path."""
    return str(getattr(error, "strerror", None) or error)


def _check_file(path: Path) -> None:
    """Answer the plain mistakes before FFmpeg answers them with a number."""
    require_regular(path)
    if not path.exists():
        siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise MediaError(path, f"no such file{nearest(path.name, siblings)}", allowed="a video file that exists")
    if path.stat().st_size == 0:
        raise MediaError(path, "the file is empty", next_step="copy it again from where it came")
    require_claims(path)


def _after(
    packets: Iterator[Packet[VideoStream]], key: Keyframe, *, strictly: bool
) -> Iterator[Packet[VideoStream]] | None:
    """`packets` from `key` on; None when they start behind it (`strictly`: give up at the first later one)."""
    for packet in packets:
        if key.is_in(packet):
            return chain([packet], packets)
        if strictly and (packet.dts is None or packet.dts > key.dts):
            return None
    return None
