"""How the time of a training step grows with the rows of embedding tables.

The step is that of `mlfund train model=dlrm callbacks=none` (norms of weights are looked at in one step of 200, which
here would be one of few). Each column is the ratio to the fewest rows, the median over interleaved runs on one
thread. Codes are uniform: as scattered as lookups can be.

python scripts/bench/embedding_tables.py
python scripts/bench/embedding_tables.py --embedding sparse torchrec --rows 10000 10000000 --columns 4
python scripts/bench/embedding_tables.py --embedding sparse --overrides regularization=ema
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from loop import make_config, silence
from loop_cases import BINARY, Case, CaseData, numeric, points
from loop_contestants import Clock
from torch import Tensor

from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.runs.assembly.objects import build_module, build_trainer, quiet_lightning

BATCH = 1024


def make_case(
    embedding: str, rows: int, columns: int, steps: int, more: list[str], batch_size: int = BATCH
) -> Case:
    def tensors(size: int) -> tuple[Tensor, ...]:
        return torch.randn(size, 13), torch.randint(rows, (size, columns)), torch.randint(2, (size,)).float()

    names = tuple(f"c{column}" for column in range(columns))
    fields = numeric(13) | {"categorical": Field("categorical", (columns,), names, (rows,) * columns)}
    overrides = [*BINARY, "model=dlrm", f"embedding={embedding}", "callbacks=none", *more]
    spec = DataSpec("binary", fields, classes=("no", "yes"))
    return Case(2.0, overrides, spec, batch_size, steps, tensors, *points("numeric", "categorical"))


def seconds_per_step(case: Case, device: str) -> float:
    """Of the second epoch: in the first step of the first one, states are made."""
    config = make_config(case, device)
    config.trainer.max_epochs = 2
    clock, data = Clock(device), CaseData(case, case.steps)
    data.setup()
    with tempfile.TemporaryDirectory() as folder:
        module = build_module(config, case.spec)
        trainer = build_trainer(config, Path(folder)).trainer
        module.use_lean_steps(trainer)
        module.on_train_epoch_start = lambda: clock.start() if trainer.current_epoch else None
        module.on_train_epoch_end = lambda: clock.stop() if trainer.current_epoch else None
        trainer.fit(module, datamodule=data)
    return clock.seconds / case.steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--embedding", nargs="+", default=["dense", "sparse"], help="options of the group")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument("--columns", type=int, default=1, help="tables; a dense one of 1e7 rows takes 2.6 GB")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--overrides", nargs="+", default=[], help="of the runs, such as regularization=ema")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    quiet_lightning()
    device = torch.cuda.get_device_name() if args.device == "cuda" else "CPU, 1 thread"
    print(
        f"{device}; torch {torch.__version__}; {args.columns} tables, batch {BATCH}, {args.repeats} repeats"
    )
    print(f"{'embedding':12}{args.rows[0]:>12,} rows" + "".join(f"{rows:>14,}" for rows in args.rows[1:]))
    for embedding in args.embedding:
        taken: list[list[float]] = []
        for _ in range(args.repeats):
            round_: list[float] = []
            for rows in args.rows:
                # enough steps to time; a dense step over many rows takes a second
                steps = max(args.steps * 100_000 // rows, 3) if embedding == "dense" else args.steps
                with silence():
                    case = make_case(embedding, rows, args.columns, min(steps, args.steps), args.overrides)
                    round_.append(seconds_per_step(case, args.device))
                gc.collect()  # modules and trainers refer to each other, and the next tables want the memory
            taken.append(round_)
        first = 1000 * statistics.median(times[0] for times in taken)
        ratios = [statistics.median(times[k] / times[0] for times in taken) for k in range(1, len(args.rows))]
        print(f"{embedding:12}{first:>14.2f} ms" + "".join(f"{ratio:>14.2f}" for ratio in ratios), flush=True)


if __name__ == "__main__":
    main()
