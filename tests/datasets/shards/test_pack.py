import hashlib
import io
import json
import re
import tarfile
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from kinema.core.errors import DataError, UsageError
from kinema.datasets.manifest import read_manifest
from kinema.datasets.shards import pack as packing
from kinema.datasets.shards.index import PackOptions, read_index
from kinema.datasets.shards.pack import pack
from kinema.video.file import VideoFile
from kinema.video.writer import VideoWriter


def members(folder):
    """(shard, name, bytes) of every member of every shard, in order."""
    for shard in sorted(Path(folder).glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                yield shard.name, member.name, tar.extractfile(member).read()


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_shards_hold_every_sample_once_with_what_the_manifest_says(packed, clips_folder):
    facts = [json.loads(data) for _, name, data in members(packed.address) if name.endswith(".json")]
    held = sorted((each["path"], each["label"], each["split"], each["group"], each["dataset"]) for each in facts)
    said = sorted(
        (sample.path.name, sample.label, sample.split, sample.group, sample.dataset) for sample in clips_folder.samples
    )
    assert held == said
    assert {(each["fps"], each["frames"], each["width_px"], each["height_px"]) for each in facts} == {
        ("10", 20, 42, 32)
    }


def test_one_set_of_shards_a_split_in_the_layout_of_webdataset(packed):
    assert {name: split.samples for name, split in packed.splits.items()} == {"train": 18, "test": 6}
    for split in packed.splits:
        names = [(shard, name) for shard, name, _ in members(packed.address) if shard.startswith(split)]
        assert [name for _, name in names] == [
            f"{number:06}.{suffix}" for number in range(packed.splits[split].samples) for suffix in ("json", "mp4")
        ]
        assert len({shard for shard, _ in names}) == len(packed.splits[split].shards) > 1
        assert packed.splits[split].classes == (packed.splits[split].samples // 2,) * 2


def test_the_index_tells_size_hash_and_offsets_of_every_shard(packed):
    for split in packed.splits.values():
        for shard in split.shards:
            data = (Path(packed.address) / shard.name).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (shard.size_bytes, shard.sha256)
            for begin, end in pairwise(shard.offsets):
                with tarfile.open(fileobj=io.BytesIO(data[begin:end])) as tar:
                    assert [name.partition(".")[2] for name in tar.getnames()] == ["json", "mp4"]
    assert read_index(packed.address).to_json() == packed.to_json()
    assert sorted(path.name for path in Path(packed.address).iterdir() if path.suffix != ".tar") == ["index.json"]


def test_a_shard_is_closed_once_it_is_full(packed, small):
    for split in packed.splits.values():
        for shard in split.shards[:-1]:
            assert shard.offsets[-2] < small.shard_mib * 2**20 <= shard.offsets[-1]


def test_the_order_is_shuffled_by_the_seed_whatever_the_order_of_rows(clips_folder, packed, small, tmp_path):
    def order(folder):
        return [json.loads(data)["path"] for _, name, data in members(folder) if name.endswith(".json")]

    turned = clips_folder.take(reversed(range(len(clips_folder))))
    pack(turned, tmp_path / "turned", options=small, workers=0)
    assert contents(tmp_path / "turned").keys() == contents(packed.address).keys()
    assert order(tmp_path / "turned") == order(packed.address) != sorted(order(packed.address))
    pack(clips_folder, tmp_path / "other", options=replace(small, seed=4), workers=0)
    assert sorted(order(tmp_path / "other")) == sorted(order(packed.address))
    assert order(tmp_path / "other") != order(packed.address)


def test_workers_give_the_same_bytes(clips_folder, packed, small, tmp_path):
    pack(clips_folder, tmp_path / "out", options=small, workers=2)
    assert contents(tmp_path / "out") == contents(packed.address)


def test_keyframes_are_close_and_pictures_are_those_of_the_original(packed, clips_folder, tmp_path):
    pairs = list(members(packed.address))
    facts, data = json.loads(pairs[0][2]), pairs[1][2]
    (tmp_path / "clip.mp4").write_bytes(data)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        keys = [number for number, packet in enumerate(container.demux(video=0)) if packet.is_keyframe and packet.size]
    assert max(later - earlier for earlier, later in pairwise([*keys, 20])) <= 8
    with (
        VideoFile(tmp_path / "clip.mp4") as small,
        VideoFile(clips_folder.root / facts["path"], short_side_px=32) as own,
    ):
        kept, original = small.read(range(20)), own.read(range(20))
    difference = kept.data.float() - original.data[..., :32, :42].float()
    assert difference.abs().mean() < 12
    assert [each - kept.pts_seconds[0] for each in kept.pts_seconds] == pytest.approx(list(original.pts_seconds))


def test_keyframes_are_close_in_a_still_picture_too(tmp_path):
    for name in ("a/x.mp4", "b/y.mp4"):
        with VideoWriter(tmp_path / "data" / name, fps=10, size=(32, 32)) as writer:
            writer.write(np.full((30, 32, 32, 3), 90, np.uint8))
    options = PackOptions(keyframe_interval_frames=8)
    pack(read_manifest(tmp_path / "data"), tmp_path / "out", options=options, workers=0)
    for _, name, data in members(tmp_path / "out"):
        if name.endswith(".mp4"):
            with av.open(io.BytesIO(data)) as container:
                packets = [packet for packet in container.demux(video=0) if packet.size]
            assert [number for number, packet in enumerate(packets) if packet.is_keyframe] == [0, 8, 16, 24]


def test_a_small_video_is_not_blown_up_and_odd_sides_lose_a_line(video, tmp_path):
    for name, size in (("a/odd.mp4", (30, 24)), ("b/wide.mp4", (180, 64))):
        video(tmp_path / "data" / name, 1, size=size)
    pack(read_manifest(tmp_path / "data"), tmp_path / "out", options=PackOptions(short_side_px=48), workers=0)
    facts = [json.loads(data) for _, name, data in members(tmp_path / "out") if name.endswith(".json")]
    sizes = {each["path"]: (each["width_px"], each["height_px"]) for each in facts}
    assert sizes == {"a/odd.mp4": (30, 24), "b/wide.mp4": (134, 48)}  # 135 wide before


def test_a_segment_is_cut_with_its_times_exact(tmp_path):
    rate, base = Fraction(30000, 1001), Fraction(1, 30000)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    with VideoWriter(tmp_path / "even.mp4", fps=rate, size=(32, 32)) as writer:
        writer.write(pixels)
    uneven = [1001 * number + 7 * (number % 3) for number in range(60)]
    with VideoWriter(tmp_path / "uneven.mp4", fps=rate, size=(32, 32), time_base=base) as writer:
        writer.write(pixels, pts=uneven)
    rows = ["path,label,start_seconds,end_seconds", "even.mp4,a,0.5,1.0", "even.mp4,b,1.0,", "uneven.mp4,b,0.5,1.0"]
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    manifest = read_manifest(tmp_path / "clips.csv")
    index = pack(manifest, tmp_path / "out", workers=0)
    assert list(index.splits) == ["all"]
    found = list(members(tmp_path / "out"))
    checked = set()
    for (_, _, text), (_, _, data) in zip(found[::2], found[1::2], strict=True):
        facts = json.loads(text)
        span = (facts["start_seconds"], facts["end_seconds"])
        (tmp_path / "cut.mp4").write_bytes(data)
        with VideoFile(tmp_path / facts["path"]) as own, VideoFile(tmp_path / "cut.mp4") as cut:
            own_base, cut_base = own.info.time_base, cut.info.time_base
            times = [pts * own_base for pts in own.pts]
            wanted = [time for time in times if span[0] <= time and (span[1] is None or time < span[1])]
            assert [(pts - cut.pts[0]) * cut_base for pts in cut.pts] == [time - wanted[0] for time in wanted]
            assert len(wanted) == facts["frames"]
        if facts["path"] == "even.mp4":
            assert Fraction(facts["fps"]) == rate
        checked.add((facts["path"], *span))
    assert checked == {("even.mp4", 0.5, 1.0), ("even.mp4", 1.0, None), ("uneven.mp4", 0.5, 1.0)}


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_broken_videos_are_listed_and_the_rest_is_packed(video, tmp_path, workers):
    for number in range(4):
        video(tmp_path / f"data/{'ab'[number % 2]}/{number}.mp4", number)
    whole = (tmp_path / "data/a/0.mp4").read_bytes()
    (tmp_path / "data/a/0.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "data/b/no.mp4").write_bytes(b"no video")
    rows = ["path,label,start_seconds", *(f"data/{'ab'[n % 2]}/{n}.mp4,{'ab'[n % 2]},{0}" for n in range(3))]
    rows += ["data/b/no.mp4,b,0", "data/b/3.mp4,b,100"]
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    options = PackOptions(shard_mib=0.001, seed=1)
    index = pack(read_manifest(tmp_path / "clips.csv"), tmp_path / "out", options=options, workers=workers)
    assert index.splits["all"].samples == 2
    assert sorted(one.path for one in index.broken) == ["data/a/0.mp4", "data/b/3.mp4", "data/b/no.mp4"]
    assert {one.start_seconds for one in index.broken} == {0.0, 100.0}
    assert all(one.reason for one in index.broken)
    assert read_index(str(tmp_path / "out")).broken == index.broken


def test_nothing_that_decodes(tmp_path):
    for name in ("a/x.mp4", "b/y.mp4"):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        (tmp_path / "data" / name).write_bytes(b"no video")
    with pytest.raises(DataError, match="none of the 2 videos"):
        pack(read_manifest(tmp_path / "data"), tmp_path / "out", workers=0)
    assert not list((tmp_path / "out").glob("*.json"))


def stop_after(count, monkeypatch):
    """Let encoding break off after `count` videos; returns the list of what was encoded."""
    seen = []
    encode = packing.encode

    def counted(job):
        if len(seen) == count:
            raise KeyboardInterrupt
        seen.append(job.path)
        return encode(job)

    monkeypatch.setattr(packing, "encode", counted)
    return seen


@pytest.mark.parametrize("count", [0, 1, 7, 20, 23])
def test_stopped_work_goes_on_at_the_first_unfinished_shard(clips_folder, packed, small, tmp_path, monkeypatch, count):
    with monkeypatch.context() as patch:
        stop_after(count, patch)
        with pytest.raises(KeyboardInterrupt):
            pack(clips_folder, tmp_path / "out", options=small, workers=0)
    out = tmp_path / "out"
    assert not (out / "index.json").exists()
    kept = {path.name for path in out.glob("*.tar")}
    with monkeypatch.context() as patch:
        seen = stop_after(100, patch)
        pack(clips_folder, out, options=small, workers=0)
    finished = sum(shard.samples for split in packed.splits.values() for shard in split.shards if shard.name in kept)
    assert len(seen) == 24 - finished
    assert contents(out) == contents(packed.address)


@pytest.mark.parametrize("seed", range(3))
def test_broken_videos_are_used_up_once_whenever_work_was_stopped(video, tmp_path, monkeypatch, seed):
    for number in range(6):
        video(tmp_path / f"data/{'ab'[number % 2]}/{number}.mp4", number, frames=4, size=(16, 16))
    for name in ("a/2.mp4", "b/5.mp4"):
        (tmp_path / "data" / name).write_bytes(b"no video")
    manifest, options = read_manifest(tmp_path / "data"), PackOptions(shard_mib=0.001, seed=seed)
    index = pack(manifest, tmp_path / "whole", options=options, workers=0)
    assert sorted(one.path for one in index.broken) == ["a/2.mp4", "b/5.mp4"]
    for count in range(1, 6):
        out = tmp_path / f"out{count}"
        with monkeypatch.context() as patch:
            stop_after(count, patch)
            with pytest.raises(KeyboardInterrupt):
                pack(manifest, out, options=options, workers=0)
        pack(manifest, out, options=options, workers=0)
        assert contents(out) == contents(tmp_path / "whole")


def test_a_finished_pack_is_not_made_again(clips_folder, packed, small, monkeypatch):
    seen = stop_after(0, monkeypatch)
    assert pack(clips_folder, packed.address, options=small, workers=0).to_json() == packed.to_json()
    assert seen == []


def test_a_shard_lost_before_the_end_is_made_again(clips_folder, packed, small, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(12, patch)
        with pytest.raises(KeyboardInterrupt):
            pack(clips_folder, tmp_path / "out", options=small, workers=0)
    (tmp_path / "out/train-000001.tar").write_bytes(b"cut")
    pack(clips_folder, tmp_path / "out", options=small, workers=0)
    assert contents(tmp_path / "out") == contents(packed.address)


def test_other_work_is_never_overwritten(clips_folder, packed, small, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="holds something else"):
        pack(clips_folder, packed.address, options=replace(small, crf=30), workers=0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    with pytest.raises(DataError, match="holds something else"):
        pack(clips_folder, tmp_path / "mine", workers=0)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    stop_after(12, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        pack(clips_folder, tmp_path / "half", options=small, workers=0)
    with pytest.raises(DataError, match="holds something else"):
        pack(clips_folder.take(range(20)), tmp_path / "half", options=small, workers=0)


def test_two_runs_at_once_are_kept_apart(clips_folder, packed, small, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(12, patch)
        with pytest.raises(KeyboardInterrupt):
            pack(clips_folder, tmp_path / "out", options=small, workers=0)
    staged = tmp_path / "out/.staged/first.mp4"
    staged.touch()
    with packing._alone_in(tmp_path / "out"), pytest.raises(DataError, match="another process writes shards to"):
        pack(clips_folder, tmp_path / "out", options=small, workers=0)
    assert staged.exists()
    pack(clips_folder, tmp_path / "out", options=small, workers=0)
    assert contents(tmp_path / "out") == contents(packed.address)


def test_a_file_in_the_way(clips_folder, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(DataError, match=re.escape(f"cannot write shards to {tmp_path / 'out'}")):
        pack(clips_folder, tmp_path / "out", workers=0)


@pytest.mark.parametrize(
    "wrong",
    [{"shard_mib": 0}, {"short_side_px": 33}, {"crf": 52}, {"keyframe_interval_frames": 0}, {"seed": -1}],
    ids=str,
)
def test_options_out_of_range(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        PackOptions(**wrong)


def test_less_than_no_workers(clips_folder, tmp_path):
    with pytest.raises(UsageError, match="-1 workers"):
        pack(clips_folder, tmp_path / "out", workers=-1)


def test_the_index_tells_what_splits_share(packed, tmp_path, video, small):
    assert packed.leaks == ("5 groups have clips in both train and test",)  # cameras of the small data set
    assert packed.ungrouped == 0
    video(tmp_path / "a.mp4", 1)
    rows = ["path,label,split,group,start_seconds", "a.mp4,x,train,,0", "a.mp4,y,val,,1"]
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    index = pack(read_manifest(tmp_path / "clips.csv"), tmp_path / "packed", options=small, workers=0)
    assert (index.leaks, index.ungrouped) == (("1 file has segments in both train and val",), 2)


def test_shards_are_no_manifest(packed):
    for data in (packed.address, "https://server/packed"):
        with pytest.raises(DataError, match="is a packed data set, or nothing") as caught:
            read_manifest(data)
        assert "name what it was packed from" in caught.value.next_step
