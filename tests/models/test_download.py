"""Files from a server that breaks off, lies, redirects or is not there; no test waits or leaves this machine."""

import hashlib
import re
import resource
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kinema.core.errors import DataError, UsageError, WeightsError
from kinema.models.download import RemoteFile, by_hand, fetch, is_offline

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
GIT = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers as the server's `script` says: one entry a request, the last one for all that follow."""

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, dict(self.headers)))
        step = server.script[min(len(server.requests), len(server.script)) - 1]
        step(self)

    def log_message(self, *_):
        pass

    def head(self, code, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


def whole(handler, content=CONTENT, etag='"one"', sent=None, ranges=True, **headers):
    """The file, from where the request asks if its version is right; broken off after `sent` bytes."""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    start = int(asked[1]) if asked and ranges and handler.headers["If-Range"] == etag else 0
    if start >= len(content):
        handler.head(416, Content_Range=f"bytes */{len(content)}", Content_Length=0)
        return
    if etag:
        headers["ETag"] = etag
    if start:
        headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    handler.head(206 if start else 200, Content_Length=len(content) - start, **headers)
    handler.wfile.write(content[start:][:sent])


def cut(sent, **more):
    return lambda handler: whole(handler, sent=sent, **more)


def answer(code, **headers):
    return lambda handler: handler.head(code, Content_Length=0, **headers)


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.requests, server.script = [], [whole]
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _online(monkeypatch):
    monkeypatch.delenv("KINEMA_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Told:
    """A Progress that remembers, and the clock that nobody waits for."""

    def __init__(self):
        self.lines, self.waited, self.tasks = [], [], []

    def log(self, message):
        self.lines.append(message)

    def sleep(self, seconds):
        self.waited.append(seconds)

    def task(self, description, total, unit, done=0):
        told = self

        class Task:
            def __enter__(self):
                told.tasks.append([description, total, unit, done])
                return self

            def __exit__(self, *_):
                pass

            def advance(self, steps=1, note=""):
                told.tasks[-1][3] += steps

        return Task()


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def get(server, told, tmp_path):
    def run(path="/w.pth", name="w.pth", **marks):
        file = RemoteFile(name, server.address + path, page="https://example.org/weights", **marks)
        return fetch(file, tmp_path / "downloads", progress=told, sleep=told.sleep)

    return run


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


@pytest.mark.parametrize(
    "marks",
    [{}, {"sha256": SHA256[:8]}, {"sha256": SHA256}, {"git_blob": GIT}, {"size_bytes": len(CONTENT)}],
    ids=str,
)
def test_a_file_comes_whole_and_checked(get, told, tmp_path, marks):
    found = get(**marks)
    assert found.path == tmp_path / "downloads" / "w.pth"
    assert found.path.read_bytes() == CONTENT
    assert found.sha256 == SHA256
    assert names(tmp_path) == ["w.pth"]
    assert told.tasks == [["w.pth", len(CONTENT), "B", len(CONTENT)]]


def test_a_file_that_is_there_is_not_fetched_again(get, server):
    first = get(sha256=SHA256)
    assert get(sha256=SHA256) == first
    assert len(server.requests) == 1


def test_names_may_have_folders(get, tmp_path):
    assert get(name="rgb/model.ckpt.index").path == tmp_path / "downloads" / "rgb" / "model.ckpt.index"


def test_what_broke_off_is_resumed(get, server, told):
    server.script = [cut(100_000), cut(50_000), whole]
    assert get(sha256=SHA256).path.read_bytes() == CONTENT
    assert [headers.get("Range") for _, headers in server.requests] == [None, "bytes=100000-", "bytes=150000-"]
    assert {headers.get("If-Range") for _, headers in server.requests[1:]} == {'"one"'}
    assert told.tasks[1][:3] == ["w.pth", len(CONTENT), "B"]
    assert told.tasks[1][3] == 150_000
    assert told.lines[0] == f"w.pth: broke off after 100000 of {len(CONTENT)} bytes; trying again in 1 s"


def test_a_later_call_resumes_too(get, server, tmp_path, told):
    server.script = [cut(100_000), *[cut(0)] * 5, whole]
    with pytest.raises(WeightsError, match="5 attempts in a row brought nothing more") as caught:
        get(sha256=SHA256)
    assert "goes on from what has come" in caught.value.next_step
    assert str(tmp_path / "downloads" / "w.pth") in caught.value.next_step
    assert told.waited == [1, 1, 2, 4, 8]
    assert names(tmp_path) == ["w.pth.part", "w.pth.part.version"]
    server.requests.clear()
    server.script = [whole]
    assert get(sha256=SHA256).path.read_bytes() == CONTENT
    assert server.requests[0][1]["Range"] == "bytes=100000-"
    assert names(tmp_path) == ["w.pth"]


def test_another_version_starts_anew(get, server):
    server.script = [lambda h: whole(h, bytes(len(CONTENT)), etag='"zero"', sent=100_000), whole]
    assert get().path.read_bytes() == CONTENT
    assert server.requests[1][1]["If-Range"] == '"zero"'


def test_a_server_that_ignores_ranges_starts_anew(get, server, told):
    server.script = [cut(100_000, ranges=False), cut(None, ranges=False)]
    assert get().path.read_bytes() == CONTENT
    assert told.tasks[-1] == ["w.pth", len(CONTENT), "B", len(CONTENT)]


def test_a_server_without_versions_starts_anew(get, server):
    server.script = [cut(100_000, etag=""), cut(None, etag="")]
    assert get().path.read_bytes() == CONTENT
    assert "Range" not in server.requests[1][1]


def test_a_date_is_a_version_too(get, server):
    date = "Sat, 21 Nov 2026 10:00:00 GMT"
    server.script = [cut(100_000, etag="", Last_Modified=date), whole]
    get()
    assert server.requests[1][1]["If-Range"] == date


def test_a_range_that_was_not_asked_for_is_not_appended(get, server):
    def elsewhere(handler):
        handler.head(206, Content_Length=len(CONTENT), Content_Range=f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")
        handler.wfile.write(CONTENT)

    server.script = [cut(100_000), elsewhere]
    assert get(sha256=SHA256).path.read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_part_that_is_complete_needs_no_more_bytes(get, server, tmp_path):
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "w.pth.part").write_bytes(CONTENT)
    (folder / "w.pth.part.version").write_text('"one"')
    assert get(sha256=SHA256).path.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_part_that_is_too_long_is_thrown_away(get, server, tmp_path):
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "w.pth.part").write_bytes(CONTENT + b"more")
    (folder / "w.pth.part.version").write_text('"one"')
    assert get(sha256=SHA256).path.read_bytes() == CONTENT
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("marks", "wrong"),
    [
        ({"sha256": "0123abcd"}, f"its SHA-256 is {SHA256}"),
        ({"git_blob": "0" * 40}, f"git's SHA-1 of it is {GIT}"),
        ({"size_bytes": 7}, f"{len(CONTENT)} bytes"),
    ],
)
def test_wrong_bytes_are_not_kept(get, server, tmp_path, marks, wrong):
    with pytest.raises(WeightsError, match=re.escape(f"sent other bytes than were published: {wrong}")):
        get(**marks)
    assert len(server.requests) == 1
    assert names(tmp_path) == []


def test_pieces_that_do_not_fit_are_fetched_once_more_as_a_whole(get, server, told):
    server.script = [lambda h: whole(h, bytes(len(CONTENT)), sent=100_000), whole]  # same ETag, other bytes
    assert get(sha256=SHA256).path.read_bytes() == CONTENT
    assert len(server.requests) == 3
    assert any("starting anew" in line for line in told.lines)


def test_an_empty_file_is_none(get, server):
    server.script = [answer(200)]
    with pytest.raises(WeightsError, match="it is empty"):
        get()


def test_a_web_page_is_no_file(get, server, tmp_path):
    server.script = [lambda h: whole(h, b"<html>sign in</html>", Content_Type="text/html; charset=utf-8")]
    with pytest.raises(WeightsError, match="answered with a web page") as caught:
        get()
    assert str(tmp_path / "downloads" / "w.pth") in caught.value.next_step
    assert names(tmp_path) == []


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_refusal_is_final(get, server, told, code):
    server.script = [answer(code)]
    with pytest.raises(WeightsError, match=f"answered {code} ") as caught:
        get()
    assert "https://example.org/weights" in caught.value.next_step
    assert len(server.requests) == 1
    assert told.waited == []


def test_trouble_of_the_server_may_pass(get, server, told):
    server.script = [answer(500), answer(503, Retry_After=7), answer(429, Retry_After=9999), whole]
    assert get().path.read_bytes() == CONTENT
    assert told.waited == [1, 7, 60]
    assert "answered 500 Internal Server Error; trying again in 1 s" in told.lines[0]


def test_trouble_that_does_not_pass_ends(get, server, told):
    server.script = [answer(500)]
    with pytest.raises(WeightsError, match="answered 500"):
        get()
    assert len(server.requests) == 5
    assert told.waited == [1, 2, 4, 8]


def test_redirects_are_followed_and_keep_the_range(get, server):
    def elsewhere(handler):
        answer(302, Location="/other")(handler)

    server.script = [elsewhere, cut(100_000), elsewhere, whole]
    assert get().path.read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/w.pth", "/other", "/w.pth", "/other"]
    assert server.requests[3][1]["Range"] == "bytes=100000-"


def test_a_circle_of_redirects_ends(get, server):
    server.script = [answer(302, Location="/w.pth")]
    with pytest.raises(WeightsError, match="answered 302"):
        get()


def test_a_server_that_is_not_there(told, tmp_path, server):
    server.shutdown()
    server.server_close()
    file = RemoteFile("w.pth", server.address + "/w.pth")
    with pytest.raises(WeightsError, match=r"127\.0\.0\.1 cannot be reached: .*refused") as caught:
        fetch(file, tmp_path, progress=told, sleep=told.sleep)
    assert f"put it at {tmp_path / 'w.pth'}" in caught.value.next_step


def test_a_server_that_hangs_up_without_a_word(get, server):
    server.script = [lambda handler: handler.connection.close(), whole]
    assert get().path.read_bytes() == CONTENT


@pytest.mark.parametrize("value", ["1", "true", "YES"])
def test_offline_says_what_and_where(get, server, tmp_path, monkeypatch, value):
    monkeypatch.setenv("KINEMA_OFFLINE", value)
    with pytest.raises(WeightsError, match="KINEMA_OFFLINE forbids") as caught:
        get(sha256=SHA256[:8])
    assert caught.value.next_step == (
        f"get {server.address}/w.pth and put it at {tmp_path / 'downloads' / 'w.pth'} "
        f"(SHA-256 begins with {SHA256[:8]})"
    )
    assert server.requests == []


@pytest.mark.parametrize("value", ["", "0", "false", "no"])
def test_what_does_not_mean_offline(monkeypatch, value):
    monkeypatch.setenv("KINEMA_OFFLINE", value)
    assert not is_offline()


def test_a_file_brought_by_hand_is_taken_offline_and_checked(get, tmp_path, monkeypatch):
    monkeypatch.setenv("KINEMA_OFFLINE", "1")
    target = tmp_path / "downloads" / "w.pth"
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    assert get(sha256=SHA256).sha256 == SHA256
    target.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match="is not the file that"):
        get(sha256=SHA256)
    assert target.exists()  # a person's file is a person's to remove


def test_a_file_without_a_link_is_brought_by_hand(tmp_path):
    file = RemoteFile("r3d50_K_200ep.pth", page="https://example.org/folder")
    with pytest.raises(WeightsError, match="there is no direct link to it") as caught:
        fetch(file, tmp_path)
    assert caught.value.next_step == by_hand([file], tmp_path)
    assert "https://example.org/folder" in caught.value.next_step
    assert "no checksum published" in caught.value.next_step


def test_only_the_web_is_fetched_from():
    with pytest.raises(UsageError, match="file:///etc/passwd"):
        RemoteFile("x", "file:///etc/passwd")


def test_a_full_disk_keeps_what_came(get, tmp_path, server):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(DataError, match=r"cannot write .*w\.pth\.part.*: File too large"):
            get()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert 0 < (tmp_path / "downloads" / "w.pth.part").stat().st_size <= 100_000
    assert get(sha256=SHA256).path.read_bytes() == CONTENT
    assert "Range" in server.requests[1][1]


def test_a_folder_that_cannot_be_made(get, tmp_path):
    (tmp_path / "downloads").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        get()


def test_two_processes_take_turns(server, tmp_path):
    program = f"""
from pathlib import Path
from kinema.models.download import RemoteFile, fetch
print(fetch(RemoteFile("w.pth", "{server.address}/w.pth", sha256="{SHA256}"), Path({str(tmp_path)!r})).sha256)
"""
    together = threading.Barrier(2, timeout=60)

    def slowly(handler):
        # The first is kept waiting until the second asks for the lock, or shows that it does not.
        handler.head(200, Content_Length=len(CONTENT), ETag='"one"')
        handler.wfile.write(CONTENT[:1000])
        handler.wfile.flush()
        together.wait()
        handler.wfile.write(CONTENT[1000:])

    server.script = [slowly, whole]
    command = [sys.executable, "-c", program]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "w.pth.part").exists():
        assert first.poll() is None
    second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    together.wait()
    assert [process.communicate(timeout=60)[0].strip() for process in (first, second)] == [SHA256, SHA256]
    assert len(server.requests) == 1
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    assert not list(Path(tmp_path).glob("*.part*"))
