"""Small runs of every kind, that end in about a second where everything is imported already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

ALL = ("references=false", "logger=files", "trainer.max_epochs=3", "data.batch_size=32")
TABLE = ("task=binary", "data=table", "data.path=../table.csv", "data.target=y", *ALL)
CASES: dict[str, tuple[str, ...]] = {
    "lean": (*TABLE, "model.dropout=0.2"),
    "plain": (*TABLE, "trainer.gradient_clip_algorithm=value", "model.dropout=0.2"),
    "accumulated": (*TABLE, "trainer.accumulate_grad_batches=3", "schedule=reduce_on_plateau"),
    "cached": (*TABLE, "data.cache=cache"),
    "averaged": (*TABLE, "regularization=ema"),
    "stopped": (*TABLE, "trainer.max_epochs=6", "callbacks.early_stopping.patience=1", "optim.lr=0.1"),
    "retrieval": (
        "task=retrieval", "data=interactions", "data.path=../interactions.csv", "data.user=user", "data.item=item",
        "data.time=time", *ALL,
    ),
    "text": ("task=binary", "data=text", "data.path=../texts.csv", "data.text=text", "data.target=y", *ALL),
    "reported": (*TABLE, "logger=tensorboard", "references=true"),
}  # fmt: skip

SWEEP = (*TABLE, "model=mlp", "schedule=constant", "optim.lr=1e-3,1e-2", "seed=0,1", "trainer.max_epochs=2")
SWEEPS: dict[str, tuple[str, ...]] = {
    "grid": ("-m", *SWEEP),
    "stack": ("-m", "sweep=stacked", *SWEEP),
    "search": (
        "sweep=search", "sweep.space={optim.lr: {low: 1e-4, high: 1e-1, log: true}}", "sweep.trials=4",
        "sweep.startup=1", *TABLE, "model=mlp", "schedule=constant", "trainer.max_epochs=2",
    ),
}  # fmt: skip


def write_inputs(folder: Path) -> None:
    """Write the files that the cases read; not with polars, whose threads no fork would have."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 400)
    numbers = {f"x{column}": y * column / 4 + generator.normal(size=400) for column in range(4)}
    color = generator.choice(["red", "green", "blue"], 400)
    _write(folder / "table.csv", {**numbers, "color": color, "y": y})
    words = np.array(["good", "fine", "bad", "poor", "film", "book", "the", "a"])
    texts = [
        " ".join([*generator.choice(words[:2] if label else words[2:4], 1), *generator.choice(words, 5)])
        for label in y
    ]
    _write(folder / "texts.csv", {"text": texts, "y": y})
    user = np.repeat(np.arange(40), 12)
    item = 2 * generator.integers(0, 10, len(user)) + user % 2
    time = generator.permutation(len(user))
    users, items = [f"u{u}" for u in user], [f"i{i}" for i in item]
    _write(folder / "interactions.csv", {"user": users, "item": items, "time": time})


def _write(file: Path, columns: dict[str, Any]) -> None:
    rows = zip(*columns.values())
    file.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n")
