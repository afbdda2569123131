"""A SLURM of one node, started by the tests themselves: no systemd, no munge, no database. Needs root and the daemons
(Debian: ``apt-get install slurm-wlm``)."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

DAEMONS = ("slurmctld", "slurmd")


def missing() -> str | None:
    """Why SLURM cannot be started here, or None."""
    absent = [name for name in (*DAEMONS, "sbatch", "squeue") if shutil.which(name) is None]
    if absent:
        return f"{absent[0]} is not installed"
    return None if os.geteuid() == 0 else "slurmd needs root"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


def _settings(place: Path) -> str:
    host, (controller, node) = socket.gethostname().split(".")[0], _free_ports(2)
    return f"""ClusterName=atomflow
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerParameters=sched_interval=1,bf_interval=1
ReturnToService=2
KillWait=20
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=short Nodes=ALL Default=YES MaxTime=60 State=UP
"""


@contextlib.contextmanager
def running(place: Path):
    """SLURM while the block lasts; SLURM_CONF points at it."""
    for name in ("state", "spool"):
        (place / name).mkdir(parents=True)
    (place / "slurm.conf").write_text(_settings(place))
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(place / "slurm.conf")
    host = socket.gethostname().split(".")[0]
    daemons = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
               for command in (["slurmctld", "-D"], ["slurmd", "-D", "-N", host])]
    try:
        deadline = time.monotonic() + 60
        while "idle" not in subprocess.run(["sinfo", "-h"], capture_output=True, text=True, check=False).stdout:
            assert time.monotonic() < deadline, (place / "slurmctld.log").read_text()
            time.sleep(0.2)
        yield
    finally:
        subprocess.run(["scancel", "--me"], capture_output=True, check=False)
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before
