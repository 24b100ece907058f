"""Runs torchrun, and ends with the exit code of the process that failed first, which a controller can act on.

    python torchrun_exit.py --nnodes=2 --nproc-per-node=4 --rdzv-backend=c10d --rdzv-endpoint=HOST:29400 \
        --rdzv-id=JOB --max-restarts=3 -m lit_mlfund train trainer=ddp trainer.num_nodes=2 trainer.devices=4 …

torchrun itself ends with 1 whatever has happened. Without the shared store a new agent finds the address of rank 0.
"""

from __future__ import annotations

import os
import sys

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError


def main(arguments: list[str]) -> int:
    """Return the exit code of the first process that failed, 128 + N for signal N, 0 if none failed."""
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    try:
        run.main(arguments)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode >= 0 else 128 - failure.exitcode
    except SignalException as stopped:
        return 128 + int(stopped.sigval)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
