"""`kinema data synthesize`."""

import json


def test_what_there_is_and_what_comes_next(kinema_command, tmp_path):
    options = ["--size", 32, "--frames", 4, "--kinds", "flow, fractal", "--workers", 0]
    ran = kinema_command("data", "synthesize", tmp_path / "set", "-n", 1, *options)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "20 clips of 20 classes",
        "10 classes of flow, 10 classes of fractal",
        "4 frames of 32 x 32 pixels at 16 fps, seed 0",
        f"next: kinema train {tmp_path / 'set' / 'manifest.csv'}",
    ]
    ran = kinema_command("data", "synthesize", tmp_path / "set", "--clips-per-class", 2, *options)
    assert ran.out.startswith("40 clips of 20 classes, 20 of them there already")


def test_json(kinema_command, tmp_path):
    ran = kinema_command(
        "data", "synthesize", tmp_path / "set", "-n", 1, "--size", 32, "--frames", 4, "--fps", 8, "--seed", 7,
        "--kinds", "flow", "--workers", 0, "--json",
    )  # fmt: skip
    told = json.loads(ran.out)
    assert (told["schema"], told["version"]) == ("kinema.synthesis_report", 1)
    assert (told["samples"], told["groups"], told["written"], told["found"]) == (10, 1, 10, 0)
    assert told["manifest"] == str(tmp_path / "set" / "manifest.csv")
    assert told["classes"][0] == "flow-boiling"
    assert told["synthesis"]["seed"] == 7
    assert told["synthesis"]["fps"] == 8


def test_mistakes(kinema_command, tmp_path):
    missing = kinema_command("data", "synthesize", tmp_path / "set")
    assert missing.code == 2
    assert "--clips-per-class" in missing.err
    unknown = kinema_command("data", "synthesize", tmp_path / "set", "-n", 1, "--kinds", "fractals")
    assert unknown.code == 2
    assert "did you mean 'fractal'" in unknown.err
    (tmp_path / "mine.txt").write_text("")
    assert kinema_command("data", "synthesize", tmp_path, "-n", 1).code == 3
