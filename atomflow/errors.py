"""What can go wrong, and the exit code each kind leaves with.

An :class:`AtomflowError` is written for the person at the keyboard: one line that says what is wrong, where, and how
to mend it. The command line prints that line and no traceback; a notebook sees an ordinary exception.
"""

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
