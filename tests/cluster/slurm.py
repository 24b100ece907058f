"""A real Slurm of two nodes on this machine, with accounting: its daemons in a folder and on ports of their own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "slurmdbd", "mariadbd", "mariadb-install-db")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def missing() -> list[str]:
    """Return what is not installed, or `root`, which the daemons need."""
    return [
        *(name for name in NEEDED if shutil.which(name, path=PATH) is None),
        *(["root"] if os.getuid() else []),
    ]


class Slurm:
    """Runs the daemons, and the client commands against them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.log = folder / "log"
        self.environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start everything, and return when both nodes take jobs."""
        for name in ("log", "state", "spool", "munge", "db"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        ports = dict(zip(("controller", "n1", "n2", "accounting", "database"), free_ports(5)))
        self._write_configuration(ports)
        self._start_munge()
        self._start_database(ports["database"])
        self._start("slurmdbd", "-D", environment={"SLURM_CONF": str(self.folder / "slurmdbd.conf")})
        wait_for("slurmdbd", lambda: is_open(ports["accounting"]))
        self._start("slurmctld", "-D", "-c", "-f", self.environment["SLURM_CONF"])
        wait_for("slurmctld", lambda: is_open(ports["controller"]))
        for node in ("n1", "n2"):
            self._start("slurmd", "-D", "-N", node, "-f", self.environment["SLURM_CONF"], name=node)
        wait_for("the nodes", lambda: self("sinfo", "-h", "-o", "%T %D") == "idle 2")

    def _write_configuration(self, ports: dict[str, int]) -> None:
        host, f = socket.gethostname().split(".")[0], self.folder
        accounting = f"""\
            AuthType=auth/munge
            AuthInfo=socket={f}/munge/socket
            DbdHost={host}
            DbdAddr=127.0.0.1
            DbdPort={ports["accounting"]}
            SlurmUser=root
            LogFile={f}/log/slurmdbd
            PidFile={f}/state/slurmdbd.pid
            StorageType=accounting_storage/mysql
            StorageHost=127.0.0.1
            StoragePort={ports["database"]}
            StorageUser=root
            StorageLoc=slurm_accounting
            """
        # cred_expire: a requeued job would wait for two minutes else
        slurm = f"""\
            ClusterName=one
            SlurmctldHost={host}(127.0.0.1)
            SlurmctldPort={ports["controller"]}
            AuthType=auth/munge
            AuthInfo=socket={f}/munge/socket,cred_expire=5
            SlurmUser=root
            StateSaveLocation={f}/state
            SlurmdSpoolDir={f}/spool/%n
            SlurmctldPidFile={f}/state/slurmctld.pid
            SlurmdPidFile={f}/state/slurmd.%n.pid
            SlurmctldLogFile={f}/log/slurmctld
            SlurmdLogFile={f}/log/slurmd.%n
            ProctrackType=proctrack/linuxproc
            TaskPlugin=task/none
            SelectType=select/cons_tres
            SelectTypeParameters=CR_Core
            SlurmdParameters=config_overrides
            SchedulerParameters=batch_sched_delay=1,sched_interval=2,sched_min_interval=500000
            KillWait=20
            MinJobAge=600
            JobAcctGatherType=jobacct_gather/linux
            AccountingStorageType=accounting_storage/slurmdbd
            AccountingStorageHost=127.0.0.1
            AccountingStoragePort={ports["accounting"]}
            AccountingStoragePass={f}/munge/socket
            JobCompType=jobcomp/none
            ReturnToService=2
            NodeName=DEFAULT CPUs=4 CoresPerSocket=4 RealMemory=10000
            NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports["n1"]}
            NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports["n2"]}
            PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
            """
        for name, text in (("slurmdbd.conf", accounting), ("slurm.conf", slurm)):
            (f / name).write_text(textwrap.dedent(text))
            (f / name).chmod(0o600 if name == "slurmdbd.conf" else 0o644)

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        (folder / "key").write_bytes(os.urandom(1024))
        (folder / "key").chmod(0o400)
        shutil.chown(folder, "munge")
        shutil.chown(folder / "key", "munge")
        folder.chmod(0o755)
        options = {
            "socket": "socket",
            "key-file": "key",
            "pid-file": "pid",
            "log-file": "log",
            "seed-file": "seed",
        }
        self._start(
            "munged", "-F", "--force", *(f"--{option}={folder / name}" for option, name in options.items()),
            user="munge",
        )  # fmt: skip
        wait_for("munged", (folder / "socket").exists)

    def _start_database(self, port: int) -> None:
        folder = self.folder / "db"
        shutil.chown(folder, "mysql", "mysql")
        install = (
            "mariadb-install-db",
            "--no-defaults",
            "--user=mysql",
            f"--datadir={folder}",
            "--skip-test-db",
        )
        subprocess.run(
            [*install, "--auth-root-authentication-method=normal"],
            env=self.environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._start(
            "mariadbd", "--no-defaults", f"--datadir={folder}", f"--socket={folder}/socket", f"--port={port}",
            "--bind-address=127.0.0.1", "--user=mysql", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0",
        )  # fmt: skip
        wait_for("mariadbd", lambda: is_open(port))

    def _start(
        self,
        command: str,
        *arguments: str,
        name: str = "",
        user: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        with open(self.log / f"{name or command}.out", "wb") as out:
            self._daemons.append(
                subprocess.Popen(
                    [str(shutil.which(command, path=PATH)), *arguments],
                    env=self.environment | (environment or {}),
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                    user=user,
                )
            )

    def __call__(self, *command: str, check: bool = True) -> str:
        """Run a client command and return what it says."""
        told = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)
        assert told.returncode == 0 or not check, f"{command}: {told.stderr}"
        return told.stdout.strip()

    def stop(self) -> None:
        """Cancel all jobs and end the daemons, clients of others first."""
        subprocess.run(["scancel", "--user=root"], env=self.environment, capture_output=True, timeout=60)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and self("squeue", "-h", check=False):
            time.sleep(0.3)
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


@contextmanager
def running() -> Iterator[Slurm]:
    """Run a Slurm in a block; its folder is one that daemons of other users may enter."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        slurm = Slurm(Path(folder))
        try:
            slurm.start()
            yield slurm
        finally:
            slurm.stop()


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_for(what: str, is_there: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_there():
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:.0f} s"
        time.sleep(0.1)
