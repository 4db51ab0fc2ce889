import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from shard_server import serving

from kinema.core.errors import DataError
from kinema.core.progress import Silent
from kinema.datasets.cache import FrameCache
from kinema.datasets.manifest import read_manifest
from kinema.datasets.shards.decode import as_file
from kinema.datasets.shards.index import read_index
from kinema.datasets.shards.members import PackedVideos
from kinema.datasets.shards.pack import pack
from kinema.datasets.shards.read import ShardStream, member_name


@pytest.fixture
def cache(tmp_path):
    return FrameCache(24, folder=tmp_path / "frames", limit_bytes=2**28)


def told(samples, root):
    return Counter(
        (str(one.path.relative_to(root)), one.label, one.split, one.group, one.start_seconds, one.end_seconds,
         one.dataset)
        for one in samples
    )  # fmt: skip


@pytest.mark.parametrize("split", ["train", "test"])
def test_samples_are_called_as_in_the_manifest(packed, clips_folder, cache, split):
    videos = PackedVideos(packed, cache)
    samples = videos.samples(split, Silent())
    assert told(samples, videos.root) == told(clips_folder.filter(split).samples, clips_folder.root)
    assert PackedVideos(packed, cache).samples(split, Silent()) == samples  # remembered


def test_frames_are_those_of_the_shards(packed, cache, tmp_path):
    videos = PackedVideos(packed, cache)
    samples = videos.samples("test", Silent())
    plain = FrameCache(24, folder=tmp_path / "plain", limit_bytes=2**28)
    for member in ShardStream(packed, "test"):
        sample = samples[member.number]
        assert (sample.path, sample.label) == (videos.root / member.path, member.label)
        with as_file(member) as path:
            expected = plain.open(path)
        found = videos.open(sample.path)
        assert torch.equal(found.data, expected.data)
        assert found.times == expected.times
        assert not path.exists()


def test_a_url_is_read_once_and_again_where_frames_are_gone(packed, cache):
    with serving(packed.address) as server:
        index = read_index(server.url)
        first = PackedVideos(index, cache).samples("test", Silent())
        read = len(server.ranges)
        again = PackedVideos(index, cache)
        assert again.samples("test", Silent()) == first
        again.open(first[2].path)
        assert len(server.ranges) == read
        whole = again.open(first[2].path).data.clone()
        shutil.rmtree(cache.folder)
        assert torch.equal(again.open(first[2].path).data, whole)
        assert len(server.ranges) == read + 1  # this one alone
        again.open(first[2].path)
        assert len(server.ranges) == read + 1
        assert PackedVideos(index, cache).samples("test", Silent()) == first


def test_a_sample_that_was_not_asked_for(packed, cache):
    videos = PackedVideos(packed, cache)
    samples = videos.samples("test", Silent())
    with pytest.raises(DataError, match="no sample"):
        videos.open(samples[0].path, start_seconds=1.0)
    with pytest.raises(DataError, match="no split 'val'"):
        videos.samples("val", Silent())


def test_segments_of_one_file_are_told_apart(tmp_path, cache, video, small):
    video(tmp_path / "a.mp4", 1)
    rows = ["path,label,start_seconds,end_seconds", "a.mp4,x,0,0.5", "a.mp4,y,0.5,", "a.mp4,x,1.5,1.9"]
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    manifest = read_manifest(tmp_path / "clips.csv")
    videos = PackedVideos(pack(manifest, tmp_path / "packed", options=small, workers=0), cache)
    samples = videos.samples("all", Silent())
    assert told(samples, videos.root) == told(manifest.samples, manifest.root)
    lengths = {
        one.start_seconds: len(
            videos.open(one.path, start_seconds=one.start_seconds, end_seconds=one.end_seconds).times
        )
        for one in samples
    }
    assert lengths == {0.0: 5, 0.5: 15, 1.5: 4}


def test_members_are_named_by_shard_and_place(packed):
    named = {member.number: member.name for member in ShardStream(packed, "train")}
    assert named == {number: member_name(packed, "train", number) for number in range(18)}
    assert len({name.partition(":")[0] for name in named.values()}) > 1
    assert all(Path(name.rpartition(":")[0]).is_file() for name in named.values())
