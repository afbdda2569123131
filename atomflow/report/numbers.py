"""How the report writes numbers: value, interval and power of ten, in one hand."""

from __future__ import annotations

import math
from typing import Any

from atomflow.estimate import Estimate
from atomflow.report.html import Html, tag

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
NOTHING = "—"
#: An interval whose ends are farther apart than this factor has a power of ten at each number.
_WIDE = 300.0


def estimate_of(data: Any) -> Estimate:
    """The estimate in a result's JSON; unknown when it is missing."""
    if not isinstance(data, dict) or "value" not in data:
        return Estimate.unknown()
    return Estimate(data["value"], data.get("low"), data.get("high"), data.get("level") or 0.95)


def significant(value: float, digits: int = 3) -> str:
    """``value`` to so many significant digits, never in exponent form."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(decimals, 12)}f}"


def scientific(value: float, digits: int = 2) -> str:
    """``1.2 × 10⁻⁵``; plain between 0.01 and 10,000."""
    exponent = _exponent(value)
    if exponent is None:
        return significant(value, digits)
    return f"{value / 10.0**exponent:.{digits - 1}f} × 10{str(exponent).translate(_SUPERSCRIPT)}"


def _exponent(value: float) -> int | None:
    if value == 0 or not math.isfinite(value) or 1e-2 <= abs(value) < 1e4:
        return None
    return math.floor(math.log10(abs(value)))


def interval(data: Any, digits: int = 2, plain: bool = False) -> str:
    """``1.2 [0.8, 1.9] × 10⁻⁵``, ``< 3 × 10⁻⁷`` for an upper limit, a dash when nothing can be said.

    Ends that lie many powers of ten apart are written each with its own.

    ``plain`` writes no power of ten and two decimals at least: for energies and ratios.
    """
    estimate = data if isinstance(data, Estimate) else estimate_of(data)
    if estimate.value is None:
        return NOTHING if estimate.high is None else f"< {scientific(estimate.high, digits)}"
    if estimate.low is None or estimate.high is None:
        return f"{scientific(estimate.value, digits)} (no interval)"
    if not plain and estimate.low > 0 and estimate.high > _WIDE * estimate.low:
        return f"{scientific(estimate.value, digits)} [{scientific(estimate.low, digits)}, " \
               f"{scientific(estimate.high, digits)}]"
    exponent = None if plain else _exponent(estimate.value)
    factor = 1.0 if exponent is None else 10.0**exponent
    power = "" if exponent is None else f" × 10{str(exponent).translate(_SUPERSCRIPT)}"
    value, low, high = (number / factor for number in (estimate.value, estimate.low, estimate.high))
    decimals = max(2, _width_decimals(value, low, high)) if plain else _decimals(value, low, high, digits)
    return f"{value:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]{power}"


def _decimals(value: float, low: float, high: float, digits: int) -> int:
    """As many decimals as show ``digits`` digits of the value and both ends of the interval apart from it."""
    scale = max(abs(value), 1e-12)
    decimals = digits - 1 - math.floor(math.log10(scale))
    return min(max(decimals, 0, _width_decimals(value, low, high)), 6)


def _width_decimals(value: float, low: float, high: float) -> int:
    """Decimals that show the shorter side of the interval to one digit."""
    width = min((abs(end - value) for end in (low, high) if end != value), default=0.0)
    return min(max(0, -math.floor(math.log10(width))), 6) if width > 0 else 0


def interval_cell(data: Any, digits: int = 2, plain: bool = False) -> Html:
    """A table cell with the estimate in words and, in full precision, in its ``data-`` attributes."""
    estimate = estimate_of(data)
    title = None
    if estimate.is_upper_limit:
        title = "upper limit: nothing was seen to diffuse"
    elif estimate.value is not None:
        title = f"value [{100 * estimate.level:.0f} % interval]"
    attributes = {"data_value": estimate.value, "data_low": estimate.low, "data_high": estimate.high}
    return tag("td", interval(estimate, digits, plain), class_="number", title=title, **attributes)


def number_cell(value: Any, pattern: str = "{:.3g}") -> Html:
    """A right-aligned table cell; a dash for ``None``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return tag("td", NOTHING if value is None else value, class_="number")
    return tag("td", pattern.format(value), class_="number")
