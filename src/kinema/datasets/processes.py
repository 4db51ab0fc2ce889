"""Reading files in processes of their own, because a damaged file may take its decoder, and so the process, down."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from kinema.core.errors import UsageError

__all__ = ["read_apart"]

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


def read_apart(
    read: Callable[[_Item], _Found], items: Iterable[_Item], *, workers: int, died: Callable[[_Item], _Found]
) -> Generator[_Found, None, None]:
    """`read(item)` of each item, or `died(item)` where that ends its process, in the order they are ready.

    Args:
        read: a function that another process can import by its name.
        items: paths, or whatever else names a file and can be sent to another process; any number, of which few
            are on their way at any time.
        workers: processes, 1 or more. They are started afresh (spawn), so a program whose main file
            comes here needs the usual `if __name__ == "__main__":`.
        died: says what is found of an item that ends its process when read alone.

    Raises:
        UsageError: the processes cannot be started.
    """
    waiting = deque(items)
    while waiting:
        suspects = yield from _until_one_dies(read, waiting, workers)
        for item in suspects:
            yield _alone(read, item, died)


def _until_one_dies(
    read: Callable[[_Item], _Found], waiting: deque[_Item], workers: int
) -> Generator[_Found, None, list[_Item]]:
    """Empty `waiting`; when a process dies, return early with the items that were on their way."""
    pool = _pool(min(workers, len(waiting)))
    reading: dict[Future[_Found], _Item] = {}
    try:
        while waiting or reading:
            while waiting and len(reading) < 2 * workers:
                reading[pool.submit(read, waiting[0])] = waiting[0]
                waiting.popleft()
            for future in wait(reading, return_when=FIRST_COMPLETED).done:
                found = future.result()
                del reading[future]
                yield found
    except BrokenProcessPool:
        return list(reading.values())
    finally:
        pool.shutdown(cancel_futures=True)
    return []


def _alone(read: Callable[[_Item], _Found], item: _Item, died: Callable[[_Item], _Found]) -> _Found:
    pool = _pool(1)
    try:
        pool.submit(_nothing).result()
    except BrokenProcessPool as error:
        raise UsageError(
            "the processes that read files cannot be started",
            allowed="a main program that can be imported without running it",
            next_step='put its code under `if __name__ == "__main__":`, or pass workers=0',
        ) from error
    else:
        try:
            return pool.submit(read, item).result()
        except BrokenProcessPool:
            return died(item)
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # forking beside threads of FFmpeg or torch may hang
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_interrupts_to_the_parent)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _nothing() -> None:
    """Shows that a process has started."""
