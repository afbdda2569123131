"""Campaigns: structures × temperatures × seeds, planned, run side by side, resumed, watched.

    from atomflow import campaign

    config = campaign.load("workflows/bulk/quickstart.yaml")
    print(campaign.plan(config).text())
    campaign.run(config, "runs/quickstart")
    print(campaign.status("runs/quickstart").text())
"""

from __future__ import annotations

from atomflow.campaign.config import CampaignConfig, load
from atomflow.campaign.driver import run
from atomflow.campaign.planning import Plan, plan
from atomflow.campaign.state import CampaignStatus, status

__all__ = ["CampaignConfig", "CampaignStatus", "Plan", "load", "plan", "run", "status"]
