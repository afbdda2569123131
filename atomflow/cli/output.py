"""What every verb prints with: one JSON object on standard output, or words for people; progress on standard error."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any

from atomflow.plain import to_jsonable


def emit_json(value: Any) -> None:
    """Print one JSON object on standard output."""
    print(json.dumps(to_jsonable(value), indent=2, allow_nan=False))


def width() -> int:
    """Columns of the terminal; where there is none, those of a page."""
    return shutil.get_terminal_size((120, 24)).columns


def say(message: str = "") -> None:
    """A line for the person, on standard error (progress, warnings)."""
    print(message, file=sys.stderr, flush=True)


def show(message: str = "") -> None:
    """A line of the result, on standard output."""
    print(message)
