"""The whole road in a few minutes, on clips that kinema renders itself.

Renders a data set whose two classes differ only in how a figure moves, trains on some scenes, tests
on others, asks the same network about frozen frames (it must not know), finds the abnormal
intervals in a minute of video, and writes one report.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from kinema.core.errors import UsageError
from kinema.core.progress import Progress, Silent
from kinema.datasets.cache import FrameCache
from kinema.datasets.manifest import read_manifest
from kinema.datasets.synthetic import Episode, render_dataset, render_untrimmed
from kinema.evaluation.examine import Examination, examine_samples, report_of
from kinema.evaluation.figures import Stretch, Timeline
from kinema.evaluation.metrics import mean_interval_iou
from kinema.evaluation.protocol import Views
from kinema.evaluation.report import Fact, Thumbnail, write_report
from kinema.inference.events import EventRule
from kinema.inference.predictor import Predictor, load
from kinema.inference.result import Prediction
from kinema.training.config import TrainConfig
from kinema.training.experiment import Outcome, train
from kinema.training.recipe import make_config

__all__ = ["DemoResult", "run"]

_ABNORMAL = "selfharm"
_PARTS = ("data", "run", "untrimmed", "report.html")
_MARKER = ".kinema-demo"  # the first file that a demo writes: only beside it anything is removed
_SCENES = 96  # of which 60 train: rooms and people must vary more than clips
_RULE = EventRule(enter=0.6, leave=0.4, min_duration_seconds=1.0, merge_gap_seconds=1.0)
_HOP_FRAMES = 4


@dataclass(frozen=True)
class DemoResult:
    """What the demo measured.

    Attributes:
        video_accuracy: share of held-out videos, of unseen scenes, that are right.
        static_accuracy: the same with each window replaced by one of its frames, repeated.
        mean_temporal_iou: of the intervals found in the untrimmed video against the true ones, each
            matched to one at most; a missed or a false interval counts as 0.
        seconds: wall time of everything.
        report: the page to open.
    """

    video_accuracy: float
    static_accuracy: float
    mean_temporal_iou: float
    seconds: float
    report: Path

    def to_json(self) -> dict[str, Any]:
        """The keys that `kinema demo --json` promises."""
        return {**asdict(self), "report": str(self.report)}


def run(out: Path, *, seed: int = 0, progress: Progress | None = None) -> DemoResult:
    """Render, train, test, search, report.

    Args:
        out: folder for everything; what an earlier demo left there is replaced.
        seed: of data and training.
        progress: where bars and lines go.

    Raises:
        UsageError: the folder holds something that no demo made.
    """
    began = time.perf_counter()
    shown = progress or Silent()
    _clear(out)
    manifest = render_dataset(out / "data", scenes=_SCENES, clips_per_scene=4, seed=seed, progress=shown)
    outcome = train(_config(manifest, seed), out / "run", progress=shown)
    if outcome.test is None:
        raise AssertionError("the rendered data set names test scenes")
    predictor = load(outcome.weights[0])
    frozen = _frozen(predictor, outcome.test, shown)
    video = out / "untrimmed" / "minute.mp4"
    episodes = render_untrimmed(video, seconds=60, seed=seed, progress=shown)
    found = predictor.predict(video, hop_frames=_HOP_FRAMES, rule=_RULE, progress=shown)
    iou = mean_interval_iou([event for event in found.events if event.label == _ABNORMAL], episodes)
    result = DemoResult(
        video_accuracy=outcome.test.video.accuracy.value,
        static_accuracy=frozen.video.accuracy.value,
        mean_temporal_iou=iou,
        seconds=time.perf_counter() - began,
        report=out / "report.html",
    )
    _report(result, outcome, predictor, found, episodes, manifest)
    return result


def _clear(out: Path) -> None:
    """Make the folder of a demo, or empty that of an earlier one; refuse a folder that holds anything else."""
    marker = out / _MARKER
    made = (_MARKER, *_PARTS) if marker.is_file() and not marker.is_symlink() else ()
    strangers = [entry.name for entry in out.iterdir() if entry.name not in made] if out.is_dir() else []
    if strangers or (not out.is_dir() and (out.exists() or out.is_symlink())):
        raise UsageError(
            f"{out} holds {', '.join(sorted(strangers)[:3]) or 'no folder'}, which no demo made",
            allowed=f"a new or empty folder, or one of an earlier demo, known by its {_MARKER}",
            next_step="choose another --out",
        )
    for name in _PARTS:
        part = out / name
        if part.is_dir() and not part.is_symlink():  # what a link leads to is not the demo's
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    marker.write_text("The folder of a demo: the next one replaces what is here.\n", encoding="utf-8")


def _config(manifest: Path, seed: int) -> TrainConfig:
    """A network small enough for two processor cores and a few minutes."""
    return make_config(
        {
            "data": manifest,
            "model": "resnet3d_10",
            "model_options": {"widen_factor": 0.25, "conv1_t_size": 3, "dropout": 0.3},
            "modality": "difference",
            "frames": 16,
            "stride": 1,
            "size": 64,
            "short_side": 64,
            "region": "full",
            "crop_scale": (0.6, 1.0),
            "crop_ratio": (1.0, 1.0),
            "brightness": 0.3,
            "contrast": 0.3,
            "speed": 0.15,
            "mixup": 0.2,
            "label_smoothing": 0.1,
            "epochs": 30,
            "batch_size": 16,
            "lr": 3e-3,
            "weight_decay": 0.01,
            "warmup": 0.1,
            "seed": seed,
        }
    )


def _frozen(predictor: Predictor, test: Examination, progress: Progress) -> Examination:
    """The same videos with nothing moving."""
    views = Views(still=True)
    return examine_samples(
        predictor,
        [video.sample for video in test.scored],
        cache=FrameCache(predictor.card.input.short_side_px),
        views=views,
        split=test.split,
        protocol=test.protocol,
        root=test.root,
        progress=progress,
    )


def _report(
    result: DemoResult,
    outcome: Outcome,
    predictor: Predictor,
    found: Prediction,
    episodes: Sequence[Episode],
    manifest: Path,
) -> None:
    if outcome.test is None:
        raise AssertionError("the rendered data set names test scenes")
    true = [Stretch(episode.start_seconds, episode.end_seconds, _ABNORMAL) for episode in episodes]
    facts = (
        Fact(
            "held-out video accuracy on frozen frames",
            f"{result.static_accuracy:.3f}: differences of a frozen frame are zero, so a guess is all that is left",
        ),
        Fact("mean temporal IoU of the intervals", f"{result.mean_temporal_iou:.3f}"),
        Fact("seconds from nothing to here", f"{result.seconds:.0f}"),
    )
    report = report_of(
        "kinema demo: self-harm told from ordinary movement",
        outcome.test,
        predictor.card,
        runs=outcome.courses,
        timelines=(Timeline.of(found, true=true, rule=_RULE, iou=result.mean_temporal_iou),),
        thumbnails=_thumbnails(manifest),
        facts=facts,
    )
    write_report(result.report, report)


def _thumbnails(manifest: Path) -> tuple[Thumbnail, ...]:
    """The middle frame of one test clip of each class of two scenes."""
    samples = [sample for sample in read_manifest(manifest).samples if sample.split == "test"]
    chosen = {(sample.group, sample.label): sample for sample in samples}
    cache = FrameCache(96)
    pictures = []
    for (group, label), sample in sorted(chosen.items())[:4]:
        video = cache.open(sample.path)
        frame = video.read([len(video.pts) // 2]).data[0]
        memory = BytesIO()
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(memory, format="PNG")
        pictures.append(Thumbnail(memory.getvalue(), f"{label}, {group}"))
    return tuple(pictures)
