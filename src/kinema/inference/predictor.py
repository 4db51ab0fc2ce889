"""Predictor: a network with its card, and what it says about clips and whole videos.

Needs the weights file and nothing else. Evaluation scores through the same object, so a figure in a
report and an answer on the command line come off one road.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from kinema.clips.clip import Clip, stream_clips
from kinema.core.errors import MediaError, UsageError
from kinema.core.progress import Progress, Silent
from kinema.core.spec import ClipSpec
from kinema.inference.aggregate import video_probabilities
from kinema.inference.events import EventRule, events_in
from kinema.inference.result import Prediction, Window
from kinema.models.model import VideoModel
from kinema.models.published import weights_path
from kinema.models.weights import ModelCard, fresh_notes, load_weights
from kinema.transforms.presets import EvalTransform
from kinema.video.fed import doubts_of, open_fed
from kinema.video.frame import Frames

__all__ = ["Predictor", "choose_device", "load"]

_BATCH_CLIPS = 8

# One file at a time is read here: one thread decodes while the other converts.
_READING_THREADS = 2


class Predictor:
    """Answers about videos.

    Args:
        model: the bare network; it is put into evaluation mode when it scores.
        card: its labels and input specification.
        device: `cpu`, `cuda`, `cuda:1`, `mps`, or `auto` for the fastest there is.
        raft_weights: torchvision's weights of RAFT, where the network is fed with flow by it that is not stored.
    """

    def __init__(
        self, model: VideoModel, card: ModelCard, *, device: str = "auto", raft_weights: Path | None = None
    ) -> None:
        self.device = choose_device(device)
        self.raft_weights = raft_weights
        self.model = model.to(self.device)
        self.card = card
        self._transform = EvalTransform(card.input)
        self._taken = {card.input.clip.frames}

    @torch.inference_mode()
    def score(self, clips: Sequence[torch.Tensor]) -> torch.Tensor:
        """Class probabilities (N, K), float32 on the CPU, of N clips.

        Args:
            clips: N tensors uint8 (T, C, h, w), whole frames at the card's short side; N at least 1.
        """
        self.model.eval()
        cropped = torch.stack([self._transform.clip(clip) for clip in clips])
        logits = self.model(self._transform.batch(cropped.to(self.device)))
        return torch.softmax(logits.float(), dim=1).cpu()

    @torch.inference_mode()
    def require_window(self, frames: int | None) -> ClipSpec:
        """What a window of `frames` frames is, which the network is tried with; None for one of the card's.

        Raises:
            UsageError: no clip has so few frames, or the network cannot take so many.
        """
        known = self.card.input
        if frames is None:
            return known.clip
        asked = replace(known, clip=replace(known.clip, frames=frames))
        if frames not in self._taken:
            self.model.eval()
            shape = (1, asked.channels, asked.time_steps, asked.size_px, asked.size_px)
            try:
                self.model(torch.zeros(shape, device=self.device))
            except RuntimeError as error:
                raise UsageError(
                    f"windows of {frames} frames for {self.card.architecture}: {str(error).splitlines()[0]}",
                    allowed=f"windows that the network can take, such as the {known.clip.frames} frames of its weights",
                    next_step="ask for longer windows, or for those of the weights",
                ) from error
            self._taken.add(frames)
        return asked.clip

    def predict(
        self,
        source: str | Path,
        *,
        window_frames: int | None = None,
        hop_frames: int | None = None,
        rule: EventRule | None = None,
        progress: Progress | None = None,
    ) -> Prediction:
        """What happens in a video, watched through sliding windows from its first frame to its last.

        A file that is damaged is judged by what decodes; the damage is named in `warnings`. Where the network is
        fed with optical flow it is computed while the video is read, as the card's input says.

        Args:
            source: path of a video file, of a folder of frames or of the `flow.json` of stored flow, or URL
                of a stream that ends.
            window_frames: frames a window on the clip grid; those of the card unless given.
            hop_frames: frames from window to window on the clip grid; half a window unless given.
            rule: when scores become events; `EventRule()` unless given.
            progress: where a bar is drawn.

        Raises:
            MediaError: nothing of the source can be read.
            UsageError: a hop longer than a window or below 1, or a window that the network cannot take; or flow
                that cannot be computed here.
        """
        spec = self.require_window(window_frames)
        hop = max(1, spec.frames // 2) if hop_frames is None else hop_frames
        windows: list[Window] = []
        threads = min(_READING_THREADS, os.cpu_count() or 1)
        with open_fed(str(source), self.card.input, raft_weights=self.raft_weights, threads=threads) as video:
            reading = _Tolerant(video.frames(), str(source), progress or Silent())
            for batch in _batches(stream_clips(reading, spec, hop)):
                windows += self._windows(batch)
            doubts = doubts_of(video, self.card.input)
        return Prediction(
            source=str(source),
            duration_seconds=windows[-1].end_seconds,
            labels=self.card.labels,
            probabilities=video_probabilities(windows),
            windows=tuple(windows),
            events=events_in(windows, self.card.labels, rule or EventRule()),
            warnings=(*fresh_notes(self.card), *doubts, *reading.warnings),
        )

    def _windows(self, batch: list[Clip]) -> list[Window]:
        scores = self.score([clip.data for clip in batch])
        return [
            Window(clip.start_seconds, clip.end_seconds, tuple(row.tolist()))
            for clip, row in zip(batch, scores, strict=True)
        ]

    def __repr__(self) -> str:
        return f"Predictor({self.card.architecture}, {self.card.labels}, on {self.device})"


def load(
    given: str | Path, *, device: str = "auto", raft_weights: Path | None = None, progress: Progress | None = None
) -> Predictor:
    """The predictor of a kinema weights file, or of published weights.

    Args:
        given: path of a weights file, or a name of `kinema models list --weights`.
        device: as for `Predictor`, as is the next one.
        raft_weights: see there.
        progress: where a download draws its bar.

    Raises:
        WeightsError: the file is not one, or is damaged; or published weights cannot be fetched.
        UsageError: neither a path nor a known name, or no such device.
    """
    weights = load_weights(weights_path(given, progress=progress))
    return Predictor(weights.model, weights.card, device=device, raft_weights=raft_weights)


def choose_device(name: str) -> torch.device:
    """The device called `name`; `auto` takes a CUDA GPU, else Apple's, else the CPU.

    Raises:
        UsageError: a device that this machine or this build of torch does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device).cpu()  # fails on devices that hold no numbers, too
    except (RuntimeError, AssertionError, ImportError) as error:
        raise UsageError(
            f"no device '{name}' here: {str(error).splitlines()[0]}", allowed="auto, cpu, or a GPU that torch can see"
        ) from error
    return device


class _Tolerant:
    """Passes frames on; once some came, an error ends the video with a warning and is no longer raised."""

    def __init__(self, chunks: Iterable[Frames], source: str, progress: Progress) -> None:
        self._chunks = chunks
        self._source = source
        self._progress = progress
        self.warnings: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Frames]:
        seen = 0
        with self._progress.task(self._source, None, "frames") as task:
            try:
                for frames in self._chunks:
                    seen += len(frames)
                    yield frames
                    task.advance(len(frames))
            except MediaError as error:
                if seen == 0:
                    raise
                self.warnings = (f"{error.reason}; judged by the {seen} frames that decode",)


def _batches(clips: Iterator[Clip]) -> Iterator[list[Clip]]:
    while batch := list(islice(clips, _BATCH_CLIPS)):
        yield batch
