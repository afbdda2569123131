"""Order: radial distributions, coordination, bond lengths and angles, rings, X-ray patterns. No torch."""

from atomflow.order.frames import open_frames
from atomflow.order.glass import Acceptance, accept, accept_glass
from atomflow.order.measure import OrderResult, measure
from atomflow.order.separation import Separation

__all__ = ["Acceptance", "OrderResult", "Separation", "accept", "accept_glass", "measure", "open_frames"]
