"""Ten mistakes of a beginner, each answered with what was given, what is allowed and what to do next."""

import shutil

import pytest

from kinema.datasets.manifest import read_manifest


@pytest.fixture
def clips(tiny_clips, tmp_path):
    """A copy of the rendered clips as plain class folders, to be spoilt."""
    for label in ("normal", "selfharm"):
        shutil.copytree(tiny_clips.parent / label, tmp_path / "clips" / label)
    return tmp_path / "clips"


@pytest.fixture
def answered(kinema_command):
    """Run a wrong command; check the shape of its answer."""

    def check(code, given, allowed, *arguments):
        ran = kinema_command(*arguments)
        assert ran.code == code, ran.err
        assert "Traceback" not in ran.err
        assert ran.out == ""
        lines = ran.err.splitlines()
        assert any(line.startswith("error: ") for line in lines), ran.err
        assert any(line.startswith("allowed: ") for line in lines), ran.err
        assert any(line.startswith("next: ") for line in lines), ran.err
        assert given in ran.err
        assert allowed in ran.err
        return ran

    return check


def test_missing_path(answered, clips):
    answered(3, "did you mean 'clips'?", "class folders", "train", clips.parent / "clip")


def test_empty_folder(answered, tmp_path):
    (tmp_path / "empty").mkdir()
    answered(3, "empty holds no video", "CLASS/video", "train", tmp_path / "empty")


def test_one_class_only(answered, clips):
    shutil.rmtree(clips / "selfharm")
    answered(3, "'normal'", "2 classes or more", "train", clips)


def test_unknown_column(answered, clips):
    table = clips / "clips.csv"
    table.write_text("path,labl\nnormal/a.mp4,normal\n")
    answered(3, "labl", "label", "train", table)


def test_label_in_test_that_training_lacks(answered, clips):
    samples = read_manifest(clips).samples
    table = clips / "clips.csv"
    rows = [f"{s.path.relative_to(clips)},{s.label},train" for s in samples[:-1]]
    rows += [f"{samples[-1].path.relative_to(clips)},surprise,test"]
    table.write_text("\n".join(["path,label,split", *rows]))
    answered(3, "surprise", "training has samples of", "train", table, "--set", "val_fraction=0")


def test_unreadable_video(answered, clips, tmp_path):
    broken = next((clips / "normal").glob("*.mp4"))
    broken.write_bytes(b"this is no video" * 100)
    ran = answered(3, str(broken), "every video decodes", "train", clips, "--out", tmp_path / "run")
    assert "--skip-broken" in ran.err


def test_video_shorter_than_a_clip(answered, clips, tmp_path):
    padding = "clip_padding=none"
    answered(
        3, "frames on the clip grid", "frames or more", "train", clips, "--out", tmp_path / "run",
        "--frames", 64, "--set", padding, "--size", 32,
    )  # fmt: skip


def test_weights_file_that_is_none(answered, tmp_path, tiny_clips):
    (tmp_path / "best.safetensors").write_text("hello")
    video = next((tiny_clips.parent / "normal").glob("*.mp4"))
    answered(5, "best.safetensors is", "weights file", "predict", tmp_path / "best.safetensors", video)


def test_model_name_with_a_typo(answered, clips):
    answered(2, "did you mean 'resnet3d_18'?", "resnet3d_10", "train", clips, "--model", "resnet3d18")


def test_contradictory_options(answered, clips):
    answered(2, "contradict", "once", "train", clips, "--epochs", 3, "--set", "epochs=4")


def test_a_random_split_that_parts_groups_is_refused(answered, tiny_clips):
    rows = [line.split(",") for line in tiny_clips.read_text().splitlines()]
    where = [rows[0].index(name) for name in ("path", "label", "group")]
    table = tiny_clips.parent / "grouped.csv"
    table.write_text("\n".join(",".join(row[i] for i in where) for row in rows))
    ran = answered(3, "clips in both train and test", "in one part", "train", table, "--split-by", "random")
    assert "--allow-leak" in ran.err


def test_unreadable_video_among_readable_ones(kinema_command, tiny_run, tiny_clips, tmp_path):
    video = next((tiny_clips.parent / "normal").glob("*.mp4"))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    ran = kinema_command("predict", tiny_run / "best.safetensors", tmp_path / "broken.mp4", video)
    assert ran.code == 4
    assert "broken.mp4" in ran.err
    assert str(video) in ran.out
