"""The recipes that come with kinema: whole, published, and run on miniatures of their data sets."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from miniatures import make_flow, make_videos
from safetensors.torch import load_file
from small_runs import Plain, run, weights

from kinema.core.errors import WeightsError
from kinema.core.labels import LabelMap
from kinema.datasets.cache import FrameCache
from kinema.datasets.loader import Draw, TrainingClips
from kinema.datasets.sample import Sample
from kinema.models.records.lookup import find_record, is_record
from kinema.models.weights import ModelCard, read_card, save_weights
from kinema.models.zoo import create_model, full_options, list_models
from kinema.training.config import TrainConfig
from kinema.training.freezing import plan_phases
from kinema.training.recipe import list_recipes, load_recipe, make_config, recipe_summaries, recipe_text
from kinema.training.request import begin
from kinema.training.schedule import learning_rate
from kinema.training.step import Objective
from kinema.transforms.presets import AugmentSpec, TrainTransform
from kinema.video.writer import VideoWriter

pytestmark = pytest.mark.usefixtures("own_cache")

NAMED = {  # what every recipe says, and what it says because of what else it says
    "model", "modality", "frames", "clip_padding", "size", "short_side", "region", "crop", "flip", "optimizer", "lr",
    "weight_decay", "schedule", "warmup", "batch_size", "accumulate",
}  # fmt: skip
NAMED_WITH = {
    ("optimizer", "sgd"): {"momentum", "dampening", "nesterov"},
    ("crop", "corner"): {"corner_scales"},
    ("crop", "random-resized"): {"crop_scale", "crop_ratio"},
    ("schedule", "plateau"): {"gamma", "patience", "val_fraction"},
    ("schedule", "multistep"): {"gamma", "milestones"},
    ("schedule", "piecewise"): {"rates", "milestones"},
    ("modality", "rgb"): {"pixels"},
    ("modality", "flow"): {"pixels"},
}
FRAMES_OF = {  # short side of the frames that published crops were cut from
    "hara2017": 360, "hara2018": 240, "hara2018-finetune": 240, "kataoka2020": 240, "detention2022": 240,
    "i3d-kinetics-rgb": 256, "i3d-kinetics-flow": 256, "c3d-ucf101": 128,
}  # fmt: skip
WITHOUT_OVERLAP = {"hara2017", "hara2018", "hara2018-finetune", "kataoka2020"}  # tested on windows side by side
OF_THE_USER = {"data", "data_sha256", "seed", "device", "devices", "nodes", "workers", "folds", "track"}

# Clips are 32 or 48 pixels small, those of I3D 9 frames short. Networks that can be are an eighth as wide, and
# the real ones in the slow tests; I3D and DyMSTA-Net are real in all.
SMALL = {"batch_size": 2, "accumulate": 1, "total_steps": 2, "device": "cpu", "save_seconds": 1e9}
OVERRIDES = {
    "dymsta-ucf101": {"batch_size": 4, "head_epochs": 1},  # a step for each of its two phases
    "kinema-small": {"frames": 9},
    **{name: {"frames": 9} for name in list_recipes() if name.startswith("i3d")},
}
NARROW = {"widen_factor": 0.125}
NARROWED = ("c3d-ucf101", "detention2022", "hara2017", "hara2018", "hara2018-finetune", "kataoka2020")
ALIKE = ("i3d-kinetics-rgb-paper", "i3d-kinetics-flow-paper", "i3d-transfer-original")  # to others that are fast
RUNS = [
    *(pytest.param(name, NARROW if name in NARROWED else {}, marks=[pytest.mark.slow] * (name in ALIKE), id=name)
      for name in list_recipes()),
    *(pytest.param(name, {}, marks=pytest.mark.slow, id=f"{name}, whole") for name in NARROWED),
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    home = tmp_path_factory.mktemp("data")
    videos = make_videos(home / "videos")
    return {"rgb": videos, "difference": videos, "flow": make_flow(videos, home / "flow")}


def recipe(name, **settings):
    return make_config({"data": "clips"}, load_recipe(Path(name)), settings)


def start(config, folder, narrow):
    """Weights such as the recipe begins with, of chance, as wide as it is run."""
    record = find_record(config.weights)
    options = full_options(record.architecture, {**record.options, **narrow})
    network = create_model(record.architecture, 3, record.input.channels, **options)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.uniform_(-0.1, 0.1)
    card = ModelCard(record.architecture, options, record.input.channels, LabelMap.unknown(3), record.input, {})
    save_weights(folder / "start.safetensors", network, card)
    return folder / "start.safetensors"


@pytest.mark.parametrize("name", list_recipes())
def test_a_recipe_is_flat_and_says_all_it_relies_on(name):
    found = load_recipe(Path(name))
    assert not OF_THE_USER & found.keys()
    assert [key for key, value in found.items() if isinstance(value, dict)] in ([], ["model_options"])
    missing = NAMED - found.keys()
    for (key, value), names in NAMED_WITH.items():
        if found.get(key) == value:
            missing |= names - found.keys()
    assert not missing
    assert len({"stride", "fps"} & found.keys()) == 1
    assert len({"epochs", "total_steps"} & found.keys()) == 1
    assert found.keys() <= TrainConfig.model_fields.keys()
    assert recipe(name).model == found["model"]
    assert not is_record(name)
    assert name not in list_models()  # `kinema models show` shows all three


@pytest.mark.parametrize("name", list_recipes())
def test_a_recipe_begins_with_its_name_and_cites_its_source(name):
    text = recipe_text(name)
    (summary,) = (row["summary"] for row in recipe_summaries() if row["name"] == name)
    comment = text.partition("\nmodel:")[0]
    assert all(line.startswith("#") for line in comment.strip().splitlines())
    assert text.startswith(f"# {name}: {summary}\n")
    assert 20 < len(summary) < 110
    assert "\n# Source: " in comment
    assert max(map(len, text.splitlines())) <= 120
    if name != "kinema-small":
        assert re.search(r"https://|Myongji", comment)
        assert "\n# Deviations: " in comment


@pytest.mark.parametrize("name", [name for name in list_recipes() if "weights" in load_recipe(Path(name))])
def test_published_weights_are_what_the_recipe_goes_on_with(name):
    config = recipe(name)
    record = find_record(config.weights)
    assert record.architecture == config.model_options.get("backbone", config.model)
    assert record.input.clip.frames == config.frames
    ours, theirs = config.input_spec, record.input
    assert (ours.mean, ours.std, ours.value_range) == (theirs.mean, theirs.std, theirs.value_range)
    assert (ours.size_px, ours.short_side_px, ours.crop) == (theirs.size_px, theirs.short_side_px, theirs.crop)
    if config.model == record.architecture:
        options = full_options(record.architecture, record.options)
        assert {key: options[key] for key in config.model_options} == config.model_options


def test_the_page_of_recipes_tells_of_each():
    page = Path(__file__).parents[2] / "docs" / "how-to" / "recipes.md"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.read_text().splitlines()]
    told = {row[0].strip("`"): row for row in rows if len(row) == 7 and row[0].startswith("`")}
    assert sorted(told) == list_recipes()
    for name, (_, _, trained, clip, batch, rate, schedule) in told.items():
        config = recipe(name)
        assert clip.startswith(f"{config.frames} x {config.size}²")
        assert ("25 fps" in clip) == (config.fps == 25)
        assert batch == f"{config.batch_size} x {config.accumulate}"
        assert float(rate) == config.lr
        assert f"{config.total_steps:,}" in schedule if config.total_steps else f"{config.epochs} epochs" in schedule
        assert all(f"{milestone:,}" in schedule for milestone in config.milestones)
        assert ("random weights" in trained) == (config.weights is None) or name == "kinema-small" or "same" in trained


def check_what_moved(config, before, after):
    """Parameters and statistics before the trained stages, against those of the weights begun with."""
    prefix = "backbone." if config.model == "dymsta" else ""
    shared = [key for key in before if prefix + key in after and after[prefix + key].shape == before[key].shape]
    still = {key for key in shared if torch.equal(before[key], after[prefix + key])}
    statistics = {key for key in shared if key.endswith(("running_mean", "running_var"))}
    parameters = set(shared) - statistics - {key for key in shared if key.endswith("num_batches_tracked")}
    if config.train_from is None:
        assert not still & parameters
        return
    stages = list(create_model(config.model, 2, 3).trunk)
    first = stages.index(config.train_from) if config.train_from in stages else len(stages)
    earlier = ("conv1", "bn1", *stages[:first])
    held = {key for key in shared if key.partition(".")[0] in earlier}
    assert held
    assert held & parameters <= still
    assert not (parameters - held) & still
    assert (held & statistics <= still) == (config.frozen_batch_norm == "hold")


@pytest.mark.parametrize(("name", "side"), FRAMES_OF.items())
def test_crops_are_cut_from_frames_of_the_published_size(name, side):
    config = recipe(name)
    assert (config.train_short_side or config.short_side) == side


@pytest.mark.parametrize("name", sorted(WITHOUT_OVERLAP))
def test_windows_stand_side_by_side_as_in_the_published_test(name):
    assert recipe(name).eval_hop == recipe(name).frames


@pytest.mark.parametrize(("name", "narrow"), RUNS)
def test_a_recipe_trains(name, narrow, data, tmp_path):
    config = recipe(name)
    settings = {"data": data[config.modality], **SMALL, **OVERRIDES.get(name, {})}
    settings["size"] = 48 if name in NARROWED else 32  # fewer leave batch norms one value a clip
    settings["short_side"] = round(settings["size"] * config.short_side / config.size)
    if config.train_short_side:
        settings["train_short_side"] = round(settings["size"] * config.train_short_side / config.size)
    settings["model_options"] = {**config.model_options, **narrow}
    if config.weights:
        settings["weights"] = start(config, tmp_path, narrow)

    outcome = begin(settings, recipe=Path(name), out=tmp_path / "run")

    card = read_card(outcome.weights[0])
    assert (card.architecture, card.labels.names) == (config.model, ("left", "right"))
    expected = config.input_spec
    assert (card.input.mean, card.input.std) == (expected.mean, expected.std)
    assert (card.input.value_range, card.input.clip.fps) == (expected.value_range, expected.clip.fps)
    assert outcome.test.video.n == 2
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == (2 if name == "dymsta-ucf101" else 1)
    if config.warmup == 0:
        assert {float(row["lr"]) for row in rows} == {config.lr}
    if config.weights:
        check_what_moved(config, load_file(settings["weights"]), load_file(outcome.folder / "last.safetensors"))


@pytest.mark.parametrize(
    ("name", "train_from", "frozen_batch_norm"),
    [("hara2018", None, "hold"), ("hara2018-finetune", "layer4", "move"), ("detention2022", "fc", "move"),
     ("i3d-transfer-original", None, "hold"), ("i3d-transfer-fixed", "logits", "hold"),
     ("i3d-transfer-full", None, "hold")],
)  # fmt: skip
def test_the_stages_are_trained_that_the_source_trains(name, train_from, frozen_batch_norm):
    config = recipe(name)
    assert (config.train_from, config.frozen_batch_norm) == (train_from, frozen_batch_norm)
    assert (config.head_epochs, config.backbone_lr, config.layer_decay) == (0, 1, 1)


@pytest.mark.parametrize(
    ("name", "dampening", "weight_decay", "shortcut", "pixels"),
    [("hara2017", 0.9, 1e-3, "A", "activitynet-mean"), ("hara2018", 0.9, 1e-3, "A", "activitynet-mean"),
     ("hara2018-finetune", 0.9, 1e-5, "A", "activitynet-mean"), ("kataoka2020", 0, 1e-3, "B", "kinetics"),
     ("detention2022", 0, 1e-3, "B", "kinetics"), ("i3d-kinetics-rgb", 0, 1e-7, None, "symmetric"),
     ("i3d-kinetics-flow", 0, 1e-7, None, "symmetric"), ("i3d-transfer-full", 0, 1e-7, None, "symmetric"),
     ("c3d-ucf101", 0, 5e-3, None, "kinetics"), ("dymsta-ucf101", 0, 5e-4, None, "kinetics")],
)  # fmt: skip
def test_optimizer_and_input_are_those_of_the_source(name, dampening, weight_decay, shortcut, pixels):
    config = recipe(name)
    assert (config.optimizer, config.momentum, config.nesterov) == ("sgd", 0.9, False)
    assert (config.dampening, config.weight_decay, config.pixels) == (dampening, weight_decay, pixels)
    assert config.model_options.get("shortcut") == shortcut
    assert config.corner_scales == pytest.approx([2 ** (-k / 4) for k in range(5)])
    assert (config.flip, config.mixup, config.cutmix, config.clip_grad_norm) == (0.5, 0, 0, None)


@pytest.mark.parametrize("name", ["hara2018-finetune", "detention2022", "dymsta-ucf101", "i3d-transfer-fixed"])
def test_weights_that_are_not_here_are_asked_for_before_anything_is_written(name, data, tmp_path, monkeypatch):
    monkeypatch.setenv("KINEMA_OFFLINE", "1")
    with pytest.raises(WeightsError, match=f"the weights {recipe(name).weights} are not here") as caught:
        begin({"data": data["rgb"]}, recipe=Path(name), out=tmp_path / "run")
    assert "put it at" in caught.value.next_step
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("hara2017", {"model": "resnet3d_18"}),
        ("hara2018", {"model": "resnet3d_50", "model_options": {"shortcut": "B"}}),
        ("kataoka2020", {"model": "resnet3d_200"}),
        ("kataoka2020", {"model": "resnet2p1d_50"}),
        ("detention2022", {"model": "resnet2p1d_50", "weights": "resnet2p1d_50-kinetics700-moments"}),
        ("i3d-transfer-full", {"modality": "flow", "weights": "i3d-flow-kinetics400-imagenet"}),
        ("c3d-ucf101", {"model": "c3d_bn"}),
    ],
)
def test_what_a_recipe_proposes_can_be_done(name, settings):
    config = recipe(name, **settings)
    with torch.device("meta"):
        network = create_model(config.model, 2, config.input_spec.channels, **config.model_options)
    plan_phases(network, config)
    if config.weights:
        assert (find_record(config.weights).architecture, find_record(config.weights).input.modality) == (
            config.model, config.modality,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("kataoka2020", {0: 0.1, 49.99: 0.1, 50: 0.01, 99: 0.01, 100: 1e-3, 150: 1e-4, 199: 1e-4}),
        ("detention2022", {0: 0.1, 49.99: 0.1, 50: 0.01, 99: 0.01, 100: 1e-3, 150: 1e-4, 199: 1e-4}),
        ("hara2017", {0: 0.1, 199: 0.1}),
        ("hara2018", {0: 0.1, 199: 0.1}),
        ("hara2018-finetune", {0: 0.001, 199: 0.001}),
        ("i3d-kinetics-rgb", {0: 0.1, 96_999: 0.1, 97_000: 0.01, 107_999: 0.01, 108_000: 0.001, 114_999: 0.001}),
        (
            "i3d-kinetics-flow",
            {0: 0.1, 96_999: 0.1, 97_000: 0.01, 104_499: 0.01, 104_500: 0.001, 114_999: 0.001, 115_000: 0.1,
             139_999: 0.1, 140_000: 0.01, 150_000: 0.001, 154_999: 0.001},
        ),
        ("i3d-kinetics-rgb-paper", {0: 0.1, 109_999: 0.1}),
        ("i3d-transfer-full", {0: 0.1, 4_999: 0.1}),
        ("dymsta-ucf101", {0: 0.01, 99: 0.01}),
        ("c3d-ucf101", {0: 0.003, 19_999: 0.003, 20_000: 0.0003, 40_000: 0.00003, 59_999: 0.00003}),
    ],
)  # fmt: skip
def test_rates_are_those_published(name, rates):
    config = recipe(name)
    assert {done: pytest.approx(learning_rate(config, done)) for done in rates} == rates
    if config.schedule == "plateau":
        assert learning_rate(config, 0, plateau_factor=config.gamma) == pytest.approx(config.lr / 10)


@pytest.mark.parametrize(
    ("name", "clips"),
    [("hara2017", 256), ("hara2018", 128), ("hara2018-finetune", 128), ("kataoka2020", 128), ("detention2022", 128),
     ("i3d-kinetics-rgb", 384), ("i3d-kinetics-flow", 384), ("i3d-kinetics-rgb-paper", 384), ("c3d-ucf101", 30),
     ("i3d-transfer-fixed", 96), ("dymsta-ucf101", 32)],
)  # fmt: skip
def test_a_step_has_as_many_clips_as_published(name, clips):
    config = recipe(name)
    assert config.batch_size * config.accumulate == clips


@pytest.mark.usefixtures("no_pictures", "plain")
@pytest.mark.parametrize("name", ["hara2017", "hara2018-finetune", "kataoka2020", "i3d-kinetics-flow", "c3d-ucf101"])
def test_weights_are_updated_as_by_torch(job_of, monkeypatch, name):
    """Four steps of two micro-batches, against SGD with the numbers of the recipe in a loop of a few lines."""
    found = load_recipe(Path(name))
    published = {key: found[key] for key in ("lr", "momentum", "dampening", "nesterov", "weight_decay")}
    seen, scored = [], Objective.__call__

    def watched(self, model, batch, *others):
        def looked_at(clips):
            seen.append((clips.clone(), batch.targets))
            return model(clips)

        return scored(self, looked_at, batch, *others)

    monkeypatch.setattr(Objective, "__call__", watched)
    of_recipe = {key: found[key] for key in ("pixels", "crop", "flip", "optimizer", *published)}
    of_recipe |= {"pixels": "kinetics" if found["modality"] == "flow" else found["pixels"]}
    job = job_of(train=8, batch_size=2, accumulate=2, epochs=2, **of_recipe)
    run(job)

    torch.manual_seed(job.config.seed)
    plain = Plain()
    optimizer = torch.optim.SGD(plain.parameters(), **published)
    for number, (clips, targets) in enumerate(seen, start=1):
        (torch.nn.functional.cross_entropy(plain(clips), targets) / 2).backward()
        if number % 2 == 0:
            optimizer.step()
            optimizer.zero_grad()
    assert len(seen) == 8
    torch.testing.assert_close(weights(job), dict(plain.state_dict()))


@pytest.mark.parametrize("name", ["hara2017", "hara2018", "kataoka2020"])
def test_clips_are_taken_in_time_as_hara_does(name, tmp_path):
    """16 neighbours from a start drawn evenly; a shorter video begins again."""
    config = recipe(name, size=16, short_side=16)
    path = tmp_path / "grey.mkv"
    with VideoWriter(path, fps=25, size=(16, 16)) as writer:
        for shade in range(20):
            writer.write(np.full((1, 16, 16, 3), 10 * shade + 20, np.uint8))
    sample, spec = Sample(path, "a"), config.input_spec
    clips = TrainingClips(
        [sample, replace(sample, end_seconds=0.24)],
        [0, 0],
        spec,
        transform=TrainTransform(spec, AugmentSpec(flip=0)),
        cache=FrameCache.of(spec),
        seed=0,
    )
    starts = []
    for epoch in range(200):
        shades = clips[Draw(epoch, 0)][0][:, 0].float().mean((1, 2)).sub(20).div(10).round().int()
        starts.append(int(shades[0]))
        assert shades.tolist() == list(range(starts[-1], starts[-1] + 16))
    assert {start: 20 < starts.count(start) < 60 for start in starts} == dict.fromkeys(range(5), True)
    looped = clips[Draw(0, 1)][0][:, 0].float().mean((1, 2)).sub(20).div(10).round().int()
    assert looped.tolist() == [k % 6 for k in range(16)]
