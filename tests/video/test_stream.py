from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from kinema.core.errors import MediaError, UsageError
from kinema.video.file import VideoFile
from kinema.video.frame import Frames
from kinema.video.stream import VideoStream


class Server:
    """Serves one file under several tempers: /whole, /broken (the line goes dead at 60 %), /silent (says no more)."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        self.let_go = threading.Event()
        let_go = self.let_go

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                if self.path.endswith("/absent"):
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.path.endswith("/whole"):
                    self.wfile.write(data)
                    return
                self.wfile.write(data[: len(data) * 6 // 10])
                if self.path.endswith("/silent"):
                    let_go.wait(20)
                self.connection.shutdown(socket.SHUT_RDWR)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def stop(self) -> None:
        self.let_go.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture(params=["open_gop.ts", "index_first.mp4"])
def served(request: pytest.FixtureRequest, made_video) -> Iterator[tuple[str, Path]]:
    path = made_video(request.param)
    server = Server(path)
    yield server.url, path
    server.stop()


def test_a_stream_gives_what_the_file_gives_and_ends(served):
    url, path = served
    with VideoStream(f"{url}/whole", short_side_px=32) as stream, VideoFile(path, short_side_px=32) as video:
        parts = list(stream.frames(chunk_frames=20))
        assert [len(part) for part in parts] == [20, 20, 8]
        received = Frames.join(parts)
        assert received.pts == video.pts
        assert received.time_base == video.info.time_base == stream.time_base
        assert torch.equal(received.data, video.read(range(48)).data)
        assert stream.average_fps == 25.0
        assert stream.damage == ()


def test_a_line_that_goes_dead_is_reported_after_what_came(served):
    url, _ = served
    count = 0
    with VideoStream(f"{url}/broken", short_side_px=16) as stream:
        with pytest.raises(MediaError, match="reading stops early") as caught:  # noqa: PT012 - what came counts
            for part in stream.frames(chunk_frames=4):
                count += len(part)
        assert 10 < count < 40
        assert caught.value.path == f"{url}/broken"
        assert stream.damage


def test_a_line_that_goes_dead_loses_nothing_that_came(served, tmp_path):
    url, path = served
    whole = path.read_bytes()
    half = tmp_path / path.name
    half.write_bytes(whole[: len(whole) * 6 // 10])
    with VideoFile(half, short_side_px=16, strict=False) as video:
        came = sum(len(part) for part in video.frames())
    with VideoStream(f"{url}/broken", short_side_px=16, strict=False) as stream:
        assert sum(len(part) for part in stream.frames()) == came > 10
        assert any("reading stops early" in place.reason for place in stream.damage)


def test_silence_ends_by_itself(served):
    url, _ = served
    with VideoStream(f"{url}/silent", short_side_px=16, strict=False, read_timeout_seconds=0.3) as stream:
        assert sum(len(part) for part in stream.frames()) > 10
        assert any("nothing arrives for 0.3 s" in place.reason for place in stream.damage)


def test_interrupted_reading_closes_the_line(served):
    url, _ = served
    with VideoStream(f"{url}/silent", short_side_px=16) as stream:
        frames = stream.frames(chunk_frames=2)
        next(frames)
        assert any(is_client(each, url) for each in Path("/proc/self/fd").iterdir())
        frames.close()
        assert not any(is_client(each, url) for each in Path("/proc/self/fd").iterdir())
        stream.close()
        with pytest.raises(UsageError, match="closed"):
            stream._handle.rewind()


def is_client(descriptor: Path, url: str) -> bool:
    """Whether `descriptor` is our end of a line to `url`; the server lives in this process too."""
    try:
        with socket.socket(fileno=os.dup(int(descriptor.name))) as line:
            is_ours = line.family == socket.AF_INET  # tests that ran before may have left lines of other kinds
            return is_ours and line.getpeername()[1] == int(url.rsplit(":", 1)[1])
    except OSError:
        return False


def test_a_page_that_is_absent_and_one_that_is_no_video(served, tmp_path):
    url, _ = served
    with pytest.raises(MediaError, match="404"):
        VideoStream(f"{url}/absent")
    text = tmp_path / "text"
    text.write_text("no video at all " * 100)
    server = Server(text)
    try:
        with pytest.raises(MediaError, match="not a video"):
            VideoStream(f"{server.url}/whole")
    finally:
        server.stop()


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_port_where_nobody_listens(scheme):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: refused, and nobody else can take it
        url = f"{scheme}://127.0.0.1:{taken.getsockname()[1]}/camera"
        with pytest.raises(MediaError, match="Connection refused") as caught:
            VideoStream(url, open_timeout_seconds=5)
    assert caught.value.path == url
    assert caught.value.allowed
    assert "check the address" in caught.value.next_step


def test_a_server_that_never_answers_is_waited_for_no_longer_than_said():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/camera"
        with pytest.raises(MediaError, match=r"no answer within 0\.3 s"):
            VideoStream(url, open_timeout_seconds=0.3)


@pytest.mark.parametrize("name", ["open_gop.ts", "mpeg2.ts"])
def test_a_stream_joined_between_keyframes_starts_at_the_next_one(made_video, tmp_path, name):
    whole = made_video(name).read_bytes()
    joined = tmp_path / "joined.ts"
    joined.write_bytes(whole[188 * (len(whole) // 188 // 8) :])
    server = Server(joined)
    try:
        with VideoStream(f"{server.url}/whole", short_side_px=32, strict=False) as stream:
            received = Frames.join(list(stream.frames()))
            assert stream.damage == ()
    finally:
        server.stop()
    with VideoFile(made_video(name), short_side_px=32) as video:
        indices = [video.pts.index(pts) for pts in received.pts]
        assert 20 < len(indices) < 48
        assert indices == list(range(indices[0], 48))
        assert torch.equal(received.data, video.read(indices).data)


@pytest.mark.parametrize(("url", "options"), [("rtsp://c/1", {"rtsp_transport": "tcp"}), ("http://c/1", {})])
def test_cameras_are_read_over_tcp(monkeypatch, url, options):
    given = {}

    def refuse(_: str, **settings: object) -> None:
        given.update(settings)
        raise MediaError(url, "refused")

    monkeypatch.setattr("kinema.video.stream.Handle", refuse)
    with pytest.raises(MediaError):
        VideoStream(url, open_timeout_seconds=3, read_timeout_seconds=4)
    assert given == {"timeouts": (3, 4), "options": options}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"open_timeout_seconds": 0}, "timeouts of 0"),
        ({"read_timeout_seconds": -1}, "and -1 s"),
        ({"short_side_px": 0}, "short side of 0"),
    ],
)
def test_impossible_arguments_are_refused_before_any_line_is_opened(settings, said):
    with pytest.raises(UsageError, match=said):
        VideoStream("http://127.0.0.1:9/camera", **settings)
