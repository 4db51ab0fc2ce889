"""The complete description of a training run: typed, flat and strict. What is written down can be repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from kinema.core.atomic import replacing
from kinema.core.spec import ClipSpec, Crop, InputSpec, Modality, Padding
from kinema.training.pixels import Pixels, statistics

__all__ = ["TrainConfig"]


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


class TrainConfig(BaseModel):
    """One run. Field descriptions are the documentation (`kinema train --help` and docs/how-to show them)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Annotated[str, BeforeValidator(_as_text)] = Field(
        description="folder of class folders, manifest, or packed data set (its folder, index.json or URL)"
    )
    data_sha256: str | None = Field(
        None, description="of the index.json of packed data: what a run was begun with; other shards are refused"
    )
    model: str = Field("resnet3d_18", description="a name of `kinema models list`")
    model_options: dict[str, bool | int | float | str] = Field(
        default_factory=dict, description="options of the network"
    )
    weights: Annotated[str | None, BeforeValidator(_as_text)] = Field(
        None, description="weights to start from: a file or a published name; the head is replaced if classes differ"
    )
    train_from: str | None = Field(
        None, description="stage from which the network is trained (`kinema models show`); all of it unless given"
    )
    frozen_batch_norm: Literal["hold", "move"] = Field(
        "hold",
        description="batch norms before the trained stages keep their statistics, or move on as those of 3D-ResNets do",
    )
    drop_path: float = Field(
        0.0, ge=0, lt=1, description="probability that a clip skips the last residual block; rises from 0 at the first"
    )

    frames: int = Field(16, ge=1, description="frames a clip")
    stride: int | None = Field(None, ge=1, description="source frames between two frames of a clip; 2 without fps")
    fps: float | None = Field(None, gt=0, description="frames a second of a clip, by time, instead of a stride")
    clip_padding: Padding = Field("loop", description="what a video shorter than a clip does: loop, last or none")
    modality: Modality = Field(
        "rgb",
        description="pictures, stored optical flow (`kinema data flow`), the two together for two-stream networks, or "
        "luma differences of neighbours",
    )
    size: int = Field(112, ge=16, description="side of the network input in pixels")
    short_side: int | None = Field(None, ge=16, description="side frames are shrunk to; 8/7 of `size` unless given")
    train_short_side: int | None = Field(
        None, ge=16, description="side frames are shrunk to before training crops are cut; `short_side` unless given"
    )
    region: Crop = Field("center", description="tested on the centre square, or the full frame squeezed")
    pixels: Pixels = Field(
        "kinetics",
        description="what pixels become without weights to start from: less the mean and by the deviation of Kinetics; "
        "0 to 255 less the mean of ActivityNet, as 3D-ResNets until 2018; or -1 to 1, as I3D",
    )

    crop: Literal["random-resized", "corner", "random", "center"] = Field(
        "random-resized",
        description="training crop: area and shape at random, a corner or the centre at one of `corner_scales`, any "
        "place at full scale, or the centre",
    )
    corner_scales: tuple[float, ...] = Field(
        (1.0, 2**-0.25, 2**-0.5, 2**-0.75, 0.5), min_length=1, description="of corner crops: shares of the short side"
    )
    crop_scale: tuple[float, float] = Field((0.25, 1.0), description="area of a random-resized crop, as a fraction")
    crop_ratio: tuple[float, float] = Field(
        (0.75, 4 / 3),
        description="width by height of a random-resized crop; with region full, in multiples of the frame's",
    )
    flip: float = Field(0.5, ge=0, le=1, description="probability of a mirrored clip")
    brightness: float = Field(0.0, ge=0, description="strength of brightness jitter")
    contrast: float = Field(0.0, ge=0, description="strength of contrast jitter")
    saturation: float = Field(0.0, ge=0, description="strength of saturation jitter")
    hue: float = Field(0.0, ge=0, le=0.5, description="strength of hue jitter")
    speed: float = Field(0.0, ge=0, le=1, description="a clip runs exp(u) times as fast, u in [-speed, speed]")
    rand_augment: int = Field(
        0, ge=0, le=8, description="operations of RandAugment drawn for a clip and held over its frames; 0 draws none"
    )
    rand_augment_magnitude: float = Field(9.0, ge=0, le=30, description="strength of these operations")
    mixup: float = Field(0.0, ge=0, description="Beta(a, a) of mixing pairs of clips; 0 mixes none")
    cutmix: float = Field(
        0.0,
        ge=0,
        description="Beta(a, a) of the box exchanged between pairs of clips; with mixup, a batch has one of both",
    )

    epochs: int = Field(30, ge=1, description="passes over the training clips")
    total_steps: int | None = Field(
        None, ge=1, description="optimizer steps of the run instead of epochs; milestones then count steps"
    )
    early_stopping: int = Field(
        0, ge=0, description="epochs without a better validation that end the run before its time; 0 never does"
    )
    batch_size: int = Field(16, ge=1, description="clips a step of the network and process")
    accumulate: int = Field(1, ge=1, description="micro-batches a step of the optimizer")
    optimizer: Literal["sgd", "adamw"] = Field("adamw", description="the optimizer")
    lr: float = Field(1e-3, gt=0, description="highest learning rate")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="a stage's rate as a share of the next stage's; the classifier has `lr`"
    )
    head_epochs: int = Field(0, ge=0, description="first epochs, in which `head_from` and what follows it train alone")
    head_from: str | None = Field(None, description="stage that the head begins with; the classifier unless given")
    backbone_lr: float = Field(1.0, gt=0, le=1, description="rate of the stages before the head, as a share of `lr`")
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the average weights that a step keeps; tested and saved are these; 0: none",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD")
    dampening: float = Field(0.0, ge=0, le=1, description="of SGD")
    nesterov: bool = Field(default=False, description="of SGD")
    weight_decay: float = Field(0.05, ge=0, description="on weights of two dimensions or more (AdamW), on all (SGD)")
    schedule: Literal["constant", "cosine", "multistep", "piecewise", "plateau"] = Field(
        "cosine", description="of the learning rate"
    )
    warmup: float = Field(0.0, ge=0, lt=1, description="share of the run in which the rate rises, from 1 % of `lr`")
    milestones: tuple[int, ...] = Field(
        (), description="epochs (steps with `total_steps`) after which `multistep` multiplies by `gamma`"
    )
    rates: tuple[float, ...] = Field(
        (), description="learning rates of `piecewise` from each milestone on; before: `lr`"
    )
    gamma: float = Field(0.1, gt=0, le=1, description="factor of `multistep` and `plateau`")
    patience: int = Field(10, ge=0, description="epochs without a lower validation loss that `plateau` bears")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="probability spread over all classes")
    class_weights: Literal["none", "balanced"] = Field("none", description="weigh the loss by inverse class frequency")
    balance: Literal["none", "dataset", "class"] = Field(
        "none", description="an epoch holds equally many clips of each merged data set, or of each class"
    )
    clip_grad_norm: float | None = Field(None, gt=0, description="largest gradient norm")

    split_by: Literal["auto", "column", "group", "random"] = Field("auto", description="who may not be parted")
    folds: int | None = Field(None, ge=2, description="cross-validate instead of one split")
    val_fraction: float = Field(0.15, ge=0, lt=1, description="share of the data that chooses the best epoch")
    test_fraction: float = Field(0.15, ge=0, lt=1, description="share that is touched once, at the end")
    allow_leak: bool = Field(default=False, description="permit splits that part a group; named in every report")
    skip_broken: bool = Field(default=False, description="leave out videos that do not decode; listed in the report")

    eval_hop: int | None = Field(None, ge=1, description="frames between test windows; half a clip unless given")
    seed: int = Field(0, ge=0, description="of splits, initialisation, order and augmentation")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where to train")
    devices: int = Field(1, ge=1, description="processes that share each step (DDP); batch_size is that of each")
    nodes: int = Field(1, ge=1, description="machines of `devices` processes each, started by torchrun")
    sync_batch_norm: bool = Field(
        default=False, description="batch norms count the clips of all processes, as one process would"
    )
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = Field(
        "32-true", description="arithmetic; bf16-mixed is about twice as fast on GPUs and CPUs that compute bfloat16"
    )
    fused: bool | None = Field(
        None, description="update all weights in one kernel; by itself wherever that can be done (not with 16-mixed)"
    )
    compile: bool = Field(
        default=False, description="compile the network with torch.compile: minutes at first, then faster on GPUs"
    )
    gradient_checkpointing: bool = Field(
        default=False, description="compute each stage twice instead of keeping it: less memory, same gradients"
    )
    workers: int = Field(0, ge=0, description="processes that read clips")
    save_seconds: float = Field(60.0, ge=0, description="longest time between two resumable states")
    track: tuple[Literal["wandb", "mlflow"], ...] = Field(
        (), description="where the curves go besides TensorBoard: wandb, mlflow"
    )

    @model_validator(mode="after")
    def _consistent(self) -> TrainConfig:
        refused = [text for text, wrong in self._contradictions() if wrong]
        if refused:
            raise ValueError("; ".join(refused))
        return self

    def _contradictions(self) -> list[tuple[str, bool]]:
        spaced_twice = self.fps is not None and self.stride is not None
        return [
            ("fps and stride both say how frames are spaced: give one", spaced_twice),
            ("folds hold out each clip once, so split_by 'column' has no say", self._column_and_folds),
            ("milestones without schedule 'multistep' or 'piecewise'", bool(self.milestones) and not self._stepped),
            (f"schedule '{self.schedule}' without milestones", self._stepped and not self.milestones),
            ("milestones rise from one to the next", list(self.milestones) != sorted({*self.milestones})),
            ("schedule 'piecewise' has a rate for each milestone", len(self.rates) != self._pieces),
            ("rates are above 0", min(self.rates, default=1.0) <= 0),
            (f"pixels '{self.pixels}' are of pictures, not of modality '{self.modality}'", self._pixels_unseen),
            ("schedule 'plateau' watches the validation loss: give a val_fraction", self._plateau_blind),
            ("early_stopping watches the validation: give a val_fraction, and no folds", self._stopping_blind),
            ("drop_path and the network's option stochastic_depth say the same: give one", self._skipped_twice),
            ("head_epochs leave no epoch for the rest", self.total_steps is None and self.head_epochs >= self.epochs),
            ("layer_decay and backbone_lr both lower the rate of earlier stages: give one", self._lowered_twice),
            ("head_from without head_epochs or backbone_lr", bool(self.head_from) and not self._has_head),
            ("val_fraction and test_fraction leave nothing to train on", self.val_fraction + self.test_fraction >= 1),
            ("nesterov needs momentum and no dampening", self.nesterov and (self.momentum == 0 or self.dampening > 0)),
            ("class_weights 'balanced' and balance 'class' both even out the classes: give one", self._evened_twice),
            ("flow has no colours to jitter: leave brightness, contrast, saturation and hue at 0", self._coloured_flow),
            (
                "RandAugment turns frames and their colours, which flow has not: leave rand_augment at 0",
                self._turned_flow,
            ),
            ("16-mixed scales gradients in a step of its own, which fused has not: leave out one", self._fused_scaling),
            ("train_short_side below size", (self.train_short_side or self.size) < self.size),
            ("short_side below size", self.short_side is not None and self.short_side < self.size),
            ("corner_scales are above 0 and at most 1", not all(0 < scale <= 1 for scale in self.corner_scales)),
            ("crop_ratio is a rising pair above 0", not 0 < self.crop_ratio[0] <= self.crop_ratio[1]),
            ("crop_scale is a rising pair in (0, 1]", not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1),
        ]

    @property
    def _column_and_folds(self) -> bool:
        return self.folds is not None and self.split_by == "column"

    @property
    def _evened_twice(self) -> bool:
        return self.class_weights == "balanced" and self.balance == "class"

    @property
    def _coloured_flow(self) -> bool:
        return "flow" in self.modality and max(self.brightness, self.contrast, self.saturation, self.hue) > 0

    @property
    def _turned_flow(self) -> bool:
        return "flow" in self.modality and self.rand_augment > 0

    @property
    def _pixels_unseen(self) -> bool:
        # Flow is -1 to 1 in any case, which `symmetric` says of it, too.
        seen = {"flow": ("kinetics", "symmetric"), "difference": ("kinetics",)}
        return self.pixels not in seen.get(self.modality, (self.pixels,))

    @property
    def _fused_scaling(self) -> bool:
        return self.fused is True and self.precision == "16-mixed"

    @property
    def _stepped(self) -> bool:
        return self.schedule in ("multistep", "piecewise")

    @property
    def _pieces(self) -> int:
        return len(self.milestones) if self.schedule == "piecewise" else 0

    @property
    def _plateau_blind(self) -> bool:
        return self.schedule == "plateau" and (self.val_fraction == 0 or self.folds is not None)

    @property
    def _stopping_blind(self) -> bool:
        return self.early_stopping > 0 and (self.val_fraction == 0 or self.folds is not None)

    @property
    def _skipped_twice(self) -> bool:
        return self.drop_path > 0 and "stochastic_depth" in self.model_options

    @property
    def _lowered_twice(self) -> bool:
        return self.layer_decay < 1 and self.backbone_lr < 1

    @property
    def _has_head(self) -> bool:
        return self.head_epochs > 0 or self.backbone_lr < 1

    @property
    def input_spec(self) -> InputSpec:
        """What the network is fed, as it will travel with the weights."""
        fed = statistics(self.pixels, self.modality)
        stride = self.stride or (2 if self.fps is None else 1)
        clip = ClipSpec(self.frames, stride, self.fps, self.clip_padding)
        short_side = self.short_side or round(self.size * 8 / 7)
        return InputSpec(clip, self.modality, self.size, short_side, self.region, fed.mean, fed.std, fed.value_range)

    def write(self, path: Path) -> None:
        """All fields as YAML, enough to repeat the run."""
        text = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        with replacing(path) as beside:
            beside.write_text(text, encoding="utf-8")
