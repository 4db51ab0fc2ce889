"""A web server for shards on 127.0.0.1 that answers ranges, and misbehaves as it is told."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WELL = "well"
ERROR = "500"
MISSING = "404"
BUSY = "429"
DROP = "drop"
WHOLE = "whole"


@dataclass
class Server:
    """A running server.

    Attributes:
        url: of the folder it serves.
        behave: what to do with request number n (from 0) of a file name; one of the words above.
        ranges: (file name, first byte, last byte) of each request; (name, -1, -1) for a whole file.
    """

    url: str
    behave: Callable[[int, str], str] = field(default=lambda _number, _name: WELL)
    ranges: list[tuple[str, int, int]] = field(default_factory=list)


@contextmanager
def serving(folder: Path | str) -> Iterator[Server]:
    """Serve `folder` while the block runs."""
    state = Server("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            first, last = (int(asked[1]), int(asked[2])) if asked else (-1, -1)
            number = len(state.ranges)
            state.ranges.append((name, first, last))
            what = state.behave(number, name)
            path = Path(folder) / name
            if what in {ERROR, MISSING, BUSY} or not path.is_file():
                self.send_error(int(what) if what.isdigit() else 404)
                return
            data = path.read_bytes()
            ranged = first >= 0 and what != WHOLE
            body = data[first : last + 1] if ranged else data
            self.send_response(206 if ranged else 200)
            if ranged:
                self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if what == DROP:
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
                return
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
