from __future__ import annotations

import gc
import threading
import time
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from kinema.core.errors import MediaError
from kinema.video.painting import Painting
from kinema.video.picture import Layout, Painter


def pictures(count: int) -> list[av.VideoFrame]:
    chance = np.random.default_rng(1)
    return [
        av.VideoFrame.from_ndarray(chance.integers(0, 255, (48, 64, 3), np.uint8), "rgb24").reformat(format="yuv420p")
        for _ in range(count)
    ]


def painter_of(picture: av.VideoFrame) -> Painter:
    return Painter("film", Layout.of(picture, Fraction(1), 32))


def painted(painting: Painting, shown: list[av.VideoFrame]) -> torch.Tensor:
    canvas = painting.painter.canvas(len(shown))
    for picture, target in zip(shown, canvas.unbind(), strict=True):
        painting.add(picture, target)
    painting.finish()
    return canvas


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_a_thread_beside_paints_the_same(count):
    shown = pictures(count)
    here, there = Painting(painter_of(shown[0]), beside=False), Painting(painter_of(shown[0]), beside=True)
    try:
        for _ in range(3):
            assert torch.equal(painted(here, shown), painted(there, shown))
    finally:
        there.close()


def test_without_a_thread_beside_none_is_started():
    before = threading.active_count()
    shown = pictures(3)
    painted(Painting(painter_of(shown[0]), beside=False), shown)
    assert threading.active_count() == before


@pytest.mark.parametrize("way", ["close", "drop"])
def test_the_thread_ends_with_its_owner(way):
    before = set(threading.enumerate())
    shown = pictures(3)
    painting = Painting(painter_of(shown[0]), beside=True)
    painted(painting, shown)
    (started,) = set(threading.enumerate()) - before
    if way == "close":
        painting.close()
        painting.close()
    else:
        del painting
        gc.collect()
    started.join(10)
    assert not started.is_alive()


class Slow(Painter):
    """Waits to be allowed, and notes how many pictures it has seen begin."""

    def __init__(self, picture: av.VideoFrame) -> None:
        super().__init__("film", Layout.of(picture, Fraction(1), 32))
        self.allowed = threading.Event()
        self.begun = 0

    def paint(self, picture: av.VideoFrame, target: torch.Tensor) -> None:
        self.begun += 1
        assert self.allowed.wait(10)
        super().paint(picture, target)


def test_only_a_few_pictures_wait():
    shown = pictures(20)
    painter = Slow(shown[0])
    painting = Painting(painter, beside=True)
    added = 0

    def add_all() -> None:
        nonlocal added
        for picture, target in zip(shown, painter.canvas(20).unbind(), strict=True):
            painting.add(picture, target)
            added += 1
        painting.finish()

    adding = threading.Thread(target=add_all)
    adding.start()
    deadline = time.monotonic() + 10
    while (added, painter.begun) != (5, 1) and time.monotonic() < deadline:
        time.sleep(0.01)
    adding.join(0.1)
    assert adding.is_alive()
    assert (added, painter.begun) == (5, 1)  # the sixth waits with those before it
    painter.allowed.set()
    adding.join(10)
    painting.close()
    assert painter.begun == 20


class Failing(Painter):
    def paint(self, picture: av.VideoFrame, target: torch.Tensor) -> None:
        if picture.pts == 3:
            raise MediaError("film", "cannot be converted")
        super().paint(picture, target)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("count", [4, 20])
def test_a_failure_is_raised_to_who_ordered_and_does_no_more_harm(beside, count):
    shown = pictures(count)
    for number, picture in enumerate(shown):
        picture.pts = number
    painting = Painting(Failing("film", Layout.of(shown[0], Fraction(1), 32)), beside=beside)
    with pytest.raises(MediaError, match="cannot be converted"):
        painted(painting, shown)
    assert torch.equal(painted(painting, shown[:3]), painted(Painting(painter_of(shown[0]), beside=False), shown[:3]))
    painting.close()


def test_who_gives_up_leaves_nothing_behind():
    shown = pictures(5)
    painter = Slow(shown[0])
    painting = Painting(painter, beside=True)
    for picture, target in zip(shown, painter.canvas(5).unbind(), strict=True):
        painting.add(picture, target)
    painter.allowed.set()
    painting.forget()
    assert painter.begun == 4  # the fifth was not handed over yet
    painting.finish()
    assert painter.begun == 4
    painting.close()
