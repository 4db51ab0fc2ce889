import hashlib
import json
import shutil
from pathlib import Path

import pytest

from kinema.core.errors import DataError
from kinema.datasets.shards.index import PackIndex, is_packed, read_index


def test_an_index_is_read_from_its_folder_or_its_file(packed, monkeypatch):
    for address in (packed.address, packed.address + "/", packed.address + "/index.json"):
        assert read_index(address) == packed
    monkeypatch.chdir(packed.address)
    assert read_index("index.json").splits == read_index(".").splits == packed.splits


def test_the_json_form_holds_everything(packed):
    value = json.loads(json.dumps(packed.to_json()))
    assert (value["schema"], value["version"]) == ("kinema.pack", 1)
    assert PackIndex.from_json(value, packed.address) == packed
    assert value["splits"]["train"]["classes"] == {"calm": 9, "fight": 9}
    assert packed.size_bytes == sum(
        shard["size_bytes"] for split in value["splits"].values() for shard in split["shards"]
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda value: value.update(version=2), "version 2"),
        (lambda value: value.pop("labels"), "no 'labels'"),
        (lambda value: value["splits"]["test"]["shards"][0].update(samples=1000), "offsets"),
        (lambda value: value["splits"]["test"]["shards"][0].update(size_bytes=10), "offsets"),
        (lambda value: value["splits"]["test"]["shards"][0].update(name="../../a.tar"), "another folder"),
        (lambda value: value["splits"]["test"]["shards"][0].update(name="..\\a.tar"), "another folder"),
        (lambda value: value["options"].update(crf=99), "crf 99"),
    ],
)
def test_what_is_no_index(packed, tmp_path, change, told):
    value = packed.to_json()
    change(value)
    (tmp_path / "index.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match=f"is no index of shards: .*{told}"):
        read_index(str(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "\x00"])
def test_what_is_no_json_object(tmp_path, text):
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(DataError, match="is no index of shards"):
        read_index(str(tmp_path))


def test_no_index(tmp_path, packed):
    shutil.copytree(packed.address, tmp_path / "copy")
    (tmp_path / "copy/index.json").unlink()
    with pytest.raises(DataError, match=r"cannot read .*copy/index\.json"):
        read_index(str(tmp_path / "copy"))


def test_what_is_packed(packed, tmp_path, monkeypatch):
    for data in (packed.address, f"{packed.address}/index.json", "https://server/set", "s3://bucket/set"):
        assert is_packed(data)
    (tmp_path / "fight").mkdir()
    (tmp_path / "index.json").write_text("{}")  # beside folders of classes it may be anything
    assert not is_packed(tmp_path)
    assert not is_packed(tmp_path / "clips.csv")
    assert not is_packed("x" * 5000)
    monkeypatch.chdir(tmp_path)
    assert is_packed("index.json")


def test_packing_that_was_stopped_is_told(tmp_path):
    (tmp_path / ".parts").mkdir()
    assert is_packed(tmp_path)
    with pytest.raises(DataError, match="not packed to its end"):
        read_index(str(tmp_path))


def test_the_index_is_told_from_others_by_its_hash(packed):
    content = (Path(packed.address) / "index.json").read_bytes()
    assert packed.sha256 == read_index(packed.address).sha256 == hashlib.sha256(content).hexdigest()
