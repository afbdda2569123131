"""Campaigns: structures × temperatures × seeds, planned, run side by side or on a cluster, resumed, watched, extended.

    from atomflow import campaign

    config = campaign.load("workflows/bulk/quickstart.yaml")
    print(campaign.plan(config).text())
    campaign.run(config, "runs/quickstart")
    print(campaign.status("runs/quickstart").text())
"""

from __future__ import annotations

from atomflow.campaign.config import CampaignConfig, load
from atomflow.campaign.control import cancel, retry
from atomflow.campaign.driver import run
from atomflow.campaign.extension import ExtensionResult, extend, extend_on_slurm
from atomflow.campaign.planning import Plan, plan
from atomflow.campaign.slurm import dry_run, submit
from atomflow.campaign.state import CampaignStatus, status

__all__ = ["CampaignConfig", "CampaignStatus", "ExtensionResult", "Plan", "cancel", "dry_run", "extend",
           "extend_on_slurm", "load", "plan", "retry", "run", "status", "submit"]
