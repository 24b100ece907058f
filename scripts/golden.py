"""Hold a refactoring against the version before it: small runs of every task whose numbers must be equal to the bit.

    python scripts/golden.py record /tmp/before      # in the version as it was
    python scripts/golden.py record /tmp/after       # in the version as it is
    python scripts/golden.py compare /tmp/before /tmp/after

Both recordings have to be made on one machine: the last bits of a matrix product depend on the processor. What is
compared of a run: the tensors of both checkpoints, `result.json`, `metrics.json`, `findings.json` and the
predictions. Times, paths and random names of folders are left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import pydoc_data.topics
import subprocess
import sys
from pathlib import Path
from typing import Any

ALL = ["seed=3", "logger=files", "name=golden"]
CASES: dict[str, list[str]] = {
    "binary": ["task=binary", "data=breast_cancer", "trainer.max_epochs=3"],
    "multiclass": ["task=multiclass", "trainer.max_epochs=2", "regularization=[mixup,ema]"],
    "regression": ["task=regression", "data=diabetes", "loss=huber", "optim=sgd", "optim.lr=0.01"],
    "ranking": ["task=ranking", "trainer.max_epochs=1", "trainer.limit_train_batches=20"],
    "retrieval": ["task=retrieval", "trainer.max_epochs=1", "trainer.limit_train_batches=10"],
    "text": ["task=binary", "data=text", "data.path=texts.csv", "data.text=text", "data.target=long"],
    "text_lm": ["task=multiclass", "data=text_lm", "data.path=book.txt", "trainer.max_epochs=1"],
    "plain_loop": [
        "task=binary",
        "data=breast_cancer",
        "trainer.accumulate_grad_batches=2",
        "trainer.max_epochs=2",
    ],
    "plateau": ["task=regression", "data=diabetes", "schedule=reduce_on_plateau", "trainer.max_epochs=4"],
}
LEFT_OUT = {"run", "seconds", "checkpoint", "output", "path"}


def record(folder: Path) -> None:
    """Train every case into `folder`, and evaluate and predict with the table and the text."""
    folder.mkdir(parents=True)
    topics = sorted(pydoc_data.topics.topics.items())
    rows = [f'"{text[:400].replace(chr(34), " ")}",{int(len(text) > 3000)}' for _, text in topics]
    (folder / "texts.csv").write_text("\n".join(["text,long", *rows]) + "\n")
    (folder / "book.txt").write_text("".join(text for _, text in topics)[:60_000])
    for name, overrides in CASES.items():
        result = json.loads(run(folder, "train", *overrides, *ALL, f"runs_dir={folder / 'runs'}"))
        (folder / f"{name}.run").write_text(result["run"])
        print(name, result["objective"], flush=True)
        if name == "text":
            evaluated = run(folder, "evaluate", f"run={result['run']}", "data.path=texts.csv")
            (folder / "evaluated.json").write_text(evaluated)
            run(folder, "predict", f"run={result['run']}", "data.path=texts.csv", "output=predicted.parquet")


def run(folder: Path, *arguments: str) -> str:
    """The last line that `mlfund` prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "lit_mlfund", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    return done.stdout.splitlines()[-1]


def digest(folder: Path) -> dict[str, Any]:
    """Everything of a recording that must not change: name -> hash of tensors and tables, or plain JSON."""
    import polars as pl
    import torch

    found: dict[str, Any] = {"evaluated": without_times(json.loads((folder / "evaluated.json").read_text()))}
    found["predicted"] = pl.read_parquet(folder / "predicted.parquet").to_dicts()
    for case in CASES:
        run_dir = Path((folder / f"{case}.run").read_text())
        for checkpoint in ("best", "last"):
            state = torch.load(run_dir / "checkpoints" / f"{checkpoint}.ckpt", weights_only=True)
            for name, tensor in state["state_dict"].items():
                bits = hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
                found[f"{case}/{checkpoint}/{name}"] = bits
        for file in ("result.json", "metrics.json", "findings.json"):
            found[f"{case}/{file}"] = without_times(json.loads((run_dir / file).read_text()))
        for table in sorted((run_dir / "predictions").glob("*.parquet")):
            found[f"{case}/{table.name}"] = pl.read_parquet(table).to_dicts()
    return found


def without_times(value: Any) -> Any:
    """JSON without what differs from run to run."""
    if isinstance(value, dict):
        return {key: without_times(part) for key, part in value.items() if key not in LEFT_OUT}
    return [without_times(part) for part in value] if isinstance(value, list) else value


def compare(before: Path, after: Path) -> int:
    """Print what differs; the exit code."""
    old, new = digest(before), digest(after)
    different = [name for name in old if str(old[name]) != str(new.get(name))]
    different += [name for name in new if name not in old]
    for name in different:
        print(f"differs: {name}")
    print(f"{len(old) - len(different)} of {len(old)} equal")
    return 1 if different else 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["record", folder]:
            record(Path(folder).absolute())
        case ["compare", before, after]:
            sys.exit(compare(Path(before), Path(after)))
        case _:
            sys.exit(__doc__)
