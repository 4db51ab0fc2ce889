from __future__ import annotations

import sys

import cv2  # noqa: TID251  moves pictures for what is tested
import numpy as np
import pytest
import torch
from torchvision.models.optical_flow import Raft_Small_Weights, raft_large, raft_small

from kinema.core.errors import MediaError, UsageError, WeightsError
from kinema.core.spec import FlowSpec
from kinema.video.flow import ALGORITHMS, FlowChoice, algorithm_of, flow_fields, from_bytes, make_algorithm, to_bytes

HEIGHT, WIDTH = 96, 128
EDGE = 20  # what moves in over an edge was not there to be found


def texture(right, down):
    """A smooth picture uint8 (3, H, W) whose content lies `right` and `down` of where it lies at (0, 0)."""
    rng = np.random.default_rng(4)
    fine = cv2.GaussianBlur(rng.normal(size=(200, 240)), (0, 0), 3)
    coarse = cv2.GaussianBlur(rng.normal(size=(200, 240)), (0, 0), 8)
    whole = 128 + 25 * fine / fine.std() + 25 * coarse / coarse.std()
    moved = cv2.warpAffine(whole, np.float64([[1, 0, right], [0, 1, down]]), (240, 200), flags=cv2.INTER_CUBIC)
    grey = moved[50 : 50 + HEIGHT, 50 : 50 + WIDTH].clip(0, 255).round().astype(np.uint8)
    return torch.from_numpy(np.stack([grey] * 3))


def inside(fields):
    return fields[..., EDGE:-EDGE, EDGE:-EDGE]


@pytest.fixture(scope="module")
def raft(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("raft") / "small.pth"
    torch.save(raft_small().state_dict(), path)
    return FlowChoice("raft", weights=path)


@pytest.mark.parametrize("name", ["tvl1", "dis", "farneback"])
@pytest.mark.parametrize("motion", [(3.0, -2.0), (-0.5, 1.25), (0.25, 0.0)])
def test_a_translation_is_found(name, motion):
    frames = torch.stack([texture(0, 0), texture(*motion)])

    found = flow_fields(frames, make_algorithm(FlowChoice(name)))

    assert found.dtype == torch.float32
    assert found.shape == (1, 2, HEIGHT, WIDTH)
    error = inside(found[0]) - torch.tensor(motion).view(2, 1, 1)
    assert error.abs().mean() < 0.05
    assert error.abs().quantile(0.99) < 0.2


@pytest.mark.parametrize("name", ["tvl1", "dis"])
def test_nothing_moving_is_exactly_the_zero_byte(name):
    frames = torch.stack([texture(0, 0)] * 2)

    found = flow_fields(frames, make_algorithm(FlowChoice(name)))

    assert (to_bytes(found, 20) == 128).all()


def test_farneback_sees_motion_at_the_edges_where_nothing_moves():
    frames = torch.stack([texture(0, 0)] * 2)

    found = flow_fields(frames, make_algorithm(FlowChoice("farneback")))

    assert (to_bytes(inside(found), 20) == 128).all()
    assert 0 < found.abs().max() < 0.5


@pytest.mark.parametrize("name", ["tvl1", "dis", "farneback"])
def test_a_mirrored_clip_moves_the_other_way(name):
    frames = torch.stack([texture(0, 0), texture(1.5, -1)])
    algorithm = make_algorithm(FlowChoice(name))

    mirrored = flow_fields(frames.flip(-1), algorithm).flip(-1)
    found = flow_fields(frames, algorithm)
    found[:, 0] *= -1

    # Their grids and sweeps begin at one side, so the mirror is no exact symmetry of them.
    assert inside(mirrored - found).abs().mean() < 0.05


def test_frames_have_one_field_fewer():
    frames = torch.stack([texture(step, 0) for step in (0, 1, 3, 6)])

    found = flow_fields(frames, make_algorithm(FlowChoice("dis")))

    assert len(found) == 3
    rights = inside(found[:, 0]).mean(dim=(1, 2))
    torch.testing.assert_close(rights, torch.tensor([1.0, 2.0, 3.0]), atol=0.1, rtol=0)
    assert flow_fields(frames[:1], make_algorithm(FlowChoice("dis"))).shape == (0, 2, HEIGHT, WIDTH)


def test_a_field_depends_on_its_two_frames_alone():
    frames = torch.stack([texture(step, 0) for step in (0, 1, 3)])
    algorithm = make_algorithm(FlowChoice("tvl1"))

    together = flow_fields(frames, algorithm)

    assert torch.equal(together[1:], flow_fields(frames[1:], make_algorithm(FlowChoice("tvl1"))))


def test_bytes_are_bounded_and_symmetric():
    pixels = torch.tensor([-1e9, -20, -10, -0.01, 0, 0.01, 10, 20, 20.1, 1e9])

    bytes_ = to_bytes(pixels, 20)

    assert bytes_.dtype == torch.uint8
    assert bytes_.tolist() == [1, 1, 64, 128, 128, 128, 192, 255, 255, 255]
    back = torch.linspace(-20, 20, 1001)
    assert (from_bytes(to_bytes(back, 20), 20) - back).abs().max() <= 20 / 127 / 2 + 1e-5
    assert torch.equal(to_bytes(-back, 20).int(), 256 - to_bytes(back, 20).int())


def test_tvl1_has_the_defaults_that_networks_were_trained_on():
    assert make_algorithm(FlowChoice("tvl1")).parameters == {
        "Epsilon": 0.01, "Gamma": 0.0, "InnerIterations": 30, "Lambda": 0.15, "MedianFiltering": 5,
        "OuterIterations": 10, "ScaleStep": 0.8, "ScalesNumber": 5, "Tau": 0.25, "Theta": 0.3,
        "UseInitialFlow": False, "WarpingsNumber": 5,
    }  # fmt: skip


def test_tvl1_keeps_them_whatever_opencv_comes_to_take(monkeypatch):
    usual = make_algorithm(FlowChoice("tvl1")).parameters
    made = cv2.optflow.DualTVL1OpticalFlow_create

    def other(*_):
        return made(0.1, 0.3, 0.5, 3, 2, 0.05, 10, 4, 0.5, 0.1, 3, True)

    monkeypatch.setattr(cv2.optflow, "DualTVL1OpticalFlow_create", other)

    assert make_algorithm(FlowChoice("tvl1")).parameters == usual


@pytest.mark.parametrize(
    ("name", "altered"),
    [("tvl1", {"WarpingsNumber": 1}), ("dis", {"FinestScale": 3}), ("farneback", {"winsize": 5})],
)
def test_parameters_are_what_is_computed_with(name, altered):
    frames = torch.stack([texture(0, 0), texture(3, -2)])
    choice = FlowChoice(name, parameters=tuple(altered.items()))

    algorithm = make_algorithm(choice)

    usual = make_algorithm(FlowChoice(name))
    assert algorithm.parameters == {**usual.parameters, **altered}
    assert not torch.equal(flow_fields(frames, algorithm), flow_fields(frames, usual))


@pytest.mark.parametrize("name", ["tvl1", "dis", "farneback"])
def test_an_algorithm_runs_again_with_what_was_written_of_it(name):
    frames = torch.stack([texture(0, 0), texture(1, 1)])
    usual = make_algorithm(FlowChoice(name))

    again = algorithm_of(FlowSpec(name, parameters=dict(usual.parameters)))

    assert again.parameters == usual.parameters
    assert torch.equal(flow_fields(frames, again), flow_fields(frames, usual))


def test_farneback_and_dis_have_the_settings_that_are_documented():
    assert make_algorithm(FlowChoice("farneback")).parameters == {
        "pyr_scale": 0.5, "levels": 3, "winsize": 15, "iterations": 3, "poly_n": 5, "poly_sigma": 1.2, "flags": 0,
    }  # fmt: skip
    dis = make_algorithm(FlowChoice("dis")).parameters
    shown = ("preset", "PatchSize", "PatchStride", "FinestScale", "GradientDescentIterations")
    assert [dis[name] for name in shown] == ["medium", 8, 3, 1, 25]


@pytest.mark.parametrize("name", ["dis", "farneback", "tvl1"])
def test_the_library_is_named(name):
    algorithm = make_algorithm(FlowChoice(name))

    assert algorithm.name == name
    assert algorithm.library == f"OpenCV {cv2.__version__}"
    assert algorithm.parameters


def test_raft_runs_on_any_size(raft):
    algorithm = make_algorithm(raft)
    frames = torch.randint(0, 256, (3, 3, 131, 140), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))

    found = flow_fields(frames, algorithm)

    assert found.shape == (2, 2, 131, 140)
    assert found.isfinite().all()
    assert found.abs().max() > 0
    assert algorithm.parameters["network"] == "raft_small"
    assert len(algorithm.parameters["weights_sha256"]) == 64
    assert torch.equal(found, flow_fields(frames, make_algorithm(raft)))


@pytest.mark.parametrize("size", [(136, 144), (131, 141), (133, 144)])
def test_raft_is_what_torchvision_makes_of_the_same_pictures(raft, size):
    """Its own transforms, its own evaluation's padding (halves on either side, edges repeated), 12 updates."""
    height, width = size
    pictures = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    network = raft_small()
    network.load_state_dict(torch.load(raft.weights, weights_only=True))
    before, after = Raft_Small_Weights.DEFAULT.transforms()(pictures[:1], pictures[1:])
    down, across = (-height % 8, -width % 8)
    edges = (across // 2, across - across // 2, down // 2, down - down // 2)
    before, after = (torch.nn.functional.pad(each, edges, mode="replicate") for each in (before, after))
    with torch.no_grad():
        (*_, last) = network.eval()(before, after)  # in pixels of the padded pictures, as its figures are measured
    expected = last[..., edges[2] : edges[2] + height, edges[0] : edges[0] + width]

    found = flow_fields(pictures, make_algorithm(raft))

    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)
    assert expected.abs().mean() > 0.01


@pytest.mark.parametrize("name", ["raft_small", "raft_large"])
def test_the_file_that_torchvision_publishes_is_one_for_its_network(name, tmp_path):
    """Its files hold the bare tensors of the network, under the names that the network has."""
    torch.manual_seed(0)
    network = {"raft_small": raft_small, "raft_large": raft_large}[name]()
    torch.save(network.state_dict(), tmp_path / f"{name}.pth")

    made = make_algorithm(FlowChoice("raft", raft=name, weights=tmp_path / f"{name}.pth"))

    assert made.parameters["network"] == name
    assert made.parameters["updates"] == 12


def test_raft_of_too_small_frames(raft):
    with pytest.raises(MediaError, match="too few for RAFT"):
        flow_fields(torch.zeros((2, 3, 96, 200), dtype=torch.uint8), make_algorithm(raft))


def test_weights_that_are_none(tmp_path, raft):
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    for choice in (
        FlowChoice("raft", weights=tmp_path / "text.pth"),
        FlowChoice("raft", weights=tmp_path / "other.pth"),
        FlowChoice("raft", weights=tmp_path / "gone.pth"),
        FlowChoice("raft", raft="raft_large", weights=raft.weights),
    ):
        with pytest.raises(WeightsError, match=f"holds no weights of {choice.raft}"):
            make_algorithm(choice)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"algorithm": "tv-l1"}, "did you mean 'tvl1'"),
        ({"algorithm": "raft"}, "flow by raft without weights"),
        ({"algorithm": "dis", "weights": "some.pth"}, "flow by dis with weights"),
        ({"algorithm": "raft", "weights": "some.pth", "parameters": (("updates", 3),)}, "RAFT with"),
        ({"raft": "raft_tiny"}, "no RAFT is called 'raft_tiny'"),
    ],
)
def test_choices_that_are_none(settings, said):
    with pytest.raises(UsageError, match=said):
        FlowChoice(**settings)


def test_no_such_device(raft):
    with pytest.raises(UsageError, match="device nowhere"):
        make_algorithm(FlowChoice("raft", weights=raft.weights, device="nowhere"))


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"raft"}))
def test_without_opencv_the_extra_is_named(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)

    with pytest.raises(UsageError, match=r"pip install 'kinema\[flow\]'"):
        make_algorithm(FlowChoice(name))


def test_an_opencv_without_the_contributed_modules_is_none(monkeypatch):
    monkeypatch.delattr(cv2, "optflow")

    with pytest.raises(UsageError, match="contributed modules"):
        make_algorithm(FlowChoice("tvl1"))
