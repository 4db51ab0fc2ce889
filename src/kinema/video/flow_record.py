"""`flow.json`: what stored flow is, beside it.

    schema       "kinema.flow"
    version      1
    recipe       {"algorithm", "library", "parameters" {name: value}, "bound_px", "fps", "short_side_px", "store"}
    fields       how many
    width_px     of each
    height_px    likewise
    source       {"name", "size_bytes", "sha256", "path"} of the video it was computed from

`fps` is text, an exact fraction such as "25" or "30000/1001". `short_side_px` is what frames were scaled to before
their flow was computed. `source.path` leads from the folder of `flow.json` to the video, in whose
company both may be moved. A byte b says (b - 128) / 127 * bound_px pixels.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from kinema.core.atomic import replacing
from kinema.core.errors import MediaError, UsageError
from kinema.core.spec import FlowSpec, InputSpec
from kinema.video.flow import Parameters

__all__ = [
    "FLOW_FILE",
    "VIDEO_STORE",
    "FlowRecipe",
    "FlowRecord",
    "FlowSource",
    "flow_doubts",
    "is_flow",
    "read_record",
    "source_of",
]

FLOW_FILE = "flow.json"
"""The name by which stored flow is found: that of its record, in a folder with what it speaks of."""

VIDEO_STORE = "flow.mkv"
"""The file that holds all fields where they are stored as a video: motion to the right is red, down is green."""

_SCHEMA = "kinema.flow"
_VERSION = 1


@dataclass(frozen=True)
class FlowRecipe:
    """All that the bytes of flow depend on besides the video.

    Attributes:
        algorithm: key of `flow.ALGORITHMS`.
        library: whose code computed it, with its version.
        parameters: settings of the algorithm.
        bound_px: motion that reaches the last byte; more is cut off.
        fps: frames a second, resampled by time, between which motion is measured.
        short_side_px: what frames are scaled to first; motion is in pixels of that size.
        store: `jpeg`, a pair of grey pictures a field; or `video`, one lossless video.
    """

    algorithm: str
    library: str
    parameters: Parameters
    bound_px: float = 20.0
    fps: Fraction = Fraction(25)
    short_side_px: int = 256
    store: str = "jpeg"

    def __post_init__(self) -> None:
        if not self.bound_px > 0:
            raise UsageError(f"flow bounded by {self.bound_px} pixels", allowed="above 0")
        if not self.fps > 0:
            raise UsageError(f"flow at {self.fps} frames a second", allowed="above 0")
        if self.store not in ("jpeg", "video"):
            raise UsageError(f"flow stored as {self.store}", allowed="jpeg or video")

    @property
    def spec(self) -> FlowSpec:
        """What a network that is trained on this flow says of it."""
        return FlowSpec(self.algorithm, str(self.fps), self.short_side_px, self.bound_px, dict(self.parameters))

    def to_json(self) -> dict[str, Any]:
        """Its form in `flow.json`, and in the provenance of weights."""
        return asdict(self) | {"parameters": dict(self.parameters), "fps": str(self.fps)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> FlowRecipe:
        """The recipe of that form."""
        return cls(**value | {"fps": Fraction(value["fps"])})


@dataclass(frozen=True)
class FlowSource:
    """The video that flow was computed from.

    Attributes:
        name: of the file or folder of frames, without the folders above.
        size_bytes: of the file, or of all files in the folder.
        sha256: of its content, in hexadecimal; of a folder, over the names and bytes of its files in order.
        path: where it is, from the folder of the flow on, with `/`; None where nobody said. No part of what it is.
    """

    name: str
    size_bytes: int
    sha256: str
    path: str | None = field(default=None, compare=False)

    @classmethod
    def of(cls, path: Path, *, seen_from: Path | None = None) -> FlowSource:
        """The fingerprint of a video file or of a folder of frames, and its place; reads all of it.

        Args:
            path: of the video.
            seen_from: the folder of its flow, where that is known.

        Raises:
            MediaError: it cannot be read.
        """
        digest, size_bytes = hashlib.sha256(), 0
        try:
            for file in sorted(path.iterdir()) if path.is_dir() else [path]:
                if file != path:
                    digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
                with file.open("rb") as opened:
                    while chunk := opened.read(1 << 20):
                        digest.update(chunk)
                        size_bytes += len(chunk)
        except OSError as error:
            raise MediaError(path, error.strerror or str(error)) from error
        place = None if seen_from is None else _way(seen_from, path)
        return cls(path.name, size_bytes, digest.hexdigest(), place)


@dataclass(frozen=True)
class FlowRecord:
    """One folder of stored flow.

    Attributes:
        recipe: how it was computed.
        fields: how many there are; one fewer than frames.
        width_px: of each.
        height_px: likewise.
        source: the video.
    """

    recipe: FlowRecipe
    fields: int
    width_px: int
    height_px: int
    source: FlowSource

    def to_json(self) -> dict[str, Any]:
        """The documented form (see the module)."""
        return {"schema": _SCHEMA, "version": _VERSION, **asdict(self), "recipe": self.recipe.to_json()}

    def write(self, folder: Path) -> None:
        """Write `flow.json` into `folder`, whole or not at all."""
        with replacing(folder / FLOW_FILE) as beside:
            beside.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")


def is_flow(path: Path | str) -> bool:
    """Whether `path` names the record of stored flow."""
    return Path(path).name == FLOW_FILE


def flow_doubts(recipe: FlowRecipe | None, expected: InputSpec) -> tuple[str, ...]:
    """What speaks against feeding flow of `recipe` to a network that expects `expected`; nothing where all is well."""
    if recipe is None or expected.flow is None:
        return ()
    if recipe.algorithm != expected.flow.algorithm:
        by = expected.flow.algorithm
        told = f"the flow is by {recipe.algorithm}, and the network was trained on {by}: expect it to do worse"
        return (f"{told}, or compute the flow with --algorithm {by}",)
    differing = recipe.spec.differences(expected.flow)
    if not differing:
        return ()
    told = ", ".join(f"{name} {here} and not {there}" for name, (here, there) in differing.items())
    return (f"the flow was computed otherwise than what the network was trained on: {told}; expect it to do worse",)


def source_of(path: Path | str) -> Path:
    """The video that the flow at `path`, a `flow.json`, was computed from; of a video, that path itself.

    Raises:
        MediaError: the record cannot be read, does not say where the video is, or it is not there any more.
    """
    if not is_flow(path):
        return Path(path)
    source = read_record(Path(path)).source
    if source.path is None:
        raise MediaError(
            path, f"does not say where {source.name} is", next_step="run kinema data flow again, which keeps the fields"
        )
    video = Path(os.path.normpath(Path(path).absolute().parent / source.path))
    size_bytes = _size_bytes(video)
    if size_bytes != source.size_bytes:
        told = "is not there" if size_bytes is None else f"has {size_bytes} bytes, and had {source.size_bytes}"
        raise MediaError(
            path, f"its video {video} {told}", next_step="put it back, or compute the flow again with kinema data flow"
        )
    return video


def read_record(path: Path) -> FlowRecord:
    """Read the `flow.json` at `path`.

    Raises:
        MediaError: it is not there, or not one of this version.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if (value["schema"], value["version"]) != (_SCHEMA, _VERSION):
            raise ValueError(f"schema {value['schema']}, version {value['version']}")  # noqa: TRY301  told below
        recipe = FlowRecipe.from_json(value["recipe"])
        fields, width_px, height_px = (int(value[name]) for name in ("fields", "width_px", "height_px"))
        return FlowRecord(recipe, fields, width_px, height_px, FlowSource(**value["source"]))
    except OSError as error:
        raise MediaError(path, error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError, UsageError) as error:
        raise MediaError(
            path,
            f"no record of flow: {error}",
            allowed=f"a {FLOW_FILE} of version {_VERSION}",
            next_step="compute the flow again with kinema data flow",
        ) from error


def _way(folder: Path, video: Path) -> str:
    """How to go from `folder` to `video`; where no way leads there, as to another drive, its full path."""
    try:
        return Path(os.path.relpath(video.absolute(), folder.absolute())).as_posix()
    except ValueError:
        return video.absolute().as_posix()


def _size_bytes(video: Path) -> int | None:
    try:
        return sum(file.stat().st_size for file in (video.iterdir() if video.is_dir() else [video]))
    except OSError:
        return None
