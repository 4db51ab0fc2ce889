"""The first Ctrl-C or SIGTERM asks, the second interrupts, and afterwards all is as it was."""

import os
import signal
import threading

import pytest

from kinema.training.interrupt import StopRequest


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def _same_handler_afterwards():
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


def test_the_first_is_noted_and_the_second_interrupts():
    with StopRequest() as stop:
        assert not stop.requested
        ctrl_c()
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()


def test_a_handler_of_ones_own_comes_back():
    heard = []
    own = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        with StopRequest() as stop:
            ctrl_c()
        assert stop.requested
        assert heard == []
        ctrl_c()
        assert heard == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, own)


def fail(before):
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) is not before
        raise ValueError("lost")


def test_the_handler_comes_back_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="lost"):
        fail(before)
    assert signal.getsignal(signal.SIGINT) is before


def test_notice_that_the_machine_is_taken_away_is_a_request_too():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_process_forked_meanwhile_ends_when_told_to():
    with StopRequest() as stop:
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)  # not reached
        _, status = os.waitpid(child, 0)
        assert not stop.requested
    assert os.WTERMSIG(status) == signal.SIGTERM


def test_in_another_thread_ctrl_c_stays_what_it_was():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with StopRequest() as stop:
            seen.extend([signal.getsignal(signal.SIGINT), stop.requested])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, False]


def test_each_request_begins_anew():
    with StopRequest():
        ctrl_c()
    with StopRequest() as stop:
        assert not stop.requested
