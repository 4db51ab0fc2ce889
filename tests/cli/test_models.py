"""`kinema models`: a table and a drawing for people, JSON for programs."""

import json

import pytest
from typer.testing import CliRunner

from kinema.cli import models, render
from kinema.core.errors import UsageError
from kinema.models.zoo import list_models


def run(monkeypatch, *arguments):
    # Wide, as a file or pipe would be: what is looked for must not be broken over lines.
    monkeypatch.setattr(render.stdout, "width", 200)
    result = CliRunner().invoke(models.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_list_names_every_model(monkeypatch):
    lines = run(monkeypatch, "list").splitlines()
    assert [line.split()[0] for line in lines[1:]] == list_models()
    assert next(line for line in lines if line.startswith("resnet3d_18 ")).split()[1:4] == ["33.4", "M", "16.6"]


def test_list_as_json(monkeypatch):
    rows = json.loads(run(monkeypatch, "list", "--json"))
    assert [row["name"] for row in rows] == list_models()
    assert rows[0]["input"]["clip"]["frames"] == 16


def test_show_draws_stages_and_options(monkeypatch):
    text = run(monkeypatch, "show", "resnet3d_50")
    assert "47,018,576 parameters, 20.1 GFLOPs" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "clip 3 x 16 x 112 x 112" in lines
    assert "conv1 64 x 16 x 56 x 56 65,984" in lines
    assert any(line.startswith("layer4 2048 x 1 x 4 x 4 29,120,512 █") for line in lines)
    assert any(line.startswith("shortcut B A or B where shapes change") for line in lines)


def test_show_as_json(monkeypatch):
    told = json.loads(run(monkeypatch, "show", "resnet3d_10", "--json"))
    assert told["stages"][-1] == {"name": "fc", "shape": [400], "parameters": 512 * 400 + 400}
    assert {"name": "shortcut", "value": "B"}.items() <= told["options"][0].items()


def test_a_misspelt_name_is_answered():
    with pytest.raises(UsageError, match="did you mean 'resnet3d_18'"):
        CliRunner().invoke(models.app, ["show", "resnet_18"], catch_exceptions=False)
