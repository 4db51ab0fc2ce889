"""One open container: its packets, its decoded pictures, and FFmpeg's failures as reasons a person can read.

FFmpeg conceals what is broken and says so on stderr, if at all. Here every sign it gives (errors of
the demuxer and the decoder, packets and pictures it flags) is handed to the caller, and nothing is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import av
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from kinema.core.errors import MediaError, UsageError, nearest
from kinema.video.limits import MOST_PIXELS, require_claims, require_regular, require_size
from kinema.video.sequence_header import says_everything

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
        threads: to decode with, of which small pictures leave one to whoever converts them (`converting_threads`);
            1 decodes in the calling thread and starts none.
        timeouts: seconds to wait for (opening, each packet); None waits for ever, as local files allow.
        options: FFmpeg's options for the container.

    Attributes:
        time_base: seconds a unit of packet and picture times.
        pixel_aspect: width of a stored pixel by its height.
        converting_threads: how many of `threads` are left for converting pictures, 0 or 1.
        opened_by_header: whether nothing was decoded to find out what is in the file.

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
        self.converting_threads = 0
        self._at_start = True
        self._decoding = False
        self._kept: list[Packet[VideoStream]] | None = None
        self._opened: tuple[InputContainer, VideoStream] | None = self._open()
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
        container = None if self._timeouts is not None else _opened_by_header(Path(self.source), url)
        self.opened_by_header = container is not None
        try:
            if container is None:
                options = self._options | _LIMITS
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
        pixels = stream.codec_context.width * stream.codec_context.height
        self.converting_threads = int(self.threads > 1 and pixels <= _SMALL_PIXELS)
        stream.thread_count = self.threads - self.converting_threads
        if stream.thread_count > 1:
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

    @property
    def frame_rate(self) -> Fraction | None:
        """Pictures a second as the file claims; None where nothing does."""
        if self.opened_by_header:  # FFmpeg guesses it from pictures, which were not looked at
            with av.open(f"file:{self.source}", "r", options=_LIMITS, **_TOLERANT) as whole:
                return _rate_of(whole.streams.video[0])
        return _rate_of(self.stream)

    @property
    def is_untouched(self) -> bool:
        """Whether it is open and nothing has been decoded, on which what is decoded next might depend."""
        return self._opened is not None and not self._decoding

    def packets(self, report: Report, *, keep: bool = False) -> Iterator[Packet[VideoStream]]:
        """Packets from where the container stands, the last one empty (it flushes the decoder); errors are reported.

        Args:
            report: is told of errors.
            keep: hold on to them if they are all, and few, so that `packets_from` need not read them again.
        """
        # A damaged FLV gives another last picture where all of it is read before any is decoded.
        keep = keep and self._at_start and self.container.format.name != "flv"
        kept: list[Packet[VideoStream]] | None = [] if keep else None
        room = _KEPT_BYTES
        self._at_start = False
        try:
            for packet in self.container.demux(self.stream):
                if kept is not None:
                    room -= packet.size + _PACKET_BYTES
                    if room < 0:
                        kept = None
                    else:
                        kept.append(packet)
                yield packet
        except (av.FFmpegError, OSError) as error:
            reason = reason_of(error)
            if isinstance(error, av.error.ExitError) and self._timeouts is not None:
                reason = f"nothing arrives for {self._timeouts[1]:g} s"
            report(None, f"reading stops early: {reason}")
            yield cast("Packet[VideoStream]", Packet())
        else:
            self._kept = kept

    def pictures(self, report: Report, packets: Iterator[Packet[VideoStream]] | None = None) -> Iterator[VideoFrame]:
        """Decoded pictures of `packets` (from where the container stands) in the order they are shown."""
        stream = self.stream
        for packet in self.packets(report) if packets is None else packets:
            self._decoding = True
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
        kept = self._kept_from(key)
        if kept is not None:
            return kept
        if key is not None:
            for time in (key.pts, key.dts):
                found = self._sought(time, key, report)
                if found is not None:
                    return found
        self.rewind()
        packets = self.packets(report)
        return packets if key is None else _after(packets, key, strictly=False) or packets

    def _kept_from(self, key: Keyframe | None) -> Iterator[Packet[VideoStream]] | None:
        """Kept packets from `key` on; None where there are none, or where a used decoder has to be replaced first."""
        if self._kept is None:
            return None
        if key is None:
            return None if self._decoding else iter(self._kept)
        at = next((at for at, packet in enumerate(self._kept) if key.is_in(packet)), None)
        if at is None:
            return None
        if self._decoding:
            self.stream.codec_context.flush_buffers()
        return islice(self._kept, at, None)

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
            self._decoding = False

    def close(self) -> None:
        """Release the file; more than once does no harm."""
        if self._opened is not None:
            self._kept = None
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


# Packets that are kept, with what each costs beside its content. Ten seconds of 340x256 are half a megabyte.
_KEPT_BYTES = 8 << 20
_PACKET_BYTES = 512

# Of pictures as small as this, FFmpeg's threads wait for each other longer than they decode.
_SMALL_PIXELS = 2**17

# To read one packet, and to decode none.
_BY_HEADER = {"probesize": "32", "skip_frame": "all"}


def _opened_by_header(path: Path, url: str) -> InputContainer | None:
    """The file, opened without decoding anything; None where that would leave something unknown.

    FFmpeg decodes one picture or more while it opens a file, which takes three quarters of the time of opening.
    What it looks for stands in the header of most H.264 in MP4, where the decoder finds it before it gives the first
    picture; the container has all the rest: times, sizes, turns.
    """
    try:
        with path.open("rb") as file:
            if file.read(8)[4:] != b"ftyp":
                return None
        container: InputContainer = av.open(url, "r", options=_LIMITS | _BY_HEADER, **_TOLERANT)
    except (av.FFmpegError, OSError, ValueError):
        return None  # opened in full, it tells why
    videos = container.streams.video
    codec = videos[0].codec_context if len(videos) == 1 else None
    if codec is not None and codec.name == "h264" and says_everything(bytes(codec.extradata or b"")):
        return container
    container.close()
    return None


def _rate_of(stream: VideoStream) -> Fraction | None:
    return stream.guessed_rate or stream.average_rate


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
