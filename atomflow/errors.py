"""What can go wrong, and the exit code each kind leaves with.

An :class:`AtomflowError` is written for the person at the keyboard: one line that says what is wrong, where, and how
to mend it. The command line prints that line and no traceback; a notebook sees an ordinary exception.
"""

import math
import os
from numbers import Real
from pathlib import Path

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_WRONG_INPUT = 2
EXIT_RESUME = 75


class AtomflowError(Exception):
    """Base of everything atomflow raises on purpose."""

    exit_code = EXIT_FAILED


class InputError(AtomflowError):
    """The input is wrong: a file, a value, a name. Nothing was computed."""

    exit_code = EXIT_WRONG_INPUT


class MissingPackageError(InputError):
    """An optional package is needed for this and is not installed."""


class RunStopped(AtomflowError):
    """The work stopped cleanly (signal, walltime) and can be resumed from its folder."""

    exit_code = EXIT_RESUME


class RunFailed(AtomflowError):
    """The simulation itself failed (explosion, NaN, full disk). What was computed is kept."""


def nearest(name: str, known: list[str] | tuple[str, ...] | set[str]) -> str:
    """``"; did you mean 'x'?"`` for the known name closest to ``name``, or an empty string."""
    from difflib import get_close_matches

    match = get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else ""


def said(value: object) -> str:
    """A value that a function was given and cannot use, in a few words: ``None``, ``'300 K'``, ``a dict``."""
    if value is None or isinstance(value, (str, int, float)):
        return repr(value)
    return f"{'an' if type(value).__name__[0] in 'AEIOU' else 'a'} {type(value).__name__}"


def path_of(value: object, what: str) -> Path:
    """The path that was given as ``what``.

    Raises:
        InputError: it is none.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise InputError(f"{what} must be a path, not {said(value)}")
    return Path(value)


def check_place(path: str | os.PathLike[str]) -> None:
    """Raise :class:`InputError` unless a file can be written under ``path``: its folder is there and lets us."""
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise InputError(f"the folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK):
        raise InputError(f"the folder {folder} cannot be written to (read-only, or not yours); give another place")


def check_positive(name: str, value: object) -> None:
    """Raise :class:`InputError` unless ``value``, given as ``name``, is a positive, finite number."""
    if not isinstance(value, Real) or not 0 < float(value) < math.inf:
        unit = "; leave the unit out, it is in the argument's name" if isinstance(value, str) else ""
        raise InputError(f"{name} must be a positive number, not {said(value)}{unit}")
