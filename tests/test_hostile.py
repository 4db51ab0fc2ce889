"""Files from strangers, damaged or made to do harm: a reader answers with a KinemaError or a value, never else."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kinema.core.errors import KinemaError

HUGE = "9" * 5000
JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 3.5, 1e308, float("inf"), float("nan"), 10**30, "", "x", "9" * 400, "=1+1", "\0", "../..",
    "\ud800", [], {}, [[]], {"": None}, [1, "a", None], "2001-99-99",
)  # fmt: skip


def spoiled(value: Any, chance: random.Random) -> Any:
    """`value` with one of its nodes, at any depth, exchanged, doubled or taken away."""
    if isinstance(value, (dict, list)) and value and chance.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key, copy = chance.choice(keys), value.copy()
        if chance.random() < 0.15:
            del copy[key]
        else:
            copy[key] = spoiled(value[key], chance)
        return copy
    return chance.choice(JUNK)


def broken(data: bytes, chance: random.Random) -> bytes:
    """`data` cut, with bits turned, with bytes inserted, or other bytes altogether."""
    way, at = chance.randrange(5), chance.randrange(max(1, len(data)))
    if way == 0:
        return data[:at]
    if way == 1:
        return data[:at] + chance.randbytes(chance.choice([1, 8, 200])) + data[at:]
    if way == 2:
        return chance.randbytes(chance.randrange(300))
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 4, 30])):
        changed[chance.randrange(min(len(data), 4096))] = chance.randrange(256)
    return bytes(changed)


TEXTS = (
    b"", b"\0", b"\xff\xfe", b"null", b"[" * 1200, b'{"a":' * 1200, b"- " * 1200 + b"a", HUGE.encode(),
    b"2001-99-99", b"a: !!python/object/apply:os.system ['true']", b"? [a]\n: b", b"a: &a [*a]", b"<<: 1", b"0x",
    b"1e999", b"path,label\n" + b'"' * 1000, b"path,label\n\0,a\n", b"path,label\n" + b"a" * 200_000 + b",b\n",
    b"[]", b"\xef\xbb\xbf{}", b"{}", b"a: 1:2:3", b"epochs: .inf", b"epochs: 1234567890123456789",
    b"=1", b"\r\n\r\n", b"a\tb: c",
)  # fmt: skip


def read_without_fright(read: Callable[[Path], object], path: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of what is odd; only what is raised matters
            read(path)
    except KinemaError as error:
        str(error).encode("utf-8", "backslashreplace")


# --- what is read, and a file of it that is whole ---


def weights_file(folder: Path) -> Path:
    from kinema.core.labels import LabelMap
    from kinema.core.spec import ClipSpec, InputSpec
    from kinema.models.weights import ModelCard, save_weights
    from kinema.models.zoo import create_model

    options = {"widen_factor": 0.125, "conv1_t_size": 3}
    model = create_model("resnet3d_10", 2, 3, **options)
    card = ModelCard(
        "resnet3d_10",
        options,
        3,
        LabelMap.of(["a", "b"]),
        InputSpec(clip=ClipSpec(frames=4), size_px=32, short_side_px=32),
        {"from": "a test"},
    )
    save_weights(folder / "w.safetensors", model, card)
    return folder / "w.safetensors"


def read_card(path: Path) -> object:
    from kinema.models.weights import load_weights

    return load_weights(path)


def foreign(path: Path) -> object:
    from kinema.models.convert.reading import read_foreign

    return read_foreign(path)


def torch_file(folder: Path) -> Path:
    torch.save({"state_dict": {"conv.weight": torch.zeros(2, 3)}, "arch": "resnet-18"}, folder / "w.pth")
    return folder / "w.pth"


def old_torch_file(folder: Path) -> Path:
    content = {"state_dict": {"conv.weight": torch.zeros(2, 3)}}
    torch.save(content, folder / "old.pth", _use_new_zipfile_serialization=False)
    return folder / "old.pth"


def plain_safetensors(folder: Path) -> Path:
    save_file({"a.weight": torch.zeros(3, 2)}, folder / "p.safetensors", metadata={"x": "y"})
    return folder / "p.safetensors"


def manifest(folder: Path) -> Path:
    for name in ("a", "b", "c"):
        (folder / f"{name}.mp4").write_bytes(b"x")
    rows = (
        "path,label,split,group,start_seconds,end_seconds",
        "a.mp4,x,train,g,0,2",
        "b.mp4,y,test,h,,",
        "c.mp4,y,val,,1,",
    )
    (folder / "m.csv").write_text("\n".join(rows))
    return folder / "m.csv"


def read_table(path: Path) -> object:
    from kinema.datasets.manifest import read_manifest

    return read_manifest(path)


def labels(folder: Path) -> Path:
    (folder / "labels.json").write_text(json.dumps({"0": "a", "1": "b"}))
    return folder / "labels.json"


def read_names(path: Path) -> object:
    from kinema.models.convert.card import read_labels

    return read_labels(path)


def recipe(folder: Path) -> Path:
    settings = {"data": "d", "model": "resnet3d_10", "epochs": 2, "lr": 0.1, "model_options": {"widen_factor": 0.5}}
    (folder / "r.yaml").write_text(json.dumps(settings))  # which is YAML, too
    return folder / "r.yaml"


def configure(path: Path) -> object:
    from kinema.training.recipe import load_recipe, make_config

    return make_config(load_recipe(path))


def hub_config(folder: Path) -> Path:
    weights_file(folder).rename(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"library_name": "kinema", "id2label": {"0": "a", "1": "b"}}))
    return folder / "config.json"


def read_hub(path: Path) -> object:
    from kinema.models.hub import load_from_folder

    return load_from_folder(path.parent)


def state(folder: Path) -> Path:
    model = torch.nn.Linear(2, 2)
    content = {"model": model.state_dict(), "optimizer": torch.optim.SGD(model.parameters(), 0.1).state_dict()}
    torch.save(content | {"state": {}, "rows": [{}]}, folder / "state.pt")
    return folder / "state.pt"


def resume(path: Path) -> object:
    from kinema.training.checkpoint import load_state

    model = torch.nn.Linear(2, 2)
    return load_state(path, model, torch.optim.SGD(model.parameters(), 0.1))


def shard_index(folder: Path) -> Path:
    (folder / "index.json").write_text(json.dumps({"schema": "kinema.shards", "version": 1, "splits": {"train": []}}))
    return folder / "index.json"


def read_shards(path: Path) -> object:
    from kinema.datasets.shards.blocks import Retry
    from kinema.datasets.shards.index import read_index

    return read_index(str(path), retry=Retry(attempts=1))


def frame_record(folder: Path) -> Path:
    (folder / "frames.json").write_text(
        json.dumps({"fps": "25", "count": 3, "pts": [0, 1, 2], "end_pts": 3, "time_base": "1/25"})
    )
    return folder / "frames.json"


def read_frame_record(path: Path) -> object:
    from kinema.video.frame_record import RECORD_NAME, FrameRecord

    path.replace(path.with_name(RECORD_NAME))
    return FrameRecord.read(path.parent)


def flow_record(folder: Path) -> Path:
    source = {
        "schema": "kinema.flow",
        "version": 1,
        "recipe": {},
        "fields": 3,
        "width_px": 4,
        "height_px": 4,
        "source": {},
    }
    (folder / "flow.json").write_text(json.dumps(source))
    return folder / "flow.json"


def read_flow(path: Path) -> object:
    from kinema.video.flow_record import read_record

    return read_record(path)


READERS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "weights": (weights_file, read_card),
    "torch's weights": (torch_file, foreign),
    "torch's old weights": (old_torch_file, foreign),
    "safetensors": (plain_safetensors, foreign),
    "manifest": (manifest, read_table),
    "labels": (labels, read_names),
    "recipe": (recipe, configure),
    "hub": (hub_config, read_hub),
    "state": (state, resume),
    "shards": (shard_index, read_shards),
    "frame record": (frame_record, read_frame_record),
    "flow record": (flow_record, read_flow),
}
JSON_READERS = ("labels", "recipe", "hub", "shards", "frame record", "flow record")


@pytest.fixture
def chance(request) -> random.Random:
    return random.Random(request.node.name)


@pytest.mark.parametrize("name", READERS)
def test_damaged_bytes(tmp_path, chance, name):
    make, read = READERS[name]
    path = make(tmp_path)
    data = path.read_bytes()
    for _ in range(60):
        path.write_bytes(broken(data, chance))
        read_without_fright(read, path)


@pytest.mark.parametrize("name", READERS)
def test_odd_texts(tmp_path, name):
    make, read = READERS[name]
    path = make(tmp_path)
    for text in TEXTS:
        path.write_bytes(text)
        read_without_fright(read, path)


@pytest.mark.parametrize("name", JSON_READERS)
def test_values_of_another_kind(tmp_path, chance, name):
    make, read = READERS[name]
    path = make(tmp_path)
    content = json.loads(path.read_text())
    for _ in range(100):
        path.write_text(json.dumps(spoiled(content, chance)))
        read_without_fright(read, path)


@pytest.mark.parametrize("seed", range(5))
def test_cards_of_another_kind(tmp_path, seed):
    path = weights_file(tmp_path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, tensors = json.loads(data[8 : 8 + length]), data[8 + length :]
    card, chance = json.loads(header["__metadata__"]["kinema"]), random.Random(seed)
    for _ in range(40):
        changed = (
            spoiled(header, chance)
            if chance.random() < 0.3
            else header | {"__metadata__": {"kinema": json.dumps(spoiled(card, chance))}}
        )
        text = json.dumps(changed).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + tensors)
        read_without_fright(read_card, path)


@pytest.mark.parametrize(
    "text", ["a=[[", "a=2001-99-99", "a=" + HUGE, "a=" + "[" * 600, "model_options.=1", "=", "a=!!x", "a=\0"]
)
def test_assignments(text):
    from kinema.training.recipe import make_config, parse_assignments

    read_without_fright(lambda _: make_config({"data": "d"}, parse_assignments([text])), Path())


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("what", ["folder", "nothing", "loop", "long"])
def test_what_is_no_file(tmp_path, name, what):
    read = READERS[name][1]
    path = tmp_path / {"folder": "d.csv", "nothing": "n.csv", "loop": "l.csv", "long": "x" * 4000 + ".csv"}[what]
    if what == "folder":
        path.mkdir()
    if what == "loop":
        path.symlink_to(path)
    if name != "frame record":
        read_without_fright(read, path)
