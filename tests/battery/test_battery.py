"""What every network of the zoo must do; a new row of the table is tested without a new line here."""

from collections.abc import Iterator

import pytest
import torch

from kinema.core.labels import LabelMap
from kinema.models.model import VideoModel
from kinema.models.weights import ModelCard, load_weights, replace_head, save_weights
from kinema.models.zoo import create_model, describe, find_row, list_models

# Some test of theirs runs for seconds; they repeat the blocks of a smaller one.
DEEP = {
    "csn_r101",
    "densenet3d_169",
    "densenet3d_201",
    "densenet3d_264",
    "fused_two_stream",
    "i3d_two_stream",
    "mvit_v2_s",
    "preact_resnet3d_101",
    "preact_resnet3d_152",
    "preact_resnet3d_200",
    "preact_resnet3d_34",
    "r2plus1d_18",
    "resnet2p1d_101",
    "resnet2p1d_152",
    "resnet2p1d_200",
    "resnet2p1d_34",
    "resnet3d_101",
    "resnet3d_152",
    "resnet3d_200",
    "resnet3d_34",
    "resnext3d_101",
    "resnext3d_152",
    "slowfast_16x8_r101_50_50",
    "slowfast_r101",
    "swin3d_b",
    "swin3d_s",
    "x3d_l",
    "x3d_m",
    "x3d_xs",
}
# Smaller layers, the same structure, in a fraction of the time.
NARROW = {"widen_factor": 0.25, "growth_rate": 8}
# No block left out by chance: it would rightly get no gradient.
STILL = {"stochastic_depth": 0.0}
# Rightly without a gradient: of the last block's queries only the class token's counts, which has no place in the clip.
SILENT = {
    "mvit_v2_s": {
        "blocks.15.attn.pool_q.pool.weight",
        "blocks.15.attn.rel_pos_h",
        "blocks.15.attn.rel_pos_w",
        "blocks.15.attn.rel_pos_t",
    }
}
CLASSES = 5

pytestmark = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in DEEP else ()) for name in list_models()],
    scope="module",
)


@pytest.fixture(scope="module")
def model(name) -> Iterator[VideoModel]:
    """One network in evaluation mode for all tests that leave it as it is."""
    return fresh(name).eval()


def options(name):
    return {key: value for key, value in (NARROW | STILL).items() if key in find_row(name).defaults}


def fresh(name):
    torch.manual_seed(0)
    model = create_model(name, CLASSES, find_row(name).input.channels, **options(name))
    for module in model.modules():
        # A block whose last batch norm starts at zero (SlowFast's, X3D's) would be hidden from every test.
        # I3D's batch norms have no weight.
        if isinstance(module, torch.nn.BatchNorm3d) and module.weight is not None and not module.weight.any():
            torch.nn.init.ones_(module.weight)
    return model


def clips(name, count=2, frames=6, size_px=48):
    channels = find_row(name).input.channels
    return torch.randn(count, channels, frames, size_px, size_px, generator=torch.Generator().manual_seed(1))


def test_the_row_tells_its_size_and_cost(name):
    told = describe(name)
    assert told.parameters == find_row(name).parameters
    assert told.gflops == pytest.approx(find_row(name).gflops, abs=0.005)


def test_every_stage_has_parameters_and_a_shape(name):
    told = describe(name)
    assert [stage.name for stage in told.stages] == list(fresh(name).stages)
    assert all(stage.parameters > 0 and stage.shapes for stage in told.stages)
    assert sum(stage.parameters for stage in told.stages) == told.parameters


@torch.no_grad()
@pytest.mark.parametrize(("count", "frames", "size_px"), [(2, 6, 48), (1, 6, 48), (1, 9, 48), (1, 6, 64)])
def test_logits_for_any_batch_length_and_size(name, model, count, frames, size_px):
    logits = model(clips(name, count, frames, size_px))
    assert logits.shape == (count, CLASSES)
    assert torch.isfinite(logits).all()


@torch.no_grad()
def test_the_same_clip_gives_the_same_logits_alone_and_in_a_batch(name, model):
    batch = clips(name)
    assert torch.equal(model(batch), model(batch))
    torch.testing.assert_close(model(batch)[1:], model(batch[1:]), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_features_and_head_make_the_whole(name, model):
    batch = clips(name, 1)
    assert torch.equal(model.forward_head(model.forward_features(batch)), model(batch))


def test_the_same_seed_builds_the_same_network(name, model):
    tensors = model.state_dict()
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in fresh(name).state_dict().items())


def test_a_gradient_reaches_every_parameter(name):
    model = fresh(name).train()
    # As many frames and pixels as leave more than one value to normalise in the deepest layer.
    model(clips(name, 2, 16, 64)).square().sum().backward()
    without = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    assert not without
    silent = {key for key, parameter in model.named_parameters() if not parameter.grad.any()}
    assert silent == SILENT.get(name, set())


@pytest.mark.slow
def test_stages_computed_twice_give_the_same_gradients(name):
    gradients = []
    for twice in (False, True):
        model = fresh(name).train()
        if twice:
            model.recompute_stages()
        torch.manual_seed(0)  # of dropout
        model(clips(name, frames=8)).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(one is other is None or torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_every_stage_can_be_the_first_to_train(name):
    model = fresh(name)
    owned = model.parameters_by_stage()
    for number, start in enumerate(model.stages):
        model.freeze(start)
        trained = {key for stage in model.stages[number:] for key in owned[stage]}
        assert {key for key, parameter in model.named_parameters() if parameter.requires_grad} == trained


@pytest.mark.parametrize("statistics", [True, False])
def test_frozen_stages_hold_still(name, statistics):
    model = fresh(name)
    start = list(model.trunk)[-1]
    model.freeze(start, statistics=statistics)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    model.train()
    loss = model(clips(name, 2, 16, 64)).square().sum()
    loss.backward()
    torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.01).step()

    changed = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
    free = tuple(f"{name}." for stage in (start, *model.top) for name in model.modules_by_stage()[stage])
    moved_in_front = {key for key in changed if not key.startswith(free)}
    averages = {key for key in before if "running_" in key or "num_batches" in key}
    in_front = {key for key in averages if not key.startswith(free)}
    assert moved_in_front == (set() if statistics else in_front)
    assert changed - moved_in_front


@torch.no_grad()
def test_bfloat16_is_close_to_float32(name, model):
    batch = clips(name, 2, 16, 64)
    whole = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        halved = model(batch).float()
    assert torch.isfinite(halved).all()
    assert (halved - whole).norm() < 0.1 * whole.norm()


def test_the_head_can_be_replaced(name):
    model = fresh(name).eval()
    told = replace_head(model, 3)
    assert (told.heads, told.classes_before, told.classes) == (model.heads, CLASSES, 3)
    with torch.no_grad():
        assert model(clips(name, 1)).shape == (1, 3)
    heads, tensors = tuple(f"{head}." for head in model.heads), model.state_dict()
    assert all(
        torch.equal(tensor, tensors[key])
        for key, tensor in fresh(name).state_dict().items()
        if not key.startswith(heads)
    )


@torch.no_grad()
def test_what_is_saved_comes_back(name, model, tmp_path):
    row, path = find_row(name), tmp_path / "w.safetensors"
    labels = LabelMap.unknown(CLASSES)
    save_weights(path, model, ModelCard(name, options(name), row.input.channels, labels, row.input, {}))
    batch = clips(name, 1)
    assert torch.equal(load_weights(path).model(batch), model(batch))


@torch.no_grad()
def test_it_can_be_exported(name, model):
    batch = clips(name)
    program = torch.export.export(model, (batch,), dynamic_shapes=({0: torch.export.Dim("N")},))
    for count in (2, 3):
        batch = clips(name, count)
        torch.testing.assert_close(program.module()(batch), model(batch), rtol=1e-4, atol=1e-4)
