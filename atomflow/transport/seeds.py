"""Whether pooled seeds agree: D of each one alone, against what its own interval allows.

The interval of a run knows what its ions did while it lasted. What they remember for longer (an order of Na that
changes in nanoseconds, a framework that has turned once) is the same all through one run and another in the next, and
only several seeds show it. Their ln D are compared by χ² about the weighted mean, and where they scatter more than they
should, the error of that mean is scaled by √(χ²/ν), the Birge ratio, as the Particle Data Group does; D of all gets
no narrower an interval. (Ions that differ widen it too, and ions of unlike seeds differ: what is widened already is
not widened again.) Student's t is not used, though
few seeds would ask for it: with two seeds it is 6.5 times the normal, and one pair in twenty disagrees by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomflow.transport.arrhenius import LACK_OF_FIT_P, lack_of_fit
from atomflow.transport.diffusion import tracer
from atomflow.transport.modes import Modes


@dataclass(frozen=True)
class Agreement:
    """How far seeds agree.

    Attributes:
        diffusivities_cm2_per_s: of each seed alone, in the fit window of all.
        chi2, dof, p_value: of their logarithms about the mean; a p_value of 1 for a single seed.
        ln_error: of the mean of their ln D, scaled; D of all is not known any better.
    """

    diffusivities_cm2_per_s: tuple[float, ...]
    chi2: float
    dof: int
    p_value: float
    ln_error: float

    def text(self) -> str:
        """For people: every D, and whether they scatter more than they should."""
        each = ", ".join(f"{value:.2g}" for value in self.diffusivities_cm2_per_s)
        return f"{each} (χ² {self.chi2:.3g} for {self.dof} degrees of freedom, p = {self.p_value:.2g})"

    @property
    def warning(self) -> str | None:
        """One line where they disagree beyond chance."""
        if self.p_value >= LACK_OF_FIT_P:
            return None
        return (f"the seeds disagree beyond their errors: D in cm²/s {self.text()}; the interval was widened for it. "
                "Something is remembered for longer than a run lasts: it takes more seeds, or longer ones")


def agreement(steps: Modes, together: float) -> Agreement:
    """Compare the runs that ``steps`` are of; ``together`` as in :func:`atomflow.transport.diffusion.tracer`."""
    parts = zip(steps.ions, steps.collective, steps.shapes, strict=True)
    alone = [tracer(Modes(steps.step_ps, steps.step_frames, [y], [c], [g]), together) for y, c, g in parts]
    moments = np.array([fit.log_moments() for fit in alone])
    weights = moments[:, 1] ** -2.0
    centre = float(np.average(moments[:, 0], weights=weights))
    chi2 = float(weights @ (moments[:, 0] - centre) ** 2)
    p_value, scale, _ = lack_of_fit(chi2, len(alone) - 1)
    values = tuple(float(np.exp(mean)) for mean in moments[:, 0])
    return Agreement(values, chi2, len(alone) - 1, p_value, scale * float(weights.sum()) ** -0.5)
