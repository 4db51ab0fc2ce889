"""Who works on what, told by files, so that processes of several machines share a folder and do nothing twice.

A claim is a file `NAME.N` in the folder of claims, made in the one way that is atomic on every file
system, NFS included: create it only if it is not there. The highest N is the claim that counts. Its
owner touches it every `BEAT_SECONDS`; it may be taken over, by making `NAME.N+1`, once its process is
known to be dead (on the same machine), or it was not touched for `EXPIRY_SECONDS`. Numbers only grow
while the work is not finished, so of two that would take over one wins. An owner that was suspended and
comes back sees a higher number, or that its own file is gone or another's, and stops.

Ages are read against a file that the reader touches itself: the clock of the file server tells both
times, and clocks of machines may differ.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

__all__ = ["Claim", "Claims", "Owner"]

BEAT_SECONDS = 15.0
EXPIRY_SECONDS = 180.0


@dataclass(frozen=True)
class Owner:
    """A process.

    Attributes:
        host: the machine's name, for people.
        machine: what tells its processes apart from those of every other: a boot, and a container.
        pid: of the process.
        started: when the process began, by its machine's count; None where that is not told.
    """

    host: str
    machine: str
    pid: int
    started: str | None

    @classmethod
    def me(cls) -> Owner:
        """This process."""
        found = _process(os.getpid())
        return cls(socket.gethostname(), _machine(), os.getpid(), found.started if found else None)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def is_here(self) -> bool:
        """Whether this is a process of this machine, which can tell whether it lives."""
        return self.machine == _machine()

    @property
    def is_dead(self) -> bool:
        """Whether this process is known to be gone: only ever said of this machine's own."""
        if not self.is_here:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        found = _process(self.pid)
        # A zombie's parent has not asked for its end yet; another start is of a process that got the number later.
        return found is not None and (found.zombie or self.started not in (None, found.started))


@dataclass(frozen=True)
class _Held:
    """A claim file as it was read; `owner` is None where it was let go, or holds nothing yet."""

    number: int
    path: Path
    owner: Owner | None
    released: bool
    touched: float
    seconds_old: float


class Claims:
    """The claims on whatever has a name.

    Args:
        folder: where they lie; made when needed.
        expiry_seconds: how long an owner elsewhere may stay silent.
    """

    def __init__(self, folder: Path, *, expiry_seconds: float = EXPIRY_SECONDS) -> None:
        self.folder = folder
        self.expiry_seconds = expiry_seconds

    def claim(self, name: str) -> Claim | None:
        """Take `name`, or None where another holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        held = self._held(name)
        number = held.number if held else 0
        if held is not None and not (held.released or self._may_be_taken(held)):
            return None
        path, mark = self.folder / f"{name}.{number + 1}", secrets.token_hex(8)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return None
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({**asdict(Owner.me()), "mark": mark}, file)
        except OSError:  # a full disk; an empty claim would keep everybody away
            path.unlink(missing_ok=True)
            raise
        return Claim(self, name, number + 1, mark)

    def claim_from_silent(
        self, name: str, *, waiting: Callable[[Owner | None, float], None], poll_seconds: float = 1.0
    ) -> Claim | None:
        """Take `name`, waiting for an owner elsewhere that may be gone; None once it shows that it is not.

        Args:
            name: what to take.
            waiting: told once, when waiting begins: for whom (None: not written down yet), and for how many
                seconds at most.
            poll_seconds: how often to look.
        """
        first: _Held | None = None
        while (claim := self.claim(name)) is None:
            held = self._held(name)
            if held is not None and first is None:
                first = held
                waiting(held.owner, self.expiry_seconds - held.seconds_old)
            if held is not None and first is not None and _lives(held, first):
                return None  # if it were known to be dead, its claim would have been taken
            time.sleep(poll_seconds)
        return claim

    def holder(self, name: str) -> Owner | None:
        """Who holds `name` now; None where nobody does, or its owner is dead or silent."""
        held = self._held(name)
        return None if held is None or held.released or self._may_be_taken(held) else held.owner

    def deaths(self, name: str) -> int:
        """How many owners of `name` in a row did not live to let it go, before the one that holds it now."""
        count = 0
        for number in range(self.highest(name) - 1, 0, -1):
            held = self._read(name, number)
            if held is None or held.released:
                break
            count += 1
        return count

    def _may_be_taken(self, held: _Held) -> bool:
        # An empty file is one whose owner is just writing it, or died before it could.
        dead = held.owner is not None and held.owner.is_dead
        return dead or held.seconds_old > self.expiry_seconds

    def _held(self, name: str) -> _Held | None:
        number = self.highest(name)
        return self._read(name, number) if number else None

    def highest(self, name: str) -> int:
        """The number of the claim that counts; 0 where there is none."""
        return max((int(path.name.rpartition(".")[2]) for path in self._files(name)), default=0)

    def _files(self, name: str) -> list[Path]:
        found = (path for path in self.folder.iterdir() if path.name.startswith(f"{name}."))
        return [path for path in found if path.name[len(name) + 1 :].isdecimal()]

    def mark(self, name: str, number: int) -> str | None:
        """What tells the claim `number` from a later one of that number; empty once let go, None where it is gone."""
        try:
            content = json.loads((self.folder / f"{name}.{number}").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            return ""
        return str(content.get("mark", "")) if isinstance(content, dict) else ""

    def _read(self, name: str, number: int) -> _Held | None:
        path = self.folder / f"{name}.{number}"
        try:
            with path.open(encoding="utf-8") as file:  # opened, since NFS tells old times of what is only looked at
                text, touched = file.read(), os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None
        try:
            content = json.loads(text)
            owner = Owner(**{key: value for key, value in content.items() if key != "mark"}) if content else None
        except (ValueError, TypeError, AttributeError):
            content, owner = None, None
        return _Held(number, path, owner, content == {}, touched, self._now() - touched)

    def _now(self) -> float:
        """The time of the file server."""
        probe = self.folder / f".clock-{os.getpid()}-{secrets.token_hex(4)}"
        probe.touch()
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)


class Claim:
    """A claim that this process holds. While entered it is kept alive; leaving lets it go."""

    def __init__(self, claims: Claims, name: str, number: int, mark: str) -> None:
        self.name = name
        self.path = claims.folder / f"{name}.{number}"
        self._claims = claims
        self._number = number
        self._mark = mark
        self._leave = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def lost(self) -> bool:
        """Whether another has taken it over, as from an owner that was suspended for long, be it done by now or not."""
        with suppress(OSError):  # a server that is away for a moment
            higher = self._claims.highest(self.name) > self._number
            return higher or self._claims.mark(self.name, self._number) not in ("", self._mark)
        return False

    def keep_alive(self, on_lost: Callable[[], None] = lambda: None, *, beat_seconds: float = BEAT_SECONDS) -> Claim:
        """Touch the file from now on; call `on_lost`, from another thread, should it be taken over."""
        self._thread = threading.Thread(target=self._beat, args=(on_lost, beat_seconds), daemon=True)
        self._thread.start()
        return self

    def forget(self) -> None:
        """Remove it and those before it: the work is finished for good. Those of others, if any, stay."""
        for number in range(1, self._number + 1):
            if number < self._number or self._claims.mark(self.name, number) in ("", self._mark):
                self.path.with_name(f"{self.name}.{number}").unlink(missing_ok=True)

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave.set()
        if self._thread is not None:
            self._thread.join()
        if self.lost or not self.path.exists():
            return
        try:
            self.path.write_text("{}", encoding="utf-8")
        except OSError:  # a full disk; old age needs no room on it
            with suppress(OSError):
                os.utime(self.path, (0, 0))

    def _beat(self, on_lost: Callable[[], None], seconds: float) -> None:
        while not self._leave.wait(seconds):
            with suppress(OSError):  # a server that is away for a moment; if for long, others may take over
                os.utime(self.path)
            if self.lost:
                on_lost()
                return


def _lives(held: _Held, before: _Held) -> bool:
    """Whether what is held tells of a process that lives, seen now and `before`."""
    here = held.owner is not None and held.owner.is_here and held.seconds_old < 2 * BEAT_SECONDS
    return here or (held.number, held.touched) != (before.number, before.touched)


def _machine() -> str:
    """What tells this machine's processes: the boot of its kernel and the space its process numbers are of."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


@dataclass(frozen=True)
class _Process:
    """What the system tells of a process: when it began, in its own count, and whether it has ended already."""

    started: str
    zombie: bool


def _process(pid: int) -> _Process | None:
    """A process of this machine; None where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return _Process(started=fields[19], zombie=fields[0] == "Z")
