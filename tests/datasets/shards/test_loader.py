import shutil
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kinema.core.errors import DataError, MediaError, UsageError
from kinema.core.seeds import stream
from kinema.core.spec import ClipSpec, InputSpec
from kinema.datasets.cache import FrameCache
from kinema.datasets.loader import TrainingClips
from kinema.datasets.sample import Sample
from kinema.datasets.shards import loader
from kinema.datasets.shards.index import read_index
from kinema.datasets.shards.loader import PackedClips, PackedLoader, random_clip
from kinema.datasets.shards.read import ShardStream
from kinema.transforms.presets import AugmentSpec, TrainTransform

SPEC = InputSpec(clip=ClipSpec(frames=4, stride=2), size_px=24, short_side_px=32)
TRANSFORM = TrainTransform(SPEC, AugmentSpec())


def clips_of(packed, **changes):
    return PackedClips(packed, "train", SPEC, TRANSFORM, **{"batch_size": 4, "seed": 9, "buffer_samples": 3, **changes})


def rows(batches):
    return [row for batch in batches for row in batch.rows]


def same(one, other):
    return len(one) == len(other) and all(
        a.rows == b.rows and torch.equal(a.clips, b.clips) and torch.equal(a.targets, b.targets)
        for a, b in zip(one, other, strict=True)
    )


def test_a_clip_is_the_one_that_training_on_files_would_draw(packed, tmp_path):
    sample = next(iter(ShardStream(packed, "train")))
    path = tmp_path / "video.mp4"
    path.write_bytes(sample.video)
    files = [Sample(path, sample.label)] * (sample.number + 1)
    own = TrainingClips(files, [0] * len(files), SPEC, transform=TRANSFORM, cache=FrameCache(32), seed=9, speed=0.3)
    draw = type("Draw", (), {"epoch": 2, "row": sample.number, "turn": 0})()
    clip = random_clip(sample, SPEC, TRANSFORM, stream(9, "clip", 2, sample.number), speed=0.3)
    assert clip.shape == (4, 3, 24, 24)
    assert torch.equal(clip, own[draw][0])


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("workers", [1, 2, 7])
def test_an_epoch_gives_each_sample_at_most_once_and_whole_batches(packed, ranks, workers):
    for epoch in (0, 1):
        seen = Counter()
        for rank in range(ranks):
            clips = clips_of(packed, batch_size=2, rank=rank, ranks=ranks)
            batches = [
                batch for worker in range(workers) for batch in clips.read(epoch, worker=worker, workers=workers)
            ]
            assert [len(batch) for batch in batches] == [2] * clips.batches
            seen.update(row for batch in batches for row in batch.rows)
        assert max(seen.values()) == 1
        assert 18 - len(seen) < 2 * ranks


def test_targets_are_those_of_the_samples(packed):
    known = {sample.number: sample.target for sample in ShardStream(packed, "train")}
    for batch in PackedLoader(clips_of(packed)):
        assert batch.targets.tolist() == [known[row] for row in batch.rows]
        assert batch.clips.shape == (4, 4, 3, 24, 24)


def test_epochs_differ_and_come_again(packed):
    feed = PackedLoader(clips_of(packed))
    epochs = []
    for epoch in (0, 1, 0):
        feed.go_to(epoch)
        assert len(feed) == feed.batches == 4
        epochs.append(list(feed))
    assert same(epochs[0], epochs[2])
    assert [batch.rows for batch in epochs[0]] != [batch.rows for batch in epochs[1]]
    first, second = (
        {row: clip for batch in epoch for row, clip in zip(batch.rows, batch.clips, strict=True)}
        for epoch in epochs[:2]
    )
    assert any(not torch.equal(first[row], second[row]) for row in first.keys() & second.keys())  # another clip of it


def test_what_a_clip_shows_depends_on_seed_epoch_and_sample_alone(packed):
    def by_row(**changes):
        feed = PackedLoader(clips_of(packed, **changes))
        return {row: clip for batch in feed for row, clip in zip(batch.rows, batch.clips, strict=True)}

    one, other = by_row(), by_row(batch_size=3, buffer_samples=9)
    for row in one.keys() & other.keys():
        assert torch.equal(one[row], other[row])
    again = by_row(seed=1)
    assert any(not torch.equal(one[row], again[row]) for row in one.keys() & again.keys())


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
@pytest.mark.parametrize("skip", [0, 1, 2, 4, 5])
def test_workers_in_turn_go_on_where_they_stopped(packed, monkeypatch, workers, skip):
    """What the loader does with its processes, here without them."""
    turn = loader._Turn(clips_of(packed, batch_size=3))

    def in_turn(skip):
        turn.go_to(0, skip)
        readers = []
        for place in range(workers):
            info = SimpleNamespace(id=place, num_workers=workers)
            monkeypatch.setattr(loader, "get_worker_info", lambda info=info: info)
            readers.append(iter(turn))
        given = []
        while readers:
            for reader in list(readers):
                batch = next(reader, None)
                if batch is None:
                    readers.remove(reader)
                else:
                    given.append(batch)
        return given

    whole = in_turn(0)
    assert len(whole) == 6
    assert same(in_turn(skip), whole[skip:])


@pytest.mark.slow  # processes load torch afresh
def test_two_processes_go_on_in_the_middle_of_an_epoch(packed):
    feed = PackedLoader(clips_of(packed, batch_size=3), workers=2)
    whole = list(feed)
    assert len(whole) == 6
    feed.go_to(0, skip_batches=3)
    assert same(list(feed), whole[3:])
    feed.go_to(1)
    other = list(feed)
    assert sorted(rows(other)) == sorted(rows(whole)) == list(range(18))
    assert not same(other, whole)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])  # a process loads torch afresh
def test_what_cannot_be_read_is_told_in_its_own_words(packed, tmp_path, workers):
    shutil.copytree(packed.address, tmp_path / "copy")
    for shard in (tmp_path / "copy").glob("*.tar"):
        shard.unlink()
    index = read_index(str(tmp_path / "copy"))
    with pytest.raises(DataError, match="cannot read") as caught:
        list(PackedLoader(clips_of(index), workers=workers))
    assert caught.value.given.startswith(f"cannot read {tmp_path}")  # and no traceback
    assert caught.value.allowed
    assert caught.value.next_step


def test_a_video_that_is_too_short_is_named(packed):
    spec = replace(SPEC, clip=ClipSpec(frames=64, padding="none"))
    sample = next(iter(ShardStream(packed, "train")))
    with pytest.raises(DataError, match=rf"{sample.number:06}\.mp4: a video with 20 frames"):
        random_clip(sample, spec, TRANSFORM, np.random.default_rng(0))


def test_a_split_smaller_than_a_batch(packed):
    (batch,) = PackedLoader(clips_of(packed, batch_size=100))
    assert sorted(batch.rows) == list(range(18))


def test_a_video_that_does_not_decode_is_named_by_its_shard(packed):
    sample = next(iter(ShardStream(packed, "train")))
    cut = replace(sample, video=sample.video[: len(sample.video) // 2])
    with pytest.raises(MediaError, match=rf"train-00000\d\.tar:{sample.number:06}\.mp4"):
        random_clip(cut, SPEC, TRANSFORM, np.random.default_rng(0))


def test_what_cannot_be_batched(packed):
    with pytest.raises(UsageError, match="batches of 0"):
        clips_of(packed, batch_size=0)
    with pytest.raises(UsageError, match="18 samples for 19 processes"):
        clips_of(packed, ranks=19)
