"""A SLURM of one node, started by the tests themselves: no systemd, no munge, no database. Needs root and the daemons
(Debian: ``apt-get install slurm-wlm``)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
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
SlurmdTimeout=15
PartitionName=short Nodes=ALL Default=YES MaxTime=UNLIMITED State=UP
"""


class Slurm:
    """The daemons; the node can be lost and brought back."""

    def __init__(self) -> None:
        self._host = socket.gethostname().split(".")[0]
        self._controller = _start("slurmctld", "-D")
        self.start_node()

    def start_node(self) -> None:
        self._node = _start("slurmd", "-D", "-N", self._host)

    def kill_slurmd(self) -> None:
        """The node's daemon alone, as by ``kill -9``: its jobs go on."""
        self._node.kill()
        self._node.wait()

    def lose_node(self) -> None:
        """The daemon and all that runs under it, at once: as if the power had gone."""
        jobs = _descendants([int(pid) for pid in _output("pgrep", "-x", "slurmstepd").split()
                             if self._conf_of(int(pid)) == os.environ["SLURM_CONF"]])
        self.kill_slurmd()
        for pid in jobs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @staticmethod
    def _conf_of(pid: int) -> str | None:
        try:
            words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return None
        return next((word[11:].decode() for word in words if word.startswith(b"SLURM_CONF=")), None)

    def end(self) -> None:
        _output("scancel", "--me")
        for daemon in (self._node, self._controller):
            daemon.terminate()
            daemon.wait(30)


def _start(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _descendants(pids: list[int]) -> list[int]:
    """The processes and everything they have started, deepest last."""
    found, queue = [], list(pids)
    while queue:
        found.append(queue.pop())
        queue += [int(pid) for pid in _output("pgrep", "-P", str(found[-1])).split()]
    return found


@contextlib.contextmanager
def running(place: Path):
    """A :class:`Slurm` while the block lasts; SLURM_CONF points at it."""
    for name in ("state", "spool"):
        (place / name).mkdir(parents=True)
    (place / "slurm.conf").write_text(_settings(place))
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(place / "slurm.conf")
    slurm = Slurm()
    try:
        deadline = time.monotonic() + 120
        while "idle" not in _output("sinfo", "-h"):
            assert time.monotonic() < deadline, (place / "slurmctld.log").read_text()
            time.sleep(0.2)
        yield slurm
    finally:
        slurm.end()
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before
