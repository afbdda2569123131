"""Figures fit for a paper: single column, units on axes, error bars, colours that colour-blind readers tell apart."""

from atomflow.report.figures.style import Figure

__all__ = ["Figure"]
