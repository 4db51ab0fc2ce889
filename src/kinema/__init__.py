"""kinema: labelled clips in, a video classifier out; a classifier in, answers about videos out.

    import kinema

    predictor = kinema.load("best.safetensors")
    print(predictor.predict("video.mp4"))

Every name below is loaded when first used, so that importing kinema costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinema.core.errors import KinemaError
    from kinema.core.labels import LabelMap
    from kinema.core.spec import ClipSpec, InputSpec
    from kinema.core.version import __version__
    from kinema.inference.predictor import Predictor, load
    from kinema.inference.result import Prediction
    from kinema.models.published import load_model
    from kinema.models.zoo import create_model, list_models
    from kinema.video.frame import Frames

__all__ = [
    "ClipSpec",
    "Frames",
    "InputSpec",
    "KinemaError",
    "LabelMap",
    "Prediction",
    "Predictor",
    "__version__",
    "create_model",
    "list_models",
    "load",
    "load_model",
]

_HOME = {
    "ClipSpec": "kinema.core.spec",
    "Frames": "kinema.video.frame",
    "InputSpec": "kinema.core.spec",
    "KinemaError": "kinema.core.errors",
    "LabelMap": "kinema.core.labels",
    "Prediction": "kinema.inference.result",
    "Predictor": "kinema.inference.predictor",
    "__version__": "kinema.core.version",
    "create_model": "kinema.models.zoo",
    "list_models": "kinema.models.zoo",
    "load": "kinema.inference.predictor",
    "load_model": "kinema.models.published",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'kinema' has no attribute '{name}'; it has: {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
