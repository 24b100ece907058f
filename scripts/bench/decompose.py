"""Measures what replicas of a 30-64-1 network cost when they are stacked, against one after the other.

    python scripts/bench/decompose.py                 # K = 30 replicas, CPU seconds, interleaved

Prints the ratio, and the largest difference of their predictions on the test rows.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import polars as pl
from omegaconf import OmegaConf

from lit_mlfund.config.compose import Composer
from lit_mlfund.runs.assembly.data_reuse import load_data
from lit_mlfund.runs.assembly.objects import quiet_lightning
from lit_mlfund.sweeps.decompose import replicas

NUM_FEATURES = 30
CASES = {  # rows of the file, and what is set beside the network
    "parts of 313 rows, batches of 32": (10_000, ["data.batch_size=32", "trainer.max_epochs=20"]),
    "parts of 3,133 rows, batches of 256": (100_000, ["data.batch_size=256", "trainer.max_epochs=10"]),
}


def made_table(folder: str, num_rows: int) -> str:
    """A table of 30 features and a target that they tell; 6 % of the rows are not for training."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((num_rows, NUM_FEATURES))
    y = np.sin(x[:, 0]) + x[:, 1] * x[:, 2] + 0.3 * generator.standard_normal(num_rows)
    path = Path(folder) / f"{num_rows}.parquet"
    pl.DataFrame({**{f"x{number}": x[:, number] for number in range(NUM_FEATURES)}, "y": y}).write_parquet(
        path
    )
    return str(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replicas", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    quiet_lightning()
    for name, (num_rows, options) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            compare(name, made_table(folder, num_rows), options, given.replicas, given.repeats)


def compare(name: str, path: str, options: list[str], num_replicas: int, repeats: int) -> None:
    """Train the same replicas both ways and print their times and how far they are apart."""
    lines = ["task=regression", "data=table", f"data.path={path}", "data.target=y", "model=mlp"]
    lines += ["model.hidden=[64]", "model.dropout=0", "data.val_fraction=0.03", "data.test_fraction=0.03"]
    lines += ["callbacks=none", *options]
    composer = Composer(None, lines)
    config = composer.checked(lines).config
    with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
        data = load_data(OmegaConf.create(config))
    seconds: dict[str, list[float]] = {"stacked": [], "alone": []}
    outputs = {}
    for _ in range(repeats):
        for how, reasons in (("stacked", replicas.unstackable), ("alone", lambda configs: ["asked for"])):
            before, replicas.unstackable = replicas.unstackable, reasons
            began = time.process_time()
            with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
                trained = replicas.train_replicas(config, data, num_replicas, 1, None)
            seconds[how].append(time.process_time() - began)
            replicas.unstackable = before
            assert (how == "alone") == bool(trained.unstacked), trained.unstacked
            outputs[how] = np.stack([part.output.numpy() for part in trained.outputs])
    stacked, alone = (statistics.median(seconds[how]) for how in ("stacked", "alone"))
    apart = float(np.abs(outputs["stacked"] - outputs["alone"]).max())
    print(
        f"{name}: {num_replicas} replicas one after the other {alone:.2f} s, stacked {stacked:.2f} s: "
        f"{alone / stacked:.1f} times; predictions differ by at most {apart:.1e}",
        flush=True,
    )


if __name__ == "__main__":
    main()
