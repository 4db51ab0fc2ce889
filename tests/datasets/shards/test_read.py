import json
import random
import shutil
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest
from shard_server import DROP, ERROR, WELL, serving

from kinema.core.errors import DataError, UsageError
from kinema.datasets.shards import read
from kinema.datasets.shards.blocks import Retry
from kinema.datasets.shards.index import read_index
from kinema.datasets.shards.order import Share
from kinema.datasets.shards.pack import pack
from kinema.datasets.shards.read import Position, ShardStream
from kinema.video.file import VideoFile

FAST = Retry(attempts=4, first_wait_seconds=0.001)


def numbers(stream):
    return [sample.number for sample in stream]


def test_a_sample_is_what_was_packed(packed, clips_folder, tmp_path):
    samples = list(ShardStream(packed, "train"))
    known = {sample.path.name: sample for sample in clips_folder.samples}
    assert {sample.path for sample in samples} == {name for name, row in known.items() if row.split == "train"}
    for sample in samples:
        row = known[sample.path]
        assert (sample.label, sample.group, sample.dataset) == (row.label, row.group, row.dataset)
        assert packed.labels.name(sample.target) == row.label
        assert (sample.fps, sample.frames, sample.start_seconds, sample.end_seconds) == (Fraction(10), 20, None, None)
    (tmp_path / "one.mp4").write_bytes(samples[0].video)
    with VideoFile(tmp_path / "one.mp4") as video:
        assert len(video.pts) == 20


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("workers", [1, 2, 7, 30])
def test_readers_share_an_epoch_without_repeats_or_losses(packed, ranks, workers):
    assert ranks * workers > len(packed.splits["train"].shards) or workers < 30  # the grid has more readers than shards
    for epoch in (0, 3):
        seen = Counter()
        for rank in range(ranks):
            for worker in range(workers):
                stream = ShardStream(packed, "train", share=Share(rank, ranks, worker, workers), buffer_samples=4)
                stream.go_to(replace(stream.position, epoch=epoch))
                mine = numbers(stream)
                assert len(mine) == len(stream)
                seen.update(mine)
        assert seen == Counter(range(18))


@pytest.mark.parametrize("buffer", [1, 4])
def test_a_single_shard_is_read_from_anywhere_to_there(clips_folder, small, tmp_path, buffer):
    index = pack(clips_folder.filter("test"), tmp_path / "out", options=replace(small, shard_mib=9), workers=0)
    assert len(index.splits["test"].shards) == 1
    stream = ShardStream(index, "test", buffer_samples=buffer)
    firsts = set()
    for _ in range(6):
        order = numbers(stream)
        assert sorted(order) == list(range(6))
        firsts.add(order[0])
    assert len(firsts) > 1


def test_the_order_is_another_each_epoch_and_the_same_each_time(packed):
    one, two = ShardStream(packed, "train", seed=1), ShardStream(packed, "train", seed=1)
    first, second = numbers(one), numbers(one)
    assert sorted(first) == sorted(second) == list(range(18))
    assert first != second
    assert (numbers(two), numbers(two)) == (first, second)
    assert numbers(ShardStream(packed, "train", seed=2)) != first


@pytest.mark.parametrize("given", [0, 1, 5, 9, 17, 18, 23])
@pytest.mark.parametrize("buffer", [1, 4, 100])
def test_a_stream_goes_on_from_any_position(packed, given, buffer):
    def endless(stream):
        while True:
            yield from stream

    whole = [sample.number for sample in islice(endless(ShardStream(packed, "train", buffer_samples=buffer)), 54)]
    stopped = ShardStream(packed, "train", buffer_samples=buffer)
    before = [sample.number for sample in islice(endless(stopped), given)]
    kept = json.loads(json.dumps(stopped.position.to_json()))
    resumed = ShardStream(packed, "train", buffer_samples=buffer)
    resumed.go_to(Position.from_json(kept))
    after = [sample.number for sample in islice(endless(resumed), 54 - given)]
    assert before + after == whole


def test_resuming_reads_only_what_is_still_to_come(packed):
    with serving(packed.address) as server:
        index = read_index(server.url)
        stream = ShardStream(index, "train", buffer_samples=1)
        stream.go_to(replace(stream.position, given=16))
        server.ranges.clear()
        rest = numbers(stream)
        asked = sum(last - first + 1 for _, first, last in server.ranges)
    assert len(rest) == 2
    assert asked < 4 * max(shard.size_bytes / shard.samples for shard in packed.splits["train"].shards)


def test_neighbours_are_asked_for_at_once_up_to_a_limit(packed, monkeypatch):
    with serving(packed.address) as server:
        index = read_index(server.url)
        for limit, requests in ((8 * 2**20, len(packed.splits["train"].shards)), (1, 18)):
            monkeypatch.setattr(read, "_SPAN_BYTES", limit)
            server.ranges.clear()
            assert len(numbers(ShardStream(index, "train"))) == 18
            assert len(server.ranges) == requests


def test_a_position_of_another_stream(packed):
    position = ShardStream(packed, "train").position
    others = (
        ShardStream(packed, "test"),
        ShardStream(packed, "train", seed=1),
        ShardStream(packed, "train", buffer_samples=3),
        ShardStream(packed, "train", share=Share(0, 2)),
        ShardStream(replace(packed, fingerprint="f" * 64), "train"),
    )
    for other in others:
        with pytest.raises(UsageError, match="the same packed data set"):
            other.go_to(position)
    with pytest.raises(UsageError, match="0 to 18 samples given"):
        ShardStream(packed, "train").go_to(replace(position, given=19))


def test_over_http_with_failures_in_between(packed):
    own = list(ShardStream(packed, "train", seed=6))
    chance = random.Random(0)
    with serving(packed.address) as server:
        server.behave = lambda _number, _name: chance.choice([WELL, WELL, DROP, ERROR])
        index = read_index(f"{server.url}/index.json", retry=Retry(20, 0.001))
        there = list(ShardStream(index, "train", seed=6, retry=Retry(20, 0.001)))
    assert [replace(sample, name="") for sample in there] == [replace(sample, name="") for sample in own]


def test_a_shard_that_stays_away_is_told_and_never_skipped(packed):
    lost = packed.splits["train"].shards[2].name
    with serving(packed.address) as server:
        index = read_index(server.url)
        server.behave = lambda _number, name: ERROR if name == lost else WELL
        stream = ShardStream(index, "train", buffer_samples=1, retry=FAST)
        seen = []
        with pytest.raises(DataError, match=rf"cannot read {server.url}/{lost}, after 4 tries in a row: 500"):
            seen.extend(sample.number for sample in stream)
        server.behave = lambda _number, _name: WELL
        seen += numbers(stream)  # the position is still the one before the failure
    assert sorted(set(seen)) == list(range(18))
    assert len(seen) - len(set(seen)) == 0


def test_file_urls(packed):
    index = read_index(Path(packed.address).as_uri())
    assert numbers(ShardStream(index, "test")) == numbers(ShardStream(packed, "test"))


@pytest.mark.parametrize("damage", ["bytes", "order", b"label", b"calm", b"fight"])
def test_other_bytes_than_were_packed(packed, tmp_path, damage):
    shutil.copytree(packed.address, tmp_path / "copy")
    shard = packed.splits["test"].shards[0]
    path = tmp_path / "copy" / shard.name
    data = bytearray(path.read_bytes())
    if damage == "bytes":
        data[shard.offsets[1] - 700] ^= 255
    elif isinstance(damage, bytes):
        data = data.replace(b'"%s"' % damage, b'"%s"' % damage[::-1])
    else:
        data[:1024] = data[1024:2048]
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"cannot read .*{shard.name}:00000\d\.mp4: (other bytes|no sample)"):
        list(ShardStream(read_index(str(tmp_path / "copy")), "test"))


def test_no_such_split(packed):
    with pytest.raises(DataError, match=r"no split 'trian'.*did you mean 'train'"):
        ShardStream(packed, "trian")
