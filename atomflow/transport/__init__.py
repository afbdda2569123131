"""Transport: from trajectories to diffusivities, conductivity and activation energies, with intervals. No torch.

:func:`analyze` takes one run or several seeds of it; :func:`analyze_campaign` a folder of runs.
"""

from atomflow.transport.analyze import analyze
from atomflow.transport.campaign import analyze_campaign
from atomflow.transport.campaign_result import CampaignResult
from atomflow.transport.result import TransportResult

__all__ = ["CampaignResult", "TransportResult", "analyze", "analyze_campaign"]
