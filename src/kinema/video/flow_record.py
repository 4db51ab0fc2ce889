"""`flow.json`: what stored flow is, beside it.

    schema       "kinema.flow"
    version      1
    recipe       {"algorithm", "library", "parameters" {name: value}, "bound_px", "fps", "short_side_px", "store"}
    fields       how many
    width_px     of each
    height_px    likewise
    source       {"name", "size_bytes", "sha256"} of the video it was computed from

`fps` is text, an exact fraction such as "25" or "30000/1001". `short_side_px` is what frames were scaled to before
their flow was computed. A byte b says (b - 128) / 127 * bound_px pixels.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from kinema.core.errors import MediaError, UsageError
from kinema.core.spec import InputSpec
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
    """

    name: str
    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FlowSource:
        """The fingerprint of a video file or of a folder of frames; reads all of it.

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
        return cls(path.name, size_bytes, digest.hexdigest())


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
        """Write `flow.json` into `folder`, which is renamed when complete, and so needs no atomic file."""
        (folder / FLOW_FILE).write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")


def is_flow(path: Path | str) -> bool:
    """Whether `path` names the record of stored flow."""
    return Path(path).name == FLOW_FILE


def flow_doubts(recipe: FlowRecipe | None, expected: InputSpec) -> tuple[str, ...]:
    """What speaks against feeding flow of `recipe` to a network that expects `expected`; nothing where all is well."""
    if recipe is None or expected.flow in {None, recipe.algorithm}:
        return ()
    told = f"the flow is by {recipe.algorithm}, and the network was trained on {expected.flow}: expect it to do worse"
    return (f"{told}, or compute the flow with --algorithm {expected.flow}",)


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
