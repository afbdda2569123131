"""Order: radial distributions, coordination, bond lengths and angles, rings, X-ray patterns. No torch."""

from atomflow.order.glass import Acceptance, accept, accept_glass
from atomflow.order.measure import OrderResult, measure

__all__ = ["Acceptance", "OrderResult", "accept", "accept_glass", "measure"]
