"""A table from its cache on the disk against the same table in memory: rows a second, and the time of training.

python scripts/bench/table_cache.py                        # 1,000,000 rows of 40 columns, one CPU thread
python scripts/bench/table_cache.py --rows 10000000 --batch 1024
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import nn

from lit_mlfund.data import BatchLoader
from lit_mlfund.datamodules import TableDataModule


def write_table(path: Path, rows: int) -> None:
    """30 numbers, 10 categories and a target of two classes."""
    rng = np.random.default_rng(0)
    size = min(rows, 100_000)
    part = pl.DataFrame(
        {f"x{n}": rng.normal(size=size) for n in range(30)}
        | {f"c{n}": [f"v{code}" for code in rng.integers(0, 50, size)] for n in range(10)}
        | {"y": rng.integers(0, 2, size)}
    )
    pl.concat([part] * (rows // size), rechunk=False).write_parquet(path, row_group_size=25_000)


def feed(loader: BatchLoader) -> float:
    """Rows a second of CPU time of one epoch that does nothing."""
    start = time.process_time()
    rows = sum(len(batch) for batch in loader)
    return rows / (time.process_time() - start)


def steps(loader: BatchLoader, width: int) -> Iterator[None]:
    """The steps of a small network, a hand loop."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer, loss_of = torch.optim.AdamW(model.parameters()), nn.BCEWithLogitsLoss()
    for batch in loader:
        loss = loss_of(model(torch.cat([values.float() for values in batch.x.values()], 1))[:, 0], batch.y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield


def train(loaders: list[BatchLoader], most: int) -> list[float]:
    """CPU seconds of each training, ten steps of one and ten of the other: the machine is never the same for long."""
    running, seconds, todo = [steps(loader, 40) for loader in loaders], [0.0] * len(loaders), most
    while todo > 0:
        for place in (0, 1) if todo // 10 % 2 else (1, 0):
            start = time.process_time()
            done = len(list(islice(running[place], 10)))
            seconds[place] += time.process_time() - start
            todo = todo if done == 10 else 0
        todo -= 10
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--steps", type=int, default=1200, help="of training, at most")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.parquet"
        write_table(path, arguments.rows)
        loaders = {}
        for name, cache in (("cache", folder), ("memory", None)):
            start = time.process_time()
            data = TableDataModule(
                batch_size=256, seed=0, task="binary", path=str(path), target="y", cache=cache
            )
            data.setup()
            print(f"{name}: made in {time.process_time() - start:.1f} s of CPU time")
            loaders[name] = data.train_dataloader()
        for size in arguments.batch:
            fed, trained = [], []
            for loader in loaders.values():
                loader.batch_size = size
            for _ in range(arguments.repeats):
                fed.append([feed(loader) for loader in loaders.values()])
                trained.append(train(list(loaders.values()), arguments.steps))
            cache, memory = (statistics.median(rate[n] for rate in fed) / 1e6 for n in (0, 1))
            ratio = statistics.median(pair[0] / pair[1] for pair in trained)
            print(
                f"batch {size}: {cache:.1f} million rows/s from the cache, {memory:.1f} from memory; "
                f"training {ratio:.2f} of the time in memory (median of {arguments.repeats}, interleaved)"
            )


if __name__ == "__main__":
    main()
