"""Networks in the Hub's layout: folders, and a Hub of a few lines on this machine."""

import base64
import hashlib
import json
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import huggingface_hub
import huggingface_hub.constants
import huggingface_hub.utils
import pytest
import torch
import yaml
from safetensors.torch import save_file

import kinema
from kinema.core.errors import DataError, UsageError, WeightsError
from kinema.core.labels import LabelMap
from kinema.core.spec import ClipSpec, InputSpec
from kinema.models.hub import HubAddress, fetch_weights, load_from_folder, publish, push, save_to_folder, weights_in
from kinema.models.hub_readme import MARK
from kinema.models.published import weights_path
from kinema.models.weights import ModelCard, load_weights, save_weights
from kinema.models.zoo import create_model

FILES = {"config.json", "model.safetensors", "README.md"}
ESTIMATE = {"value": 0.91, "low": 0.85, "high": 0.95, "n": 120, "method": "Wilson"}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return create_model("resnet3d_10", 2, widen_factor=0.125, shortcut="A").eval()


@pytest.fixture
def card():
    return ModelCard(
        architecture="resnet3d_10",
        options={"widen_factor": 0.125, "shortcut": "A"},
        in_channels=3,
        labels=LabelMap.of(["calm", "fight: loud"]),
        input=InputSpec(clip=ClipSpec(frames=8, fps=12.5)),
        provenance={"data": "street.csv", "licence": "CC-BY-4.0", "recipe": {"lr": 0.1}},
        metrics=(
            {"protocol": "test; middle clip", "level": "video", "n": 120, "video_top1_accuracy": ESTIMATE,
             "video_roc_auc": None, "warnings": ["few groups"]},
            {"protocol": "val | as stated", "measure": "top-5", "percent": 83.5, "data": "Kinetics-400"},
        ),
    )  # fmt: skip


@pytest.fixture
def folder(model, card, tmp_path):
    save_to_folder(tmp_path / "net", model, card)
    return tmp_path / "net"


def rewrite(folder, **changes):
    """config.json with other values; None takes a key out."""
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def front_of(folder):
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])


# --- folders


@torch.no_grad()
def test_a_network_comes_back_from_its_folder(folder, model, card):
    assert {path.name for path in folder.iterdir()} == FILES
    read = load_from_folder(folder)
    clips = torch.randn(1, 3, 8, 32, 32)
    assert torch.equal(read.model(clips), model(clips))
    assert replace(read.card, options=card.options) == card
    assert load_weights(folder / "model.safetensors").card == read.card
    assert kinema.load(str(folder)).card == read.card
    assert weights_path(folder) == folder / "model.safetensors"


def test_config_says_what_programs_look_for(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["library_name"] == "kinema"
    assert config["model_type"] == "kinema"
    assert config["architecture"] == "resnet3d_10"
    assert config["options"]["shortcut"] == "A"
    assert config["options"]["max_pool"] is True
    assert config["id2label"] == {"0": "calm", "1": "fight: loud"}
    assert config["label2id"] == {"calm": 0, "fight: loud": 1}
    assert config["labels_known"] is True
    assert config["input"]["clip"]["fps"] == 12.5


def test_unknown_labels_are_told_as_such(model, card, tmp_path):
    save_to_folder(tmp_path / "net", model, replace(card, labels=LabelMap.unknown(2)))
    config = json.loads((tmp_path / "net" / "config.json").read_text())
    assert (config["num_labels"], config["labels_known"]) == (2, False)
    assert not {"id2label", "label2id"} & set(config)
    assert "nobody published their names" in (tmp_path / "net" / "README.md").read_text()
    assert not load_from_folder(tmp_path / "net").card.labels.is_known


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"id2label": {"0": "quiet", "1": "fight: loud"}}, "id2label.0 ('calm' in the weights, 'quiet' here)"),
        ({"id2label": None}, "id2label"),
        ({"label2id": {"calm": 1, "fight: loud": 0}}, "label2id.calm (0 in the weights, 1 here)"),
        ({"architecture": "resnet3d_18"}, "architecture ('resnet3d_10' in the weights, 'resnet3d_18' here)"),
        ({"num_labels": 3}, "num_labels (2 in the weights, 3 here)"),
        ({"metrics": []}, "metrics"),
        ({"provenance": {}}, "provenance.data ('street.csv' in the weights, None here)"),
    ],
)
def test_a_config_that_contradicts_the_weights_is_refused(folder, changes, told):
    rewrite(folder, **changes)
    with pytest.raises(WeightsError) as caught:
        load_from_folder(folder)
    assert told in caught.value.given
    assert caught.value.next_step.startswith(f"kinema models publish {folder / 'model.safetensors'} {folder}")
    publish(folder / "model.safetensors", folder)
    load_from_folder(folder)


def test_names_beside_weights_that_have_none_are_refused(model, card, tmp_path):
    save_to_folder(tmp_path / "net", model, replace(card, labels=LabelMap.unknown(2)))
    rewrite(tmp_path / "net", id2label={"0": "a", "1": "b"})
    with pytest.raises(WeightsError, match="id2label"):
        load_from_folder(tmp_path / "net")


def test_keys_of_others_may_stand_in_the_config(folder):
    rewrite(folder, transformers_version="5.0", architectures=["X"])
    load_from_folder(folder)


def test_the_readme_carries_figures_with_their_protocol(folder):
    front = front_of(folder)
    assert front["pipeline_tag"] == "video-classification"
    assert "video-classification" in front["tags"]
    assert front["license"] == "cc-by-4.0"
    results = front["model-index"][0]["results"]
    assert [result["dataset"] for result in results] == [
        {"name": "street.csv", "type": "street-csv"},
        {"name": "Kinetics-400", "type": "kinetics-400"},
    ]
    assert [result["metrics"][0]["value"] for result in results] == [0.91, 83.5]
    assert results[0]["metrics"][0]["name"] == "video_top1_accuracy; test; middle clip"
    text = (folder / "README.md").read_text()
    assert "| video_top1_accuracy | 0.91 (0.85 to 0.95) | 120 | street.csv; test; middle clip |" in text
    assert "| top-5, percent | 83.5 |  | Kinetics-400; val \\| as stated |" in text
    assert "- few groups" in text
    assert "1. fight: loud" in text
    assert "kinema predict net video.mp4" in text


@pytest.mark.parametrize(
    ("licence", "told"),
    [
        (None, {"license": "unknown"}),
        ({"code": "MIT", "weights": "not stated"}, {"license": "unknown"}),
        ({"code": "MIT", "weights": "Apache-2.0, as the repository"}, {"license": "apache-2.0"}),
        ("MIT", {"license": "mit"}),
        ("Our own", {"license": "other", "license_name": "Our own"}),
    ],
)
def test_the_licence_is_that_of_the_weights(model, card, tmp_path, licence, told):
    save_to_folder(tmp_path, model, replace(card, provenance={"licence": licence} if licence else {}))
    front = front_of(tmp_path)
    assert {key: front[key] for key in front if key.startswith("license")} == told


def test_a_readme_that_a_person_took_over_is_kept(folder, model, card):
    assert save_to_folder(folder, model, card).kept == ()
    (folder / "README.md").write_text("# Mine\n")
    done = save_to_folder(folder, model, card)
    assert (set(done.written), done.kept) == (FILES - {"README.md"}, ("README.md",))
    assert (folder / "README.md").read_text() == "# Mine\n"


def test_what_is_published_is_the_very_file(model, card, tmp_path):
    save_weights(tmp_path / "w.safetensors", model, card)
    assert set(publish(tmp_path / "w.safetensors", tmp_path / "out").written) == FILES
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (tmp_path / "w.safetensors").read_bytes()


def test_networks_of_other_programs_are_not_overwritten(model, card, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "videomae"}')
    with pytest.raises(DataError, match="videomae"):
        save_to_folder(tmp_path, model, card)
    (tmp_path / "config.json").unlink()
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="would be overwritten"):
        save_to_folder(tmp_path, model, card)


def test_folders_of_other_programs_lead_to_the_converter(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "videomae", "id2label": {"0": "a", "1": "b"}}))
    with pytest.raises(WeightsError) as caught:
        kinema.load(tmp_path)
    assert "another program (videomae, 2 classes)" in caught.value.given
    assert caught.value.next_step == f"kinema models convert {tmp_path / 'model.safetensors'} --out OUT.safetensors"


def test_ours_around_weights_of_another_program_leads_there_too(folder):
    save_file({"x": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(WeightsError) as caught:
        load_from_folder(folder)
    assert "kinema models convert" in caught.value.next_step


def test_a_folder_without_a_config_is_answered_with_the_files_in_it(model, card, tmp_path):
    with pytest.raises(WeightsError) as caught:
        weights_in(tmp_path)
    assert "kinema wrote" in caught.value.next_step
    save_weights(tmp_path / "best.safetensors", model, card)
    with pytest.raises(WeightsError) as caught:
        weights_in(tmp_path)
    assert caught.value.next_step == f"give a file in it: {tmp_path / 'best.safetensors'}"


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_a_config_that_is_none_is_answered(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_from_folder(folder)


# --- the Hub


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("hf://me/net", HubAddress("me/net")),
        ("hf:/me/net", HubAddress("me/net")),  # what pathlib makes of it
        ("hf://me/net-1.b@v1", HubAddress("me/net-1.b", "v1")),
        ("hf://me/net@refs/pr/1", HubAddress("me/net", "refs/pr/1")),
        ("best.safetensors", None),
        ("me/net", None),
    ],
)
def test_addresses(given, address):
    assert HubAddress.of(given) == address


@pytest.mark.parametrize("given", ["hf://net", "hf://me/net/file", "hf://me/net@", "hf:///me/net", "hf://me/n et"])
def test_what_only_begins_as_an_address_is_refused(given):
    with pytest.raises(UsageError, match="hf://owner/name"):
        weights_path(given)


class MiniHub(BaseHTTPRequestHandler):
    """What the Hub's library asks of a Hub: files of a revision, a new repository, a commit."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub, parts = self.server.hub, unquote(self.path).strip("/").split("/")
        hub.asked.append(f"{self.command} {self.path}")
        if len(parts) < 5 or parts[2] != "resolve":
            return self.answer(404, b"{}")
        repository, file, revision = "/".join(parts[:2]), parts[-1], "/".join(parts[3:-1])
        if repository not in hub.repositories:
            return self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        commits = hub.repositories[repository]
        revision = hub.refs.get(revision, revision)
        if revision not in commits:
            return self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if file not in commits[revision]:
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": revision})
        content = commits[revision][file]
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        return self.answer(200, content, {"X-Repo-Commit": revision, "ETag": etag})

    def do_POST(self):
        hub, body = self.server.hub, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        hub.asked.append(f"POST {self.path}")
        if hub.refuse:
            return self.answer(hub.refuse, b'{"error": "no"}')
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            repository = f"{asked['organization']}/{asked['name']}"
            if repository in hub.repositories:
                return self.answer(409, json.dumps({"url": f"{hub.url}/{repository}"}).encode())
            hub.commit(repository, {})
            return self.answer(200, json.dumps({"url": f"{hub.url}/{repository}"}).encode())
        repository = "/".join(self.path.split("/")[3:5])
        if "/preupload/" in self.path:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            return self.answer(200, json.dumps({"files": files}).encode())
        if "/commit/" in self.path:
            lines = [json.loads(line) for line in body.splitlines()]
            files = {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
            commit = hub.commit(repository, files)
            told = {"commitUrl": f"{hub.url}/{repository}/commit/{commit}", "commitOid": commit, "hookOutput": ""}
            return self.answer(200, json.dumps(told).encode())
        return self.answer(200, b"{}")  # whether the README's YAML is right

    def answer(self, status, content, headers=None):
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


class Hub:
    """Repositories by name, commits by hash, files by name."""

    def __init__(self, url):
        self.url, self.repositories, self.refs, self.asked, self.refuse = url, {}, {}, [], 0

    def commit(self, repository, files):
        commits = self.repositories.setdefault(repository, {})
        commit = hashlib.sha1(f"{repository} {len(commits)}".encode()).hexdigest()
        before = next(reversed(commits.values()), {})
        commits[commit] = before | files
        self.refs["main"] = commit
        return commit

    def take(self, repository, folder):
        return self.commit(repository, {path.name: path.read_bytes() for path in folder.iterdir()})


def settle_at(url, monkeypatch):
    """What HF_ENDPOINT does, which the library reads once, when it is first imported."""
    template = huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE
    path = template.removeprefix(huggingface_hub.constants.ENDPOINT)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + path)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), MiniHub)
    server.hub = Hub(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    for name in ("KINEMA_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    settle_at(server.hub.url, monkeypatch)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    huggingface_hub.utils.close_session()
    yield server.hub
    huggingface_hub.utils.close_session()
    server.shutdown()
    server.server_close()


@torch.no_grad()
def test_a_network_comes_from_the_hub(hub, folder, model):
    hub.take("me/net", folder)
    clips = torch.randn(1, 3, 8, 32, 32)
    assert torch.equal(kinema.load_model("hf://me/net")(clips), model(clips))
    assert kinema.load("hf://me/net").card.labels.names == ("calm", "fight: loud")
    assert not any("README" in line for line in hub.asked)


def test_revisions_are_kept_apart(hub, folder, model, card):
    first = hub.take("me/net", folder)
    save_to_folder(folder, model, replace(card, labels=LabelMap.of(["a", "b"])))
    hub.take("me/net", folder)
    hub.refs["v1"] = first
    assert load_weights(weights_path("hf://me/net")).card.labels.names == ("a", "b")
    for revision in ("v1", first):
        assert load_weights(weights_path(f"hf://me/net@{revision}")).card.labels.names == ("calm", "fight: loud")


def test_offline_takes_what_was_fetched_before_and_asks_nobody(hub, folder, monkeypatch):
    hub.take("me/net", folder)
    before = fetch_weights(HubAddress("me/net"))
    hub.asked.clear()
    monkeypatch.setenv("KINEMA_OFFLINE", "1")
    assert fetch_weights(HubAddress("me/net")) == before
    with pytest.raises(WeightsError, match="KINEMA_OFFLINE forbids to fetch it"):
        fetch_weights(HubAddress("me/other"))
    with pytest.raises(WeightsError, match="KINEMA_OFFLINE forbids to publish"):
        publish(before, "hf://me/net")
    assert hub.asked == []


def test_the_hubs_own_offline_switch_is_named(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE forbids to fetch it"):
        fetch_weights(HubAddress("me/net"))
    assert hub.asked == []


@pytest.mark.usefixtures("hub")
def test_a_hub_that_cannot_be_reached_is_named(model, card, monkeypatch):
    settle_at("http://127.0.0.1:9", monkeypatch)
    monkeypatch.setattr("time.sleep", lambda _: None)  # the library tries again for half a minute
    with pytest.raises(WeightsError, match=r"http://127\.0\.0\.1:9 cannot be reached for hf://me/net"):
        fetch_weights(HubAddress("me/net"))
    with pytest.raises(WeightsError, match=r"cannot publish hf://me/net") as caught:
        push("me/net", model, card)
    assert caught.value.allowed == "a connection to http://127.0.0.1:9"


def test_what_is_not_there_is_told(hub, folder):
    with pytest.raises(WeightsError, match="hf://me/net is not on"):
        fetch_weights(HubAddress("me/net"))
    hub.take("me/net", folder)
    with pytest.raises(WeightsError, match="hf://me/net@v9 has no such revision"):
        fetch_weights(HubAddress("me/net", "v9"))
    hub.commit("me/bare", {"README.md": b""})
    with pytest.raises(WeightsError, match=r"hf://me/bare lacks config\.json"):
        fetch_weights(HubAddress("me/bare"))
    with pytest.raises(UsageError, match="no name on the Hub"):
        fetch_weights(HubAddress("me/a--b"))


def test_of_another_programs_repository_no_weights_are_fetched(hub):
    hub.commit("they/videomae", {"config.json": b'{"model_type": "videomae"}', "model.safetensors": b"x"})
    with pytest.raises(WeightsError, match="hf://they/videomae holds a network of another program") as caught:
        fetch_weights(HubAddress("they/videomae"))
    assert "kinema models convert" in caught.value.next_step
    assert not any("model.safetensors" in line for line in hub.asked)


def test_a_repository_that_contradicts_itself_is_refused(hub, folder):
    rewrite(folder, num_labels=7)
    hub.take("me/net", folder)
    with pytest.raises(WeightsError, match="num_labels") as caught:
        fetch_weights(HubAddress("me/net"))
    assert "me/net" in caught.value.next_step


def test_what_is_pushed_comes_back(hub, folder):
    done = publish(folder / "model.safetensors", "hf://me/net")
    assert (set(done.written), done.kept) == (FILES, ())
    assert done.place == f"{hub.url}/me/net/commit/{hub.refs['main']}"
    there = hub.repositories["me/net"][hub.refs["main"]]
    assert there["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert b"kinema predict hf://me/net video.mp4" in there["README.md"]
    assert load_weights(weights_path("hf://me/net")).card.labels.names == ("calm", "fight: loud")


def test_a_push_keeps_a_persons_readme(hub, model, card):
    push("me/net", model, card)
    hub.commit("me/net", {"README.md": b"# Mine\n"})
    done = push("me/net", model, replace(card, metrics=()))
    assert done.kept == ("README.md",)
    there = hub.repositories["me/net"][hub.refs["main"]]
    assert there["README.md"] == b"# Mine\n"
    assert json.loads(there["config.json"])["metrics"] == []
    hub.commit("me/net", {"README.md": f"{MARK}\n".encode()})
    assert push("me/net", model, card).kept == ()


def test_a_push_does_not_overwrite_another_program(hub, model, card):
    hub.commit("they/videomae", {"config.json": b'{"model_type": "videomae"}'})
    commits = len(hub.repositories["they/videomae"])
    with pytest.raises(DataError, match="would be overwritten"):
        push("they/videomae", model, card)
    assert len(hub.repositories["they/videomae"]) == commits


@pytest.mark.parametrize("status", [401, 403])
def test_a_push_that_is_refused_leads_to_the_login(hub, model, card, status):
    hub.refuse = status
    with pytest.raises(WeightsError) as caught:
        push("me/net", model, card)
    assert "hf auth login" in caught.value.next_step


def test_a_revision_cannot_be_pushed_to(folder):
    with pytest.raises(UsageError, match="main branch"):
        publish(folder / "model.safetensors", "hf://me/net@v1")


def test_the_missing_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError) as caught:
        weights_path("hf://me/net")
    assert caught.value.next_step == "pip install 'kinema[hub]'"
    load_from_folder(folder)
