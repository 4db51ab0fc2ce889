"""The processes that train together, and what they must agree upon."""

from __future__ import annotations

from lightning_fabric import Fabric

from kinema.core.errors import UsageError
from kinema.inference.predictor import choose_device
from kinema.training.config import TrainConfig
from kinema.training.precision import arithmetic

__all__ = ["connect"]


def connect(config: TrainConfig) -> Fabric:
    """The processes that train together: this one alone, or `devices` of them, started here or by torchrun.

    Raises:
        UsageError: the device does not compute at the configured precision, or not together with what else is asked.
    """
    device = choose_device(config.device)
    if device.type == "cpu" and config.precision == "bf16-mixed" and config.compile and config.gradient_checkpointing:
        # The reason has not been found yet (docs/results/training-speed.md).
        raise UsageError(
            "bf16-mixed, compile and gradient_checkpointing at once on a CPU, which has given other gradients",
            allowed="any two of them",
            next_step="leave out compile, which gains little on a CPU",
        )
    strategy = "ddp" if config.devices > 1 else "auto"
    plugin = arithmetic(config.precision, device)
    fabric = Fabric(accelerator=device.type, devices=config.devices, strategy=strategy, plugins=plugin)
    fabric.launch()
    return fabric
