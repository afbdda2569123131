"""What may be wrong with the frames of a foreign file, each in one line that says which frame and what is good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from atomflow.errors import InputError
from atomflow.runs.formats import CutShort
from atomflow.runs.frames import Frame


def guarded(frames: Iterator[Frame], name: str, notes: list[str]) -> Iterator[Frame]:
    """The same frames; whatever goes wrong while reading one becomes a line that says how many are good.

    A file that ends inside a frame, as every running or killed program leaves it, ends with the frame before; that is
    put into ``notes``.
    """
    good = 0
    while True:
        try:
            frame = next(frames)
        except StopIteration:
            return
        except InputError as error:
            raise InputError(str(error) if name in str(error) else f"{name}, frame {good}: {error}") from None
        except (CutShort, EOFError) as error:
            if good == 0:
                raise InputError(f"{name}: frame 0 is cut short ({error}); no frame is good") from None
            notes.append(f"{name} ends inside a frame (its program was stopped or still runs, or a copy was cut): "
                         f"{good} frames are whole and used")
            return
        except Exception as error:
            text = str(error).strip().splitlines()
            reason = text[0] if text else type(error).__name__
            raise InputError(f"{name}: frame {good} cannot be read ({reason}); {_good(good)}") from None
        yield frame
        good += 1


def ends_with_newline(path: Path) -> bool:
    """Whether the last byte of a file ends a line."""
    with open(path, "rb") as handle:
        handle.seek(-1, 2)
        return handle.read(1) == b"\n"


def check(frame: Frame, first: Frame, index: int, name: str) -> None:
    """Raise :class:`InputError` where frame ``index`` holds other atoms than the first, or no numbers."""
    if len(frame.numbers) != len(first.numbers):
        raise InputError(f"{name}: frame {index} has {len(frame.numbers)} atoms, the frames before have "
                         f"{len(first.numbers)}; {_good(index)}")
    if not np.isfinite(frame.fractional).all() or not np.isfinite(frame.lattice_A).all():
        bad = np.flatnonzero(~np.isfinite(frame.fractional).all(axis=1))
        where = f"the position of atom {bad[0]}" if len(bad) else "the lattice"
        raise InputError(f"{name}: in frame {index} {where} is not a number; {_good(index)}")
    if frame.ids is not None and first.ids is not None and (frame.ids != first.ids).any():
        gone, new = np.setdiff1d(first.ids, frame.ids)[0], np.setdiff1d(frame.ids, first.ids)[0]
        raise InputError(f"{name}: frame {index} has other atom ids than the frames before (id {gone} is gone, id "
                         f"{new} is new): atoms were lost or renumbered and cannot be followed; {_good(index)}")
    changed = np.flatnonzero(frame.numbers != first.numbers)
    if len(changed):
        raise InputError(f"{name}: atom {changed[0]} of frame {index} is another element than before; atoms must stay "
                         f"in one order in all frames (LAMMPS: dump_modify sort id)")


def interval_fs(times: list[float | None], steps: list[int | None], given: float | None, name: str) -> float | None:
    """Time between frames: ``given``, else by the times of the frames; None where nobody says it.

    Raises:
        InputError: steps or times are not equally far apart, run backwards, or only some frames have a time.
    """
    apart = _apart(steps)
    if len(apart) and np.ptp(apart) > 1e-9 * abs(apart).max():
        raise InputError(f"{name}: the frames are not at equal intervals (steps apart by {apart.min():g} to "
                         f"{apart.max():g}); a frame is missing or doubled")
    gaps = _apart(times)
    known = [abs(time) for time in times if time is not None]
    # AMBER and LAMMPS keep times in single precision
    if len(gaps) and np.ptp(gaps) > 1e-3 * abs(gaps.mean()) + 2 * np.spacing(np.float32(max(known))):
        raise InputError(f"{name}: the frames are not at equal intervals ({gaps.min():g} to "
                         f"{gaps.max():g} fs apart); a frame is missing or doubled")
    if (len(gaps) and gaps.mean() < 0) or (len(apart) and apart.mean() < 0):
        raise InputError(f"{name}: time runs backwards from frame to frame; put the frames in order")
    if given is not None:
        return float(given)
    if len(gaps) and len(known) < len(times):
        raise InputError(f"{name}: {len(known)} of {len(times)} frames say their time; give --frame-interval-fs, or "
                         "write it in every frame")
    return float(gaps.mean()) if len(gaps) and gaps.mean() > 0 else None


def _apart(values: list[float | None] | list[int | None]) -> np.ndarray:
    """How far apart the known values of neighbouring frames are, per frame."""
    at = [index for index, value in enumerate(values) if value is not None]
    return np.diff([values[index] for index in at]) / np.diff(at)  # type: ignore[arg-type]


def _good(count: int) -> str:
    if count == 0:
        return "no frame is good"
    return "the frame before it is good" if count == 1 else f"the {count} frames before it are good"
