"""Transport: from trajectories to diffusivities, conductivity and activation energies, with intervals. No torch.

:func:`analyze` takes one run or several seeds of it; :func:`analyze_campaign` a folder of runs;
:func:`fit_arrhenius` makes a line of results at several temperatures, wherever they come from.
"""

from atomflow.transport.analyze import analyze
from atomflow.transport.campaign import analyze_campaign, fit_arrhenius
from atomflow.transport.campaign_result import CampaignResult
from atomflow.transport.result import TransportResult

__all__ = ["CampaignResult", "TransportResult", "analyze", "analyze_campaign", "fit_arrhenius"]
