"""What can be seen of packed data before anything of it is read, and what training on it is given."""

import json
import shutil
import socket
from collections import Counter

import pytest
import torch

from kinema.core.errors import DataError, UsageError
from kinema.core.progress import Silent
from kinema.datasets.manifest import read_manifest
from kinema.datasets.shards import blocks
from kinema.datasets.shards.index import read_index
from kinema.training.material import FileMaterial, Seat, ShardMaterial
from kinema.training.recipe import make_config
from kinema.training.request import begin, resume
from kinema.training.source import address_of, name_of, plan
from kinema.transforms.presets import AugmentSpec, TrainTransform
from kinema.video.still import encode_jpeg

ALL_TRAINS = {"val_fraction": 0, "test_fraction": 0, "skip_broken": True}
INPUT = {"frames": 8, "stride": 1, "size": 32, "short_side": 36}


def planned(packed_clips, **settings):
    return plan(make_config(INPUT, {"data": packed_clips.address}, settings))


@pytest.fixture
def changed(packed_clips, tmp_path):
    """The packed clips under an index that was changed, by its address."""

    def change(edit):
        shutil.copytree(packed_clips.address, tmp_path / "changed")
        value = json.loads((tmp_path / "changed" / "index.json").read_text())
        edit(value)
        (tmp_path / "changed" / "index.json").write_text(json.dumps(value))
        return str(tmp_path / "changed")

    return change


@pytest.mark.parametrize(
    ("settings", "kind", "given", "next_step"),
    [
        ({"folds": 3}, UsageError, "--folds 3, but .* shards cannot be parted", "leave out --folds 3"),
        ({"split_by": "group"}, UsageError, "--split-by group, but", "kinema data split"),
        ({"split_by": "random"}, UsageError, "--split-by random, but", "leave out"),
        ({"balance": "class"}, UsageError, "balance 'class'", "class_weights=balanced"),
        ({"balance": "dataset"}, UsageError, "balance 'dataset'", "train on manifest.csv itself"),
        ({"modality": "flow"}, DataError, "shards hold pictures", "kinema data flow"),
        ({"data_sha256": "0" * 64}, DataError, "index.json of .* is another one", "put them back"),
    ],
)
def test_what_cannot_be_had_of_shards(packed_clips, settings, kind, given, next_step):
    with pytest.raises(kind, match=given) as caught:
        planned(packed_clips, **settings)
    assert caught.value.allowed
    assert next_step in caught.value.next_step


def only(*names):
    def edit(value):
        value["splits"] = {name: value["splits"][name] for name in names}

    return edit


@pytest.mark.parametrize(
    ("edit", "given"),
    [
        (only("train", "test"), r"no split 'val', only train \(12\), test \(8\), and shards cannot be parted"),
        (only("val", "test"), r"no split 'train', only val \(4\), test \(8\)"),
        (lambda value: value["leaks"].append("2 groups have clips in both train and val"), "2 groups have clips"),
        (lambda value: value["splits"]["train"]["classes"].update(normal=0), "no training sample for normal"),
        (
            lambda value: [split["classes"].update(normal=0) for split in value["splits"].values()],
            r"all \d+ videos of .* are labelled 'selfharm'",
        ),
    ],
)
def test_an_index_that_cannot_be_trained_on(changed, edit, given):
    with pytest.raises(DataError, match=given) as caught:
        plan(make_config(INPUT, {"data": changed(edit)}))
    assert caught.value.allowed
    assert caught.value.next_step


def test_what_may_be_done_without(changed, tmp_path):
    address = changed(only("train", "test"))
    source = plan(make_config(INPUT, {"data": address, "val_fraction": 0})).read(Silent())
    (division,) = source.divisions
    assert (len(division.train), len(division.val), len(division.test)) == (12, 0, 8)
    value = json.loads((tmp_path / "changed" / "index.json").read_text())
    value["leaks"].append("2 groups have clips in both train and test")
    value["broken"].append({"path": "a.mp4", "start_seconds": 1.5, "end_seconds": None, "reason": "no video"})
    (tmp_path / "changed" / "index.json").write_text(json.dumps(value))
    told = plan(make_config(INPUT, {"data": address, "val_fraction": 0, "allow_leak": True})).read(Silent())
    assert told.divisions[0].notes[0] == "2 groups have clips in both train and test"
    assert [(file.path, file.reason) for file in told.broken] == [("a.mp4 from 1.5 s to the end", "no video")]


def test_pictures_that_are_enlarged_are_told_of(packed_clips):
    assert planned(packed_clips).read(Silent()).notes == ()
    (note,) = planned(packed_clips, short_side=64).read(Silent()).notes
    assert "48 px on the shorter side, enlarged to the 64 px" in note
    (note,) = planned(packed_clips, train_short_side=240).read(Silent()).notes
    assert "are cut from pictures of 48 px on the shorter side, as packed, not of 240 px" in note


def test_larger_frames_are_read_for_training_crops_alone(tiny_clips):
    """Files are 64 x 48: what is tested is read at 36 on the short side, what is learnt from whole."""
    source = plan(make_config(INPUT, {"data": tiny_clips, "train_short_side": 48})).read(Silent())
    (division,) = source.divisions
    learnt, tested = division.train.samples[0], division.test[0]
    assert source.videos.open(tested.path).data.shape[2:] == (36, 48)
    assert division.train.videos.open(learnt.path).data.shape[2:] == (48, 64)


def test_a_bad_segment_takes_no_other_with_it(tiny_clips, tmp_path):
    samples = read_manifest(tiny_clips).samples
    for name, label in (("a", "normal"), ("b", "selfharm")):
        shutil.copy(next(sample.path for sample in samples if sample.label == label), tmp_path / f"{name}.mp4")
    rows = ["a.mp4,normal,0,1", "a.mp4,normal,1,2", "a.mp4,normal,10,", "b.mp4,selfharm,0,2"]
    (tmp_path / "s.csv").write_text("\n".join(["path,label,start_seconds,end_seconds", *rows]))
    config = make_config(INPUT, ALL_TRAINS, {"data": tmp_path / "s.csv"})
    source = plan(config).read(Silent())
    (division,) = source.divisions
    assert [sample.start_seconds for sample in division.train.samples] == [0, 1, 0]
    assert [file.path for file in source.broken] == [f"{tmp_path / 'a.mp4'} from 10 s to the end"]


def test_a_frame_folder_with_a_damaged_record_is_left_out(tmp_path):
    for label in ("calm", "fight"):
        for name in ("1", "2"):
            (tmp_path / "data" / label / name).mkdir(parents=True)
            for number in range(1, 9):
                picture = encode_jpeg(torch.full((3, 36, 48), 20 * number, dtype=torch.uint8), 90)
                (tmp_path / "data" / label / name / f"image_{number:05d}.jpg").write_bytes(picture)
    damaged = tmp_path / "data" / "calm" / "2"
    (damaged / "frames.json").write_text("{")
    source = plan(make_config(INPUT, ALL_TRAINS, {"data": tmp_path / "data"})).read(Silent())
    assert [file.path for file in source.broken] == [str(damaged)]
    assert "1 and 2 more: 25 a second are assumed" in source.notes[0]
    assert len(source.divisions[0].train) == 3


def test_shards_are_not_enlarged_for_training_crops(packed_clips):
    config = make_config(INPUT, {"data": packed_clips.address, "train_short_side": 240})
    material = ShardMaterial(read_index(packed_clips.address))
    crops = TrainTransform(config.input_spec, AugmentSpec())
    assert material.feed(config, config.input_spec, crops, Seat()).clips.spec.short_side_px == 48


@pytest.mark.parametrize("where", ["files", "shards"])
def test_training_crops_are_sharper_of_larger_frames(where, packed_clips, tiny_clips):
    data = str(tiny_clips) if where == "files" else packed_clips.address
    sharpness = {}
    for side in (None, 48):
        config = make_config(INPUT, {"data": data, "train_short_side": side, "crop": "center", "flip": 0})
        (division,) = plan(config).read(Silent()).divisions
        crops = TrainTransform(config.input_spec, AugmentSpec(crop="corner", corner_scales=(0.7,), flip=0))
        batch = next(iter(division.train.feed(config, config.input_spec, crops, Seat())))
        assert batch.clips.shape[-2:] == (32, 32)
        sharpness[side] = float(batch.clips.float().diff(dim=-1).abs().mean())
    assert sharpness[48] > 1.05 * sharpness[None]


def test_clips_that_may_not_be_padded_are_refused_before_training(packed_clips):
    with pytest.raises(DataError, match="12 of 12 videos have too few frames"):  # of those that validate and test
        planned(packed_clips, frames=500, clip_padding="none").read(Silent())


def test_a_url_that_does_not_answer(monkeypatch, tmp_path):
    monkeypatch.setattr(blocks.time, "sleep", lambda _: None)
    with socket.socket() as held:  # a port that is bound, and on which nobody listens
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/packed"
        with pytest.raises(DataError, match=r"cannot read http://.*/packed/index\.json, after 6 tries") as caught:
            begin({"data": url, **INPUT, "model": "resnet3d_10"}, out=tmp_path / "run")
    assert "that the address is right" in caught.value.next_step
    assert not (tmp_path / "run").exists()


def test_files_have_no_index(tiny_clips):
    with pytest.raises(UsageError, match=r"data_sha256 with .* which is not packed"):
        plan(make_config({"data": tiny_clips, "data_sha256": "0" * 64}))


def test_a_run_does_not_go_on_with_other_shards(packed_clips, tmp_path, changed):
    address = changed(dict)
    run = tmp_path / "run"
    run.mkdir()
    sha256 = read_index(address).sha256
    assert sha256 == packed_clips.sha256
    make_config(INPUT, {"data": address, "data_sha256": sha256, "epochs": 1}).write(run / "config.yaml")
    index = tmp_path / "changed" / "index.json"
    index.write_text(index.read_text() + "\n")
    with pytest.raises(DataError, match="where the run has"):
        resume(run, {})


def test_shards_count_their_classes_as_the_manifest_does(packed_clips, tiny_clips):
    manifest = read_manifest(tiny_clips)
    files = FileMaterial(manifest.filter("train").samples, manifest.labels, None)
    shards = ShardMaterial(packed_clips)
    assert (len(shards), shards.counts) == (len(files), files.counts)
    assert sum(shards.counts) == 12


@pytest.mark.parametrize(("batch_size", "ranks"), [(2, 2), (3, 2), (1, 4)])
def test_processes_share_an_epoch_without_overlaps_or_losses(packed_clips, batch_size, ranks):
    config = make_config(INPUT, {"data": packed_clips.address, "batch_size": batch_size})
    transform = TrainTransform(config.input_spec, AugmentSpec())
    feeds = [
        ShardMaterial(packed_clips).feed(config, config.input_spec, transform, Seat(rank, ranks))
        for rank in range(ranks)
    ]
    for epoch in (0, 1):
        seen = Counter()
        for feed in feeds:
            feed.go_to(epoch)
            batches = list(feed)
            assert len(batches) == feed.batches == 12 // (batch_size * ranks)
            seen.update(row for batch in batches for row in batch.rows)
        assert seen == Counter(range(12))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("https://server/sets/fights", "fights"),
        ("https://server/sets/fights/index.json", "fights"),
        ("https://me:secret@server/", "server"),
        ("s3://bucket/fights/", "fights"),
        ("file:///data/fights", "fights"),
        ("clips.csv", "clips"),
    ],
)
def test_what_a_run_folder_is_called_by(data, name):
    assert name_of(data) == name


def test_names_and_addresses_of_folders(packed_clips, monkeypatch, tmp_path):
    assert name_of(packed_clips.address) == name_of(f"{packed_clips.address}/index.json") == "tiny"
    monkeypatch.chdir(tmp_path)
    assert address_of("packed") == str(tmp_path / "packed")
    assert address_of("s3://bucket/packed") == "s3://bucket/packed"
