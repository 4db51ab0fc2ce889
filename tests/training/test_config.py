import pytest

from kinema.core.errors import UsageError
from kinema.training.config import TrainConfig
from kinema.training.recipe import load_recipe, make_config, parse_assignments


def test_later_layers_win():
    config = make_config({"data": "clips", "lr": 1.0}, {"lr": 0.5})
    assert (config.data, config.lr, config.model) == ("clips", 0.5, "resnet3d_18")


@pytest.mark.parametrize(
    ("settings", "given", "allowed"),
    [
        ({"epoch": 3}, "did you mean 'epochs'?", "epochs"),
        ({"epochs": 0}, "epochs = 0", "integer >= 1"),
        ({"epochs": "many"}, "epochs = 'many'", "epochs: integer >= 1 (passes over the training clips)"),
        ({"optimizer": "adam"}, "optimizer = 'adam'", "optimizer: sgd, adamw"),
        ({"modality": "flow", "hue": 0.1}, "flow has no colours to jitter", ""),
        ({"fps": 8, "stride": 2}, "fps and stride", ""),
        ({"folds": 5, "split_by": "column"}, "'column' has no say", ""),
        ({"milestones": [3]}, "without schedule 'multistep'", ""),
        ({"schedule": "multistep"}, "without milestones", ""),
        ({"schedule": "piecewise", "milestones": [3, 4], "rates": [0.1]}, "a rate for each milestone", ""),
        ({"rates": [0.1]}, "a rate for each milestone", ""),
        ({"schedule": "piecewise", "milestones": [3], "rates": [0.0]}, "rates are above 0", ""),
        ({"schedule": "multistep", "milestones": [6, 3]}, "milestones rise", ""),
        ({"schedule": "plateau", "folds": 2}, "validation loss", ""),
        ({"warmup": 1}, "warmup = 1", "number >= 0, < 1"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "nothing to train on", ""),
        ({"nesterov": True, "dampening": 0.9}, "nesterov", ""),
        ({"short_side": 64}, "short_side below size", ""),
        ({"precision": "16-mixed", "fused": True}, "16-mixed scales gradients", ""),
        ({"balance": "class", "class_weights": "balanced"}, "both even out the classes", ""),
        ({"crop_scale": [0.8, 0.2]}, "crop_scale", ""),
        ({"crop_ratio": [-1, 1]}, "crop_ratio is a rising pair above 0", ""),
        ({"track": "wandb"}, "track", "list of any of wandb, mlflow"),
        ({"corner_scales": [1.0, 1.2]}, "corner_scales are above 0", ""),
        ({"corner_scales": []}, "corner_scales", "list of numbers"),
    ],
)
def test_mistakes_are_named(settings, given, allowed):
    with pytest.raises(UsageError) as caught:
        make_config({"data": "clips"}, settings)
    assert given in caught.value.given
    assert allowed in caught.value.allowed


def test_what_is_written_is_read_back(tmp_path):
    config = make_config({"data": "c", "fps": 8.0, "modality": "difference", "model_options": {"widen_factor": 0.5}})
    config.write(tmp_path / "config.yaml")
    assert make_config(load_recipe(tmp_path / "config.yaml"), {}) == config


def test_defaults_written_out_do_not_contradict(tmp_path):
    make_config({"data": "c", "fps": 8.0}).write(tmp_path / "config.yaml")
    assert make_config(load_recipe(tmp_path / "config.yaml")).fps == 8.0


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([{"total_steps": 9}, {"epochs": 5}], (5, None)),
        ([{"epochs": 5}, {"total_steps": 9}], (30, 9)),
        ([{"epochs": 5, "total_steps": 9}], (5, 9)),
        ([{"epochs": 5, "total_steps": 9}, {"epochs": 7, "total_steps": None}], (7, None)),
    ],
)
def test_the_later_of_epochs_and_steps_says_how_long_a_run_is(layers, expected):
    config = make_config({"data": "c"}, *layers)
    assert (config.epochs, config.total_steps) == expected


def test_input_spec():
    spec = make_config({"data": "c", "frames": 17, "fps": 8, "modality": "difference", "size": 80}).input_spec
    assert (spec.channels, spec.time_steps, spec.short_side_px, spec.clip.fps) == (1, 16, 91, 8)


def test_assignments_are_yaml():
    settings = parse_assignments(["lr=1e-2", "nesterov=true", "model_options.shortcut=A", "crop-scale=[0.5, 1]"])
    assert settings == {"lr": "1e-2", "nesterov": True, "model_options": {"shortcut": "A"}, "crop_scale": [0.5, 1]}
    assert make_config({"data": "c"}, settings).lr == 0.01


def test_options_of_the_network_add_up_over_the_layers():
    recipe, asked = (
        {"data": "c", "model_options": {"shortcut": "A", "widen_factor": 2}},
        {"model_options": {"shortcut": "B"}},
    )
    assert make_config(recipe, asked).model_options == {"shortcut": "B", "widen_factor": 2}
    assert make_config(recipe, {"lr": 1}, asked).model_options == {"shortcut": "B", "widen_factor": 2}
    assert make_config(asked, recipe).model_options == {"shortcut": "A", "widen_factor": 2}
    assert recipe["model_options"] == {"shortcut": "A", "widen_factor": 2}
    with pytest.raises(UsageError, match="model_options = 3"):
        make_config(recipe, {"model_options": 3})


@pytest.mark.parametrize("wrong", [["lr"], ["lr=1", "lr=2"], ["model_options.k=1", "model_options.k=2"]])
def test_wrong_assignments(wrong):
    with pytest.raises(UsageError, match="--set"):
        parse_assignments(wrong)


def test_recipes_that_are_none(tmp_path):
    with pytest.raises(UsageError, match="no recipe at"):
        load_recipe(tmp_path / "absent.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(UsageError, match="no settings"):
        load_recipe(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [\n")
    with pytest.raises(UsageError, match="not YAML"):
        load_recipe(tmp_path / "broken.yaml")


def test_every_setting_is_described():
    assert [name for name, field in TrainConfig.model_fields.items() if not field.description] == []
