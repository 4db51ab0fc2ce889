"""Weights & Biases and MLflow themselves, offline and with a server that is not there."""

import json
import socket
import struct

import pytest

from kinema.core.errors import TrainingError, UsageError
from kinema.core.progress import Silent
from kinema.training import trackers
from kinema.training.checkpoint import EpochRow
from kinema.training.experiment import train
from kinema.training.recipe import make_config
from kinema.training.run import RunFolder
from kinema.training.trackers import require_trackers, tracking_of

ROWS = [EpochRow(n, 1 / n, 0.5, None, None, 0.25, 0.1, 5.0) for n in range(1, 5)]
FIGURES = {"test_video_top1_accuracy": 0.75}


class Lines(Silent):
    def __init__(self):
        self.lines = []

    def log(self, message):
        self.lines.append(message)


def config(*names):
    return make_config({"data": "clips", "track": names, "model_options": {"widen_factor": 0.5}})


def follow(folder, name, rows, *, behind=(), progress=None):
    with tracking_of(config(name), folder, progress or Silent()) as tracking:
        tracking.begin(list(behind))
        for row in rows:
            tracking.row(row)
        tracking.conclude(FIGURES)


def record(folder, name):
    return json.loads((folder.path / "tracking.json").read_text())[name]


@pytest.fixture
def folder(tmp_path):
    made = RunFolder(tmp_path / "clips-resnet3d_18")
    made.begin()
    return made


@pytest.fixture
def nobody():
    """The address of a server that is not there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """MLflow's runs; its tables take seconds to make, so all tests have one file."""
    pytest.importorskip("alembic")
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def mlflow(request, database, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return pytest.importorskip("mlflow")


@pytest.fixture
def wandb(monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_API_KEY", "WANDB_PROJECT", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_mlflow_has_settings_rows_and_figures_once_though_the_run_was_resumed(folder, mlflow, request):
    follow(folder, "mlflow", ROWS[:3])
    follow(folder, "mlflow", ROWS[2:], behind=ROWS[:2])
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name(request.node.name).experiment_id])
    assert run.info.run_id == record(folder, "mlflow")["run"]
    assert (run.info.run_name, run.info.status) == ("clips-resnet3d_18", "FINISHED")
    assert run.data.params["lr"] == "0.001"
    assert run.data.params["model_options"] == "{'widen_factor': 0.5}"
    points = client.get_metric_history(run.info.run_id, "train_loss")
    assert [(point.step, point.value) for point in points] == [(1, 1), (2, 1 / 2), (3, 1 / 3), (4, 1 / 4)]
    assert "val_loss" not in run.data.metrics
    assert len(client.get_metric_history(run.info.run_id, "test_video_top1_accuracy")) == 1


def test_mlflow_knows_the_rows_that_were_not_noted(folder, mlflow):
    """As when a run is killed between sending a row and noting it."""
    follow(folder, "mlflow", ROWS[:3])
    noted = record(folder, "mlflow")
    (folder.path / "tracking.json").write_text(json.dumps({"mlflow": {**noted, "epochs": 1}}))
    follow(folder, "mlflow", ROWS[1:], behind=ROWS[:1])
    points = mlflow.MlflowClient().get_metric_history(noted["run"], "train_loss")
    assert [point.step for point in points] == [1, 2, 3, 4]


def test_mlflow_whose_server_is_gone_does_not_hold_up_a_run(folder, mlflow, monkeypatch, nobody):
    said = Lines()
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", nobody)
        with pytest.raises(TrainingError, match="mlflow does not open"):
            follow(folder, "mlflow", ROWS[:1])
    follow(folder, "mlflow", ROWS[:1])
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", nobody)
        follow(folder, "mlflow", ROWS[1:3], behind=ROWS[:1], progress=said)
    assert [line.split(" (")[0] for line in said.lines] == [
        "mlflow does not take rows",
        "mlflow has not taken 2 epochs",
    ]
    follow(folder, "mlflow", ROWS[3:], behind=ROWS[:3])
    points = mlflow.MlflowClient().get_metric_history(record(folder, "mlflow")["run"], "train_loss")
    assert [point.step for point in points] == [1, 2, 3, 4]


def test_a_training_shows_itself_to_its_end_and_none_but_it(tiny_clips, tmp_path, mlflow, request):
    settings = {"data": tiny_clips, "model": "resnet3d_10", "model_options": {"widen_factor": 0.125}, "frames": 8,
                "size": 32, "epochs": 1, "device": "cpu", "track": ("mlflow",)}  # fmt: skip
    outcome = train(make_config(settings), tmp_path / "run")
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name(request.node.name).experiment_id])
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert run.data.metrics["test_video_top1_accuracy"] == outcome.test.video.accuracy.value
    assert run.data.params["model"] == "resnet3d_10"
    assert {"train_loss", "val_loss", "val_video_accuracy", "lr"} <= set(run.data.metrics)


@pytest.mark.usefixtures("wandb")
def test_wandb_writes_offline_into_the_run_folder(folder):
    follow(folder, "wandb", ROWS[:2])
    follow(folder, "wandb", ROWS[2:], behind=ROWS[:2])
    name = record(folder, "wandb")["run"]
    first, second = sorted((folder.path / "wandb").glob(f"offline-run-*-{name}/run-{name}.wandb"))
    assert [epochs_in(path) for path in (first, second)] == [[1, 2], [3, 4]]


def epochs_in(path):
    """The epochs of the rows in a file of wandb's, which it sends later."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = []
    for data in records(path.read_bytes()):
        row = Record()
        row.ParseFromString(data)
        items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in row.history.item}
        if "epoch" in items:
            assert items["train_loss"] == 1 / items["epoch"]
            found.append(items["epoch"])
    return found


def records(content, block=32768):
    """What a log file of LevelDB's kind holds: pieces of records with 7 bytes before each, none across two blocks."""
    at, whole = 7, b""
    while at + 7 <= len(content):
        if block - at % block < 7:
            at += block - at % block
            continue
        length, kind = struct.unpack("<4xHB", content[at : at + 7])
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # all of a record, or its last piece
            yield whole
            whole = b""


def test_each_fold_is_a_run_of_one_group(tmp_path):
    folder = RunFolder(tmp_path / "clips").fold(2)
    (courier,) = tracking_of(config("mlflow"), folder, Silent())._couriers
    about = courier._about
    assert (about.name, about.group, about.folder, about.run) == (
        "clips/fold-2", "clips", tmp_path / "clips" / "fold-2", tmp_path / "clips",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_library_that_is_missing_is_named(name, monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=f"track {name}, but") as caught:
        require_trackers(config(name))
    assert f"kinema[{name}]" in caught.value.next_step
    require_trackers(config())
