"""Who trains what: one owner at a time, whatever dies."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kinema.core.claims import Claims, Owner


@pytest.fixture
def claims(tmp_path):
    return Claims(tmp_path / "claims")


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def as_if_of(claim, **changes):
    """Rewrite a claim as another process would have written it."""
    content = {**json.loads(claim.path.read_text()), **changes}
    claim.path.write_text(json.dumps(content))


def age(claim, seconds):
    then = time.time() - seconds
    os.utime(claim.path, (then, then))


def test_what_is_held_is_not_given_out_again(claims):
    claim = claims.claim("run")
    assert claims.claim("run") is None
    assert claims.holder("run") == Owner.me()
    assert claims.claim("run.1") is not None  # another run, though its files begin alike
    with claim:
        pass
    assert claims.holder("run") is None
    assert claims.claim("run") is not None


def test_a_dead_process_of_this_machine_is_taken_over_at_once(claims):
    first = claims.claim("run")
    as_if_of(first, pid=dead_process())
    second = claims.claim("run")
    assert (first.path.name, second.path.name) == ("run.1", "run.2")
    assert claims.claim("run") is None


def test_a_process_that_got_the_number_of_a_dead_one_is_told_from_it(claims):
    as_if_of(claims.claim("run"), started="1")
    assert claims.claim("run") is not None


def test_a_process_elsewhere_is_taken_over_once_it_is_silent_for_long(claims):
    claim = claims.claim("run")
    as_if_of(claim, machine="elsewhere", pid=dead_process())
    assert claims.claim("run") is None
    age(claim, claims.expiry_seconds - 30)
    assert claims.claim("run") is None
    age(claim, claims.expiry_seconds + 1)
    assert claims.claim("run") is not None


def test_a_claim_that_was_never_written_out_is_taken_over_once_it_is_old(claims):
    claim = claims.claim("run")
    claim.path.write_text("")
    assert claims.claim("run") is None
    age(claim, claims.expiry_seconds + 1)
    assert claims.claim("run") is not None


def test_an_owner_keeps_its_claim_young_and_hears_of_its_loss(claims):
    heard = threading.Event()
    claim = claims.claim("run")
    with claim.keep_alive(heard.set, beat_seconds=0.01):
        age(claim, 1000)
        while time.time() - claim.path.stat().st_mtime > 100:
            time.sleep(0.01)
        age(claim, 1000)
        (claims.folder / "run.2").write_text(json.dumps({**json.loads(claim.path.read_text()), "pid": 1}))
        assert heard.wait(60)
    assert claim.lost
    assert json.loads(claim.path.read_text())["pid"] == os.getpid()  # nothing is let go that is not held


def test_an_owner_elsewhere_that_may_be_gone_is_waited_for(claims):
    claim = claims.claim("run")
    as_if_of(claim, machine="elsewhere", host="far", pid=7)
    age(claim, claims.expiry_seconds - 0.5)
    told = []
    taken = claims.claim_from_silent("run", waiting=lambda *about: told.append(about), poll_seconds=0.02)
    assert taken is not None
    assert taken.path.name == "run.2"
    ((owner, seconds),) = told
    assert str(owner) == "process 7 on far"
    assert 0 < seconds <= 0.5


def test_an_owner_elsewhere_that_lives_is_left_alone_as_soon_as_it_shows(claims):
    claim = claims.claim("run")
    as_if_of(claim, machine="elsewhere")
    age(claim, 20)
    began = time.monotonic()
    shows = claim.keep_alive(beat_seconds=0.2)
    with shows:
        assert claims.claim_from_silent("run", waiting=lambda *_: None, poll_seconds=0.02) is None
    assert time.monotonic() - began < claims.expiry_seconds / 2


@pytest.mark.parametrize("end", ["released", "forgotten"])
def test_what_is_let_go_while_it_is_waited_for_is_taken(claims, end):
    claim = claims.claim("run")
    as_if_of(claim, machine="elsewhere")

    def waiting(*_):
        if end == "released":
            claim.path.write_text("{}")
        else:
            claim.forget()

    assert claims.claim_from_silent("run", waiting=waiting, poll_seconds=0.02) is not None


def test_an_owner_of_this_machine_is_not_waited_for(claims):
    claims.claim("run")
    assert claims.claim_from_silent("run", waiting=lambda *_: None, poll_seconds=1e9) is None


def test_a_full_disk_does_not_keep_a_claim(claims, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with claims.claim("run"):
        monkeypatch.setattr(Path, "write_text", full)
    assert claims.holder("run") is None
    assert claims.claim("run") is not None


@pytest.mark.parametrize("then", ["at work", "done", "done, and another at work"])
def test_an_owner_that_comes_back_sees_that_it_was_superseded(claims, then):
    first = claims.claim("run")
    assert not first.lost
    age(first, claims.expiry_seconds + 1)
    second = claims.claim("run")
    if then != "at work":
        with second:
            pass
        second.forget()
    third = claims.claim("run") if "another" in then else None
    assert first.lost
    with first:
        pass
    first.forget()
    assert claims.claim("run") is None or then == "done"
    for one in (second, third):
        assert one is None or one.path.exists() == (one is third or then == "at work")


def test_a_process_that_ended_and_was_not_asked_for_is_dead(claims):
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie from here on
    as_if_of(claims.claim("run"), pid=process.pid, started=None)
    assert claims.claim("run") is not None
    process.wait()


def test_a_process_of_this_machine_that_stands_still_is_waited_for(claims):
    age(claims.claim("run"), claims.expiry_seconds - 0.5)
    assert claims.claim_from_silent("run", waiting=lambda *_: None, poll_seconds=0.02) is not None


def test_a_claim_that_cannot_be_written_out_keeps_nobody_away(claims, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(json, "dump", full)
        with pytest.raises(OSError, match="No space"):
            claims.claim("run")
    assert claims.claim("run").path.name == "run.1"


def test_deaths_in_a_row_are_counted(claims):
    for _ in range(2):
        as_if_of(claims.claim("run"), pid=dead_process())
    claim = claims.claim("run")
    assert claims.deaths("run") == 2
    with claim:
        pass
    with claims.claim("run"):
        assert claims.deaths("run") == 0


def test_what_is_forgotten_begins_anew(claims):
    as_if_of(claims.claim("run"), pid=dead_process())
    claim = claims.claim("run")
    other = claims.claim("other")
    claim.forget()
    assert [path.name for path in claims.folder.iterdir()] == [other.path.name]
    assert claims.claim("run").path.name == "run.1"


TAKE = """
import sys
from pathlib import Path
from kinema.core.claims import Claims

claims = Claims(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(*(number for number in range(30) if claims.claim(f"run-{number}")), flush=True)
sys.stdin.readline()  # to live until all have taken theirs
"""


def test_of_processes_that_reach_out_at_once_one_wins(tmp_path):
    for number in range(15):  # half of them are to be taken over from the dead
        as_if_of(Claims(tmp_path).claim(f"run-{number}"), pid=dead_process())
    command = [sys.executable, "-c", TAKE, tmp_path]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    taken = [int(number) for process in processes for number in process.stdout.readline().split()]
    for process in processes:
        process.communicate("done\n")
    assert sorted(taken) == list(range(30))
