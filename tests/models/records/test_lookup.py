"""Records: what they claim agrees with the zoo, with torchvision's own word, and with itself."""

import re
from urllib.parse import urlsplit

import pytest
from torchvision.models import get_model_weights, list_models
from torchvision.models import video as torchvision_video

from kinema.core.errors import UsageError
from kinema.core.spec import FlowSpec, InputSpec
from kinema.models.published import card_of
from kinema.models.records.lookup import find_record, is_record, list_records, records_of
from kinema.models.records.record import ClassSet, Figure
from kinema.models.zoo import find_row, full_options

RECORDS = list_records()


def name_of(record):
    return record.name


# The files that the two READMEs of 3D-ResNets-PyTorch list, and what they say of each.
NEW = {
    "r3d18_K": 700, "r3d18_KM": 1039, "r3d34_K": 700, "r3d34_KM": 1039, "r3d50_K": 700, "r3d50_KM": 1039,
    "r3d50_KMS": 1139, "r3d50_KS": 800, "r3d50_M": 339, "r3d50_MS": 439, "r3d50_S": 100, "r3d101_K": 700,
    "r3d101_KM": 1039, "r3d152_K": 700, "r3d152_KM": 1039, "r3d200_K": 700, "r3d200_KM": 1039,
}  # fmt: skip
OLD = {
    "resnet-18": ("resnet3d_18", "A", 66.1),
    "resnet-34": ("resnet3d_34", "A", 71.0),
    "resnet-50": ("resnet3d_50", "B", 72.2),
    "resnet-101": ("resnet3d_101", "B", 73.3),
    "resnet-152": ("resnet3d_152", "B", 73.7),
    "resnet-200": ("resnet3d_200", "B", 73.7),
    "preresnet-200": ("preact_resnet3d_200", "B", 73.4),
    "wideresnet-50": ("wide_resnet3d_50", "B", 74.7),
    "resnext-101": ("resnext3d_101", "B", 75.4),
    "densenet-121": ("densenet3d_121", None, 70.8),
    "densenet-201": ("densenet3d_201", None, 72.3),
}


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_a_record_is_one_of_the_zoo_and_makes_a_card(record):
    full_options(record.architecture, record.options)
    card = card_of(record, ())
    assert card.in_channels == record.input.channels
    assert card.labels.count == record.classes.count
    assert card.provenance["licence"]["weights"] == record.licence.weights
    assert all(metric["protocol"] and metric["source"] for metric in card.metrics)


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_a_record_says_where_from_and_under_what_terms(record):
    assert re.fullmatch(rf"{record.architecture}(-[a-z0-9]+)+", record.name)
    for file in record.files:
        assert urlsplit(file.source).scheme == "https"
        assert re.fullmatch(r"[0-9a-f]*", file.sha256 + file.git_blob)
        assert len(file.git_blob) in (0, 40)
    assert record.licence.code in ("MIT", "Apache-2.0", "BSD-3-Clause")
    assert record.licence.weights == "not stated" or record.licence.basis
    assert record.classes.evidence


@pytest.mark.parametrize("record", [record for record in RECORDS if record.figures], ids=name_of)
def test_a_figure_says_how_it_was_measured_and_where_it_stands(record):
    for figure in record.figures:
        assert 0 < figure.percent < 100
        assert urlsplit(figure.source).scheme == "https"
        assert figure.data in figure.protocol
        assert figure.level in figure.protocol
        assert figure.views


def test_names_and_aliases_lead_to_one_record():
    assert find_record("r3d50_K_200ep") is find_record("r3d50_K_200ep.pth") is find_record("resnet3d_50-kinetics700")
    assert find_record("rgb_imagenet").publisher == "kinetics-i3d"
    assert find_record("rgb_imagenet.pt").publisher == "pytorch-i3d"
    assert is_record("X3D_S")
    assert not is_record("x3d_s")


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'resnet3d_50-kinetics700'") as caught:
        find_record("resnet3d_50-kinetic700")
    assert caught.value.next_step == "kinema models list --weights"


@pytest.mark.parametrize("stem", NEW)
def test_the_new_files_of_hara(stem):
    record = find_record(f"{stem}_200ep")
    assert record.architecture == f"resnet3d_{re.search('[0-9]+', stem.removeprefix('r3d'))[0]}"
    assert record.classes.count == NEW[stem]
    assert not record.classes.labels.is_known
    assert record.input == InputSpec()
    assert not record.has_link
    assert record.figures == ()


@pytest.mark.parametrize("stem", OLD)
def test_the_old_files_of_hara(stem):
    record = find_record(f"{stem}-kinetics")
    architecture, shortcut, percent = OLD[stem]
    assert record.architecture == architecture
    assert full_options(architecture, record.options).get("shortcut") == shortcut
    assert record.figures[0].percent == percent
    assert record.figures[0].short == "K400 val, mean top-1/5 video"
    assert record.classes.labels.name(5) == "archery"
    assert (record.input.value_range, record.input.std) == (255.0, (1.0, 1.0, 1.0))
    assert record.input.mean == (114.7748, 107.7354, 99.4750)


@pytest.mark.parametrize(
    ("stem", "frames", "known"),
    [
        ("resnext-101-kinetics-ucf101_split1", 16, True),
        ("resnext-101-64f-kinetics-ucf101_split1", 64, True),
        ("resnext-101-kinetics-hmdb51_split1", 16, False),
        ("resnext-101-64f-kinetics-hmdb51_split1", 64, False),
    ],
)
def test_the_fine_tuned_files_of_hara(stem, frames, known):
    record = find_record(stem)
    assert record.architecture == "resnext3d_101"
    assert record.input.clip.frames == frames
    assert record.classes.labels.is_known == known


@pytest.mark.parametrize("letters", ["18_K", "34_K", "50_K", "50_KM"])
def test_the_unlisted_files_of_hara(letters):
    record = find_record(f"r2p1d{letters}_200ep")
    assert record.architecture == f"resnet2p1d_{letters.split('_')[0]}"
    assert "not in the README" in record.note


@pytest.mark.parametrize(
    ("name", "modality", "count", "top1"),
    [
        ("i3d-kinetics400-imagenet", "rgb", 400, 71.1),
        ("i3d-kinetics400", "rgb", 400, 68.4),
        ("i3d-flow-kinetics400-imagenet", "flow", 400, 63.4),
        ("i3d-flow-kinetics400", "flow", 400, 61.5),
        ("i3d-kinetics600", "rgb", 600, None),
    ],
)
def test_deepminds_checkpoints_are_two_files_each(name, modality, count, top1):
    record = find_record(name)
    assert [file.name.rsplit(".", 1)[1] for file in record.files] == ["index", "data-00000-of-00001"]
    assert all(file.git_blob and file.name in file.url for file in record.files)
    assert (record.input.modality, record.classes.count) == (modality, count)
    assert record.classes.labels.is_known
    assert [figure.percent for figure in record.figures[:1]] == ([top1] if top1 else [])


def test_inputs_of_i3d_run_from_minus_one_to_one():
    for record in records_of("i3d"):
        spec = record.input
        ends = (1, 128, 255) if spec.modality == "flow" else (0, 127.5, 255)
        scaled = [(byte / 255 * spec.value_range - spec.mean[0]) / spec.std[0] for byte in ends]
        assert scaled == pytest.approx([-1.0, 0.0, 1.0])
        assert spec.flow == (FlowSpec("tvl1") if spec.modality == "flow" else None)


TORCHVISION = [(name, weights) for name in list_models(module=torchvision_video) for weights in get_model_weights(name)]


def test_every_network_of_torchvision_has_its_records():
    ours = {record.files[0].url for record in RECORDS if record.publisher == "torchvision"}
    assert ours == {weights.url for _, weights in TORCHVISION}


@pytest.mark.parametrize(("name", "weights"), TORCHVISION, ids=lambda one: getattr(one, "url", one))
def test_torchvision_says_the_same_of_its_weights(name, weights):
    (record,) = [record for record in RECORDS if record.files[0].url == weights.url]
    figures = {figure.measure: figure.percent for figure in reversed(record.figures)}
    said = weights.meta["_metrics"]["Kinetics-400"]
    transforms = weights.transforms()
    assert record.architecture == name
    assert figures == {"top-1": said["acc@1"], "top-5": said["acc@5"]}
    assert list(record.classes.labels.require()) == weights.meta["categories"]
    assert find_row(name).parameters == weights.meta["num_params"]
    assert record.files[0].sha256 == weights.url.rsplit("-", 1)[1].removesuffix(".pth")
    assert [record.input.size_px] * 2 == transforms.crop_size
    assert record.input.short_side_px == min(transforms.resize_size)
    assert (list(record.input.mean), list(record.input.std)) == (transforms.mean, transforms.std)
    views = dict(re.findall(r"`(\w+)=([\d.]+)`", weights.meta["_docs"]))
    assert record.input.clip.frames == int(views["clip_len"])
    assert record.input.clip.fps == float(views["frame_rate"])
    assert record.figures[0].views.startswith(f"{views['clips_per_video']} clip")
    assert f"{record.figures[0].level}-level" in weights.meta["_docs"]


def test_two_figures_of_one_file_stand_side_by_side():
    figures = find_record("r2plus1d_18-kinetics400").figures
    assert [(figure.measure, figure.percent, figure.level) for figure in figures] == [
        ("top-1", 67.463, "video"), ("top-5", 86.175, "video"), ("top-1", 57.5, "clip"), ("top-5", 78.81, "clip"),
    ]  # fmt: skip


def test_the_clip_of_a_pytorchvideo_file_is_the_one_it_was_measured_with():
    for record in (record for record in RECORDS if record.publisher == "PyTorchVideo"):
        clip = record.input.clip
        assert record.figures[0].views == f"10 clips of {clip.frames} frames, {clip.stride} apart, by 3 crops"


def test_the_best_on_kinetics_400_comes_first():
    assert [record.name for record in records_of("resnext3d_101")][:3] == [
        "resnext3d_101-64f-kinetics400",
        "resnext3d_101-kinetics400",
        "resnext3d_101-64f-kinetics400-ucf101",
    ]
    assert records_of("swin3d_b")[0].name == "swin3d_b-kinetics400-imagenet22k"
    assert records_of("resnet3d_50")[0].name == "resnet3d_50-kinetics400"
    assert records_of("c3d") == []


def test_an_order_must_be_one_that_comes_with_kinema():
    with pytest.raises(UsageError, match="kinetics800"):
        ClassSet("Kinetics-800", 800, "kinetics800")


def test_what_is_not_stated_is_said_to_be_so():
    figure = Figure("top-1", 50.0, "UCF101", "not stated", "not stated", "not stated", "https://example.org")
    assert figure.protocol == "UCF101, split not stated; level not stated; views not stated"
    assert figure.short == "UCF101, top-1"
