"""A campaign's numbers held against the publication's, with a verdict in words."""

from atomflow.compare.comparison import Comparison, Row, compare

__all__ = ["Comparison", "Row", "compare"]
