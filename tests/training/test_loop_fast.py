"""What makes training faster or smaller leaves what is learnt as it was."""

import pytest
import torch
from small_runs import SMALL, run, same, table, weights

from kinema.core.errors import UsageError
from kinema.training import precision
from kinema.training.precision import computes_bfloat16

pytestmark = pytest.mark.usefixtures("no_pictures")
needs_bfloat16 = pytest.mark.skipif(not computes_bfloat16(), reason="this CPU has no bfloat16 instructions")


def learnt(job_of, name, **settings):
    job = job_of(name, **SMALL, frames=4, epochs=2, lr=0.05, **settings)
    run(job)
    return job


def test_stages_computed_twice_learn_the_same(job_of):
    plain, twice = learnt(job_of, "plain"), learnt(job_of, "twice", gradient_checkpointing=True)
    assert same(weights(plain), weights(twice))
    assert table(plain)[-1]["train_loss"] == table(twice)[-1]["train_loss"]


def test_a_compiled_network_learns_the_same_under_the_same_names(job_of, monkeypatch):
    """The compiler proper takes minutes; what surrounds it is the same with the one that changes nothing."""
    called = []
    compiler = torch.compile

    def compile_eagerly(network, **_):  # Fabric compiles once more what it has wrapped
        called.append(network)
        return compiler(network, backend="eager")

    monkeypatch.setattr(torch, "compile", compile_eagerly)
    plain, compiled = learnt(job_of, "plain"), learnt(job_of, "compiled", compile=True)
    assert called
    assert weights(plain).keys() == weights(compiled).keys()
    for name, tensor in weights(plain).items():
        torch.testing.assert_close(weights(compiled)[name], tensor, msg=name)


@pytest.mark.slow
def test_the_compiler_proper_learns_as_well(job_of):
    plain, compiled = learnt(job_of, "plain"), learnt(job_of, "compiled", compile=True)
    losses = [float(table(job)[0]["train_loss"]) for job in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


@needs_bfloat16
@pytest.mark.parametrize("settings", [{}, {"gradient_checkpointing": True}])
def test_bfloat16_on_a_cpu_learns_nearly_the_same(job_of, settings):
    plain, short = learnt(job_of, "plain"), learnt(job_of, "short", precision="bf16-mixed", **settings)
    assert float(table(short)[-1]["train_loss"]) == pytest.approx(float(table(plain)[-1]["train_loss"]), rel=0.1)
    assert {tensor.dtype for tensor in weights(short).values()} == {torch.float32, torch.int64}
    assert not same(weights(plain), weights(short))


def test_a_cpu_without_bfloat16_is_told_before_anything_is_trained(job_of, monkeypatch):
    monkeypatch.setattr(precision, "computes_bfloat16", lambda: False)
    with pytest.raises(UsageError, match="bfloat16 instructions"):
        learnt(job_of, "refused", precision="bf16-mixed")


@needs_bfloat16
def test_what_does_not_agree_on_a_cpu_is_refused(job_of):
    with pytest.raises(UsageError, match="other gradients"):
        learnt(job_of, "refused", precision="bf16-mixed", compile=True, gradient_checkpointing=True, device="cpu")
