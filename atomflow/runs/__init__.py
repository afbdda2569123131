"""The run folder: what a simulation leaves on disk and what analysis reads. No torch in here.

Write with :class:`RunWriter`, read with :func:`open_run`; :func:`open_trajectory` reads run folders and the
trajectories of other programs alike.
"""

from atomflow.runs.lock import holder
from atomflow.runs.opening import open_trajectory
from atomflow.runs.reader import Run, open_run
from atomflow.runs.result import RunResult
from atomflow.runs.trajectory import Trajectory
from atomflow.runs.writer import RunWriter

__all__ = ["Run", "RunResult", "RunWriter", "Trajectory", "holder", "open_run", "open_trajectory"]
