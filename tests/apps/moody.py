"""An application whose import fails while the file named by MOODY_FILE exists."""

from __future__ import annotations

import os
from pathlib import Path

from apps.probe import application

if Path(os.environ["MOODY_FILE"]).exists():
    raise RuntimeError("in a bad mood")

__all__ = ["application"]
