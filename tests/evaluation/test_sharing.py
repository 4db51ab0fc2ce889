"""Several processes that score the same videos: each window once, each answer as one process gives it."""

import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from kinema.core.errors import KinemaError, MediaError
from kinema.core.labels import LabelMap
from kinema.core.spec import ClipSpec, InputSpec
from kinema.datasets.cache import FrameCache
from kinema.datasets.sample import Sample
from kinema.evaluation.protocol import Views, score_videos
from kinema.inference.predictor import Predictor
from kinema.models.weights import ModelCard
from kinema.models.zoo import create_model
from kinema.video.writer import VideoWriter

SPEC = InputSpec(ClipSpec(frames=4), "rgb", 16, 16, "center", (0.0,) * 3, (1.0,) * 3)
OPTIONS = {"widen_factor": 0.125, "conv1_t_size": 3}


class Meeting:
    """What threads that stand for processes hand to each other."""

    def __init__(self, ranks):
        self.ranks = ranks
        self.barrier = threading.Barrier(ranks)
        self.parts = [None] * ranks

    def exchange(self, rank, part):
        self.parts[rank] = part
        self.barrier.wait()
        parts = list(self.parts)
        self.barrier.wait()
        return parts


class ThreadTeam:
    def __init__(self, meeting, rank):
        self.meeting = meeting
        self.rank = rank
        self.ranks = meeting.ranks

    def gather(self, part):
        return self.meeting.exchange(self.rank, part)

    @contextmanager
    def together(self):
        error = None
        try:
            yield
        except KinemaError as raised:
            error = raised
        for raised in self.meeting.exchange(self.rank, error):
            if raised is not None:
                raise raised


class Noting(torch.nn.Module):
    """A network whose answers depend on all that it is fed with at once, as batch norm's would."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = create_model("resnet3d_10", 2, **OPTIONS)
        self.batches = []

    def forward(self, clips):
        self.batches.append(len(clips))
        return self.network(clips) + clips.mean()


def predictor():
    card = ModelCard("resnet3d_10", OPTIONS, 3, LabelMap.of(["one", "other"]), SPEC, {})
    return Predictor(Noting(), card, device="cpu")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Seven videos of noise, of 2 to 33 frames."""
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    made = []
    for number, frames in enumerate((20, 9, 4, 2, 33, 13, 26)):
        path = folder / f"{number}.mp4"
        with VideoWriter(path, fps=10, size=(16, 16)) as writer:
            writer.write(rng.integers(0, 255, (frames, 16, 16, 3), dtype=np.uint8))
        made.append(Sample(path, "one"))
    return made


class NotingCache(FrameCache):
    """Notes which videos were opened."""

    def open(self, path, **segment):
        self.__dict__.setdefault("opened", []).append(path.stem)
        return super().open(path, **segment)


@pytest.fixture
def cache(tmp_path):
    return FrameCache(16, folder=tmp_path / "frames", limit_bytes=2**28)


def each(ranks, work):
    """What `work(team)` gives or raises in each of so many threads."""
    meeting, results = Meeting(ranks), [None] * ranks

    def run(rank):
        try:
            results[rank] = work(ThreadTeam(meeting, rank))
        except KinemaError as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.mark.parametrize(("ranks", "count"), [(2, 7), (3, 7), (2, 1), (5, 2)])
def test_shared_scores_are_those_of_one_process_to_the_last_bit(samples, cache, ranks, count):
    views, chosen = Views(1), samples[:count]
    alone = predictor()
    expected = score_videos(alone, chosen, cache=cache, views=views)
    crew = [predictor() for _ in range(ranks)]
    results = each(ranks, lambda team: score_videos(crew[team.rank], chosen, cache=cache, views=views, team=team))
    for scored in results:
        assert [video.sample for video in scored] == chosen
        for one, other in zip(scored, expected, strict=True):
            np.testing.assert_array_equal(one.clips, other.clips)
    shared = [one.model.batches for one in crew]
    # No window is scored twice.
    assert sorted(size for batches in shared for size in batches) == sorted(alone.model.batches)
    assert max(map(len, shared)) - min(map(len, shared)) <= 1  # and nobody has much more to do


def test_no_process_opens_what_is_another_ones(samples, tmp_path):
    shelves = [NotingCache(16, folder=tmp_path / "frames", limit_bytes=2**28) for _ in range(2)]
    four = [samples[4]] * 4  # of 30 windows each

    def work(team):
        return score_videos(predictor(), four, cache=shelves[team.rank], views=Views(1), team=team)

    each(2, work)
    # Two to count windows, and those of which a batch of 16 in turn holds a window: all but none here.
    assert [len(shelf.opened) for shelf in shelves] == [2 + 4, 2 + 4]
    short = [samples[2]] * 32  # of one window each

    for shelf in shelves:
        shelf.opened.clear()
    each(2, lambda team: score_videos(predictor(), short, cache=shelves[team.rank], views=Views(1), team=team))
    assert [len(shelf.opened) for shelf in shelves] == [16 + 16, 16 + 16]


@pytest.mark.parametrize("broken", [0, 1])
def test_a_video_that_one_cannot_read_stops_all(samples, cache, tmp_path, broken):
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(b"no video")
    chosen = list(samples)
    chosen[broken] = Sample(damaged, "one")
    results = each(2, lambda team: score_videos(predictor(), chosen, cache=cache, views=Views(1), team=team))
    assert all(isinstance(result, MediaError) and "damaged.mp4" in str(result) for result in results)
