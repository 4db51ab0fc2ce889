"""Weights by name: fetched, converted once, kept with a card made of their record."""

import hashlib
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

import kinema
from kinema.core.errors import UsageError, WeightsError
from kinema.core.labels import LabelMap
from kinema.core.spec import ClipSpec, InputSpec
from kinema.models import published
from kinema.models.download import RemoteFile
from kinema.models.published import card_of, downloads_folder, weights_path, write_copy
from kinema.models.records import lookup
from kinema.models.records.record import ClassSet, Figure, Licence, WeightsRecord
from kinema.models.weights import load_weights, read_card
from kinema.models.zoo import create_model

FIGURE = Figure("top-1", 54.2, "Kinetics-400", "val", "video", "16-frame windows", "https://example.org/readme")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def original(tmp_path):
    """A network as its publisher's training left it."""
    torch.manual_seed(0)
    model = create_model("resnet3d_10", 51, widen_factor=0.125, shortcut="A")
    (tmp_path / "site").mkdir()
    tensors = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"arch": "resnet-10", "state_dict": tensors}, tmp_path / "site" / "r10.pth")
    return model.eval()


@pytest.fixture
def record(original, tmp_path, monkeypatch):  # noqa: ARG001  the file that the server gives
    """The record of that network, whose file a server on this machine has."""
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KINEMA_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "site")))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    digest = hashlib.sha256((tmp_path / "site" / "r10.pth").read_bytes()).hexdigest()
    url = f"http://127.0.0.1:{server.server_port}/r10.pth"
    made = WeightsRecord(
        name="resnet3d_10-hmdb51",
        architecture="resnet3d_10",
        publisher="somebody",
        files=(RemoteFile("r10.pth", url, page="https://example.org", sha256=digest[:8]),),
        classes=ClassSet("HMDB51", 51, "hmdb51", "https://example.org/classes"),
        licence=Licence("MIT"),
        options={"widen_factor": 0.125, "shortcut": "A"},
        fed=InputSpec(ClipSpec(8), size_px=32, short_side_px=32, std=(1.0, 1.0, 1.0), value_range=255.0),
        figures=(FIGURE,),
        aliases=("r10",),
    )
    know(monkeypatch, made)
    yield made
    server.shutdown()
    server.server_close()


def know(monkeypatch, record):
    for name in (record.name, *record.aliases):
        monkeypatch.setitem(lookup._TABLE, name, record)


def test_a_file_is_itself(tmp_path):
    for missing in ("best.safetensors", "run/best"):  # whoever reads them says that they are missing
        assert weights_path(missing) == Path(missing)
    path = tmp_path / "best"
    path.write_bytes(b"")
    assert weights_path(str(path)) == path


def test_a_name_becomes_a_file_of_kinema(record, original, tmp_path):
    path = weights_path(record.name)

    assert path == tmp_path / "cache" / "weights" / "resnet3d_10-hmdb51.safetensors"
    read = load_weights(path)
    clip = torch.randn(1, 3, 8, 32, 32)
    assert torch.equal(read.model(clip), original(clip))
    card = read.card
    assert card.labels.name(0) == "brush_hair"
    assert card.input == record.input
    assert card.options == original.options
    digest = hashlib.sha256((tmp_path / "site" / "r10.pth").read_bytes()).hexdigest()
    assert card.provenance["sources"] == [{"file": "r10.pth", "from": record.files[0].url, "sha256": digest}]
    assert card.provenance["licence"] == {"code": "MIT", "weights": "not stated"}
    assert card.provenance["weights"] == record.name
    assert card.metrics[0]["percent"] == 54.2
    assert card.metrics[0]["protocol"].startswith("Kinetics-400, val; video level; 16-frame windows")


def test_an_alias_means_the_same(record):
    assert weights_path("r10") == weights_path(record.name)


def test_the_second_time_nothing_is_done(record, monkeypatch):
    path = weights_path(record.name)
    made = path.stat().st_mtime_ns
    monkeypatch.setenv("KINEMA_OFFLINE", "1")
    for fetched in downloads_folder().iterdir():
        fetched.unlink()
    assert weights_path(record.name) == path
    assert path.stat().st_mtime_ns == made


def test_a_corrected_record_makes_the_file_anew(record, monkeypatch):
    weights_path(record.name)
    corrected = replace(record, classes=ClassSet("HMDB51", 51, evidence="nobody knows"))
    know(monkeypatch, corrected)
    assert not read_card(weights_path(record.name)).labels.is_known


def test_a_damaged_file_in_the_cache_is_made_anew(record):
    path = weights_path(record.name)
    path.write_bytes(b"damaged")
    assert read_card(weights_path(record.name)).labels.count == 51


def test_files_without_a_link_are_asked_for_and_then_taken(record, monkeypatch, tmp_path):
    know(monkeypatch, replace(record, files=(RemoteFile("r10.pth", page="https://example.org/drive"),)))
    with pytest.raises(WeightsError, match="resnet3d_10-hmdb51 are not here, and no direct link") as caught:
        weights_path("r10")
    target = tmp_path / "cache" / "weights" / "downloads" / "r10.pth"
    assert caught.value.next_step == f"get https://example.org/drive and put it at {target} (no checksum published)"
    target.parent.mkdir(parents=True)
    target.write_bytes((tmp_path / "site" / "r10.pth").read_bytes())
    assert read_card(weights_path("r10")).provenance["sources"][0]["from"] == "https://example.org/drive"


def test_offline_names_every_file_that_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path))
    monkeypatch.setenv("KINEMA_OFFLINE", "1")
    with pytest.raises(WeightsError, match="KINEMA_OFFLINE forbids") as caught:
        weights_path("i3d-kinetics400")
    for ending in ("index", "data-00000-of-00001"):
        assert f"{tmp_path}/weights/downloads/rgb_scratch/model.ckpt.{ending}" in caught.value.next_step
    assert "raw.githubusercontent.com" in caught.value.next_step


def test_a_file_that_does_not_fit_its_record_is_refused(record, monkeypatch):
    know(monkeypatch, replace(record, classes=ClassSet("UCF101", 101)))
    with pytest.raises(WeightsError, match="51 classes"):
        weights_path("r10")


def test_names_that_are_none_are_answered():
    with pytest.raises(UsageError, match="did you mean 'resnet3d_18-kinetics700'"):
        weights_path("resnet3d_18-kinetics70")


@pytest.mark.usefixtures("record")
def test_every_entrance_takes_names(original):
    clip = torch.randn(1, 3, 8, 32, 32)
    assert torch.equal(kinema.load_model("r10")(clip), original(clip))
    assert kinema.load("r10", device="cpu").card.labels.count == 51


def test_unknown_classes_can_be_named(record, monkeypatch, tmp_path):
    know(monkeypatch, replace(record, classes=ClassSet("HMDB51", 51, evidence="nobody knows")))
    names = LabelMap.of(f"class {number}" for number in range(51))
    write_copy(weights_path("r10"), tmp_path / "named.safetensors", labels=names)
    named = load_weights(tmp_path / "named.safetensors")
    assert named.card.labels == names
    assert named.card.metrics == card_of(published.find_record("r10"), ()).metrics
    with pytest.raises(WeightsError, match="2 names for the 51 classes"):
        write_copy(weights_path("r10"), tmp_path / "other.safetensors", labels=LabelMap.of(["a", "b"]))
    assert not (tmp_path / "other.safetensors").exists()
