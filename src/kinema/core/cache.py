"""Where kinema keeps what it can make or fetch again: decoded frames, published weights."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """`$KINEMA_CACHE`, else `$XDG_CACHE_HOME/kinema`, else `~/.cache/kinema`; may not exist yet."""
    chosen = os.environ.get("KINEMA_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kinema"
