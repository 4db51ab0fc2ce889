"""Clips for training: who sees which row when, and that chance follows from (seed, epoch, row) alone."""

import shutil

import numpy as np
import pytest
import torch

from kinema.core.errors import DataError, MediaError, UsageError
from kinema.core.spec import ClipSpec, InputSpec
from kinema.datasets.cache import FrameCache
from kinema.datasets.loader import Batch, Draw, EpochSampler, FileFeed, TrainingClips, require_length, training_loader
from kinema.datasets.sample import Sample
from kinema.transforms.presets import AugmentSpec, TrainTransform
from kinema.video.writer import VideoWriter

SPEC = InputSpec(clip=ClipSpec(frames=4), size_px=24, short_side_px=32)


def rows_of(sampler):
    return [[draw.row for draw in batch] for batch in sampler]


def flat(batches):
    return [row for batch in batches for row in batch]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_together_ranks_see_every_row_once(ranks):
    seen = []
    for rank in range(ranks):
        sampler = EpochSampler(24, 4, seed=1, rank=rank, ranks=ranks)
        batches = rows_of(sampler)
        assert [len(batch) for batch in batches] == [4] * (6 // ranks)
        assert len(sampler) == sampler.batches == len(batches)
        seen += flat(batches)
    assert sorted(seen) == list(range(24))


@pytest.mark.parametrize(("ranks", "batches"), [(1, 3), (2, 1)])
def test_rows_that_fill_no_batch_are_left_out_of_that_epoch_only(ranks, batches):
    samplers = [EpochSampler(14, 4, seed=0, rank=rank, ranks=ranks) for rank in range(ranks)]
    trained = set()
    for epoch in range(12):
        seen = []
        for sampler in samplers:
            sampler.go_to(epoch)
            assert [len(batch) for batch in rows_of(sampler)] == [4] * batches
            seen += flat(rows_of(sampler))
        assert len(set(seen)) == len(seen) == 4 * batches * ranks
        trained |= set(seen)
    assert trained == set(range(14))


def test_every_epoch_and_seed_has_an_order_of_its_own():
    orders = set()
    for seed in (0, 1):
        sampler = EpochSampler(12, 4, seed)
        for epoch in (0, 1, 2):
            sampler.go_to(epoch)
            first = rows_of(sampler)
            assert rows_of(sampler) == first
            assert {draw.epoch for batch in sampler for draw in batch} == {epoch}
            orders.add(tuple(flat(first)))
    assert len(orders) == 6
    assert tuple(range(12)) not in orders


@pytest.mark.parametrize("skipped", [0, 1, 5, 6])
def test_skipping_leaves_exactly_the_rest(skipped):
    sampler = EpochSampler(25, 4, seed=3)
    sampler.go_to(7)
    whole = rows_of(sampler)
    sampler.go_to(7, skip_batches=skipped)
    assert rows_of(sampler) == whole[skipped:]
    assert len(sampler) == 6 - skipped
    assert sampler.batches == 6


def test_fewer_rows_than_a_batch_make_one_batch():
    assert sorted(flat(rows_of(EpochSampler(3, 8, seed=0)))) == [0, 1, 2]
    parts = [rows_of(EpochSampler(5, 8, seed=0, rank=rank, ranks=2)) for rank in (0, 1)]
    assert [len(part) for part in parts] == [1, 1]
    assert sorted(flat(parts[0] + parts[1])) == [0, 1, 2, 3, 4]


def test_more_processes_than_rows_are_refused():
    with pytest.raises(UsageError, match="2 samples for 3 processes"):
        EpochSampler(2, 1, seed=0, ranks=3)


@pytest.fixture(scope="module")
def ramps(tmp_path_factory):
    """Three clips, plain in each frame and brighter from frame to frame: a clip tells which frames it holds."""
    folder = tmp_path_factory.mktemp("ramps")
    samples = []
    for number in range(3):
        path = folder / f"{number}.mkv"
        frames = np.zeros((30, 32, 48, 3), np.uint8) + np.arange(30, dtype=np.uint8)[:, None, None, None] * 2
        with VideoWriter(path, fps=15, size=(48, 32), crf=0) as writer:
            writer.write(frames + np.uint8(80 * number))
        samples.append(Sample(path, "ab"[number % 2]))
    return samples


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return FrameCache(32, folder=tmp_path_factory.mktemp("frames"), limit_bytes=2**28)


def clips_of(samples, cache, *, seed=5, speed=0.0):
    transform = TrainTransform(SPEC, AugmentSpec())
    return TrainingClips(samples, [0, 1, 0], SPEC, transform=transform, cache=cache, seed=seed, speed=speed)


def frame_numbers(clip, whole):
    """Where in the frames `whole` of a video those of `clip` are."""
    levels, all_levels = (frames.float().mean(dim=(1, 2, 3)) for frames in (clip, whole))
    distances = (levels[:, None] - all_levels).abs()
    assert distances.amin(dim=1).max() < 0.01
    return distances.argmin(dim=1).tolist()


def test_a_clip_is_cut_from_its_row(ramps, cache):
    clips = clips_of(ramps, cache)
    assert len(clips) == 3
    for row in range(3):
        data, target, told = clips[Draw(0, row)]
        assert (data.shape, data.dtype) == ((4, 3, 24, 24), torch.uint8)
        assert (target, told) == ([0, 1, 0][row], row)
        numbers = frame_numbers(data, cache.open(ramps[row].path).data)
        assert np.diff(numbers).tolist() == [1, 1, 1]
        assert 0 <= numbers[0] <= 26


def test_starts_cover_the_whole_video(ramps, cache):
    clips = clips_of(ramps, cache)
    whole = cache.open(ramps[0].path).data
    starts = {frame_numbers(clips[Draw(epoch, 0)][0], whole)[0] for epoch in range(150)}
    assert {0, 26} <= starts <= set(range(27))
    assert len(starts) > 20


def test_a_segment_is_not_left(ramps, cache):
    segment = Sample(ramps[0].path, "a", start_seconds=0.4, end_seconds=1.0)
    clips = clips_of([segment] * 3, cache)
    whole = cache.open(ramps[0].path).data
    seen = {number for epoch in range(40) for number in frame_numbers(clips[Draw(epoch, 0)][0], whole)}
    assert seen == set(range(6, 15))


def test_clips_depend_on_seed_epoch_and_row_alone(ramps, cache):
    one = clips_of(ramps, cache)
    first = one[Draw(3, 1)][0]
    for epoch in range(3):
        one[Draw(epoch, 0)]
    assert torch.equal(one[Draw(3, 1)][0], first)
    np.random.default_rng(0).random(9)
    torch.manual_seed(99)
    again = clips_of(ramps, cache)
    assert torch.equal(again[Draw(3, 1)][0], first)
    # The same file in another row, epoch or run is cut elsewhere.
    thrice = clips_of([ramps[1]] * 3, cache)
    assert not torch.equal(thrice[Draw(3, 0)][0], thrice[Draw(3, 1)][0])
    assert not torch.equal(thrice[Draw(3, 1)][0], thrice[Draw(4, 1)][0])
    assert not torch.equal(clips_of(ramps, cache, seed=6)[Draw(3, 1)][0], first)


def test_speed_stretches_clips(ramps, cache):
    """At strength 0.7 a clip runs 0.5 to 2 times as fast; without it, never."""
    clips = clips_of(ramps, cache, speed=0.7)
    whole = cache.open(ramps[0].path).data
    spans = []
    for epoch in range(60):
        numbers = frame_numbers(clips[Draw(epoch, 0)][0], whole)
        spans.append(numbers[-1] - numbers[0])
        assert 0 <= numbers[0] <= numbers[-1] <= 29
    assert set(spans) <= set(range(1, 7))
    assert min(spans) < 3 < max(spans)


def test_a_file_that_went_bad_is_named(ramps, tmp_path):
    path = tmp_path / "a.mkv"
    shutil.copy(ramps[0].path, path)
    clips = clips_of([Sample(path, "a")] * 3, FrameCache(32, folder=tmp_path / "frames", limit_bytes=0))
    path.write_bytes(b"gone")
    with pytest.raises(MediaError, match=r"a\.mkv"):
        clips[Draw(0, 0)]
    for workers in (0, 1):
        with pytest.raises(MediaError) as caught:
            list(FileFeed(clips, EpochSampler(3, 1, seed=0), workers=workers, pin_memory=False))
        assert caught.value.path == path
        assert "Traceback" not in caught.value.given


def test_batches_hold_what_their_rows_say(ramps, cache):
    clips = clips_of(ramps, cache)
    sampler = EpochSampler(3, 2, seed=0)
    sampler.go_to(4)
    (batch,) = training_loader(clips, sampler, workers=0, pin_memory=False)
    assert isinstance(batch, Batch)
    assert (len(batch), repr(batch)) == (2, "Batch((2, 4, 3, 24, 24))")
    assert list(batch.rows) == rows_of(sampler)[0]
    assert batch.targets.dtype == torch.int64
    assert batch.targets.tolist() == [[0, 1, 0][row] for row in batch.rows]
    for clip, row in zip(batch.clips, batch.rows, strict=True):
        assert torch.equal(clip, clips[Draw(4, row)][0])


def test_processes_read_the_very_same_batches(ramps, cache):
    """Two epochs, the second entered in its middle, with processes that stay."""
    clips = clips_of(ramps, cache, speed=0.5)
    read = {}
    for workers in (0, 2):
        sampler = EpochSampler(3, 1, seed=2)
        loader = training_loader(clips, sampler, workers=workers, pin_memory=False)
        read[workers] = []
        for epoch, skipped in ((0, 0), (1, 2)):
            sampler.go_to(epoch, skip_batches=skipped)
            read[workers] += list(loader)
    assert len(read[0]) == 3 + 1
    for one, other in zip(read[0], read[2], strict=True):
        assert one.rows == other.rows
        assert torch.equal(one.clips, other.clips)
        assert torch.equal(one.targets, other.targets)


def test_loading_draws_nothing_from_torch(ramps, cache):
    """Dropout draws from torch's own generator; reading must not move it on."""
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    list(training_loader(clips_of(ramps, cache), EpochSampler(3, 1, seed=2), workers=0, pin_memory=False))
    assert torch.equal(torch.rand(3), expected)


def test_videos_too_short_are_named_all_at_once(ramps, cache):
    shorter = [Sample(ramps[1].path, "a", end_seconds=1.0), ramps[0], Sample(ramps[2].path, "a", start_seconds=1.5)]
    with pytest.raises(DataError) as caught:
        require_length(shorter, cache, ClipSpec(frames=20, padding="none"))
    assert "2 of 3 videos" in caught.value.given
    assert f"  {ramps[1].path}: 15" in caught.value.given
    assert f"  {ramps[2].path}: 7" in caught.value.given
    assert str(ramps[0].path) not in caught.value.given
    assert "20 frames or more" in caught.value.allowed


@pytest.mark.parametrize(
    ("spec", "refused"),
    [
        (ClipSpec(frames=30, padding="none"), False),
        (ClipSpec(frames=31, padding="none"), True),
        (ClipSpec(frames=15, stride=2, padding="none"), False),
        (ClipSpec(frames=16, stride=2, padding="none"), True),
        (ClipSpec(frames=10, fps=5.0, padding="none"), False),
        (ClipSpec(frames=11, fps=5.0, padding="none"), True),
        (ClipSpec(frames=31, padding="loop"), False),
        (ClipSpec(frames=31, padding="last"), False),
    ],
)
def test_length_is_counted_on_the_clip_grid(ramps, cache, spec, refused):
    if refused:
        with pytest.raises(DataError, match="3 of 3 videos"):
            require_length(ramps, cache, spec)
    else:
        require_length(ramps, cache, spec)
