"""What a start costs against `import torch`: CPU seconds of fresh processes with one thread, interleaved, medians.

    python scripts/bench/startup.py --repeats 5

Answers are whole commands against a whole `python -c "import torch"`. First steps are from the start of the process to
the end of the first optimizer step, without its exit, against the same of `import torch`. The first run of
`task=binary` on a machine, which joins the flights, is not among them.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TOLD = "import os, sys, time\n"
END = "print(time.process_time(), flush=True); os._exit(0)\n"
LOOP = """
import torch
from torch import nn
data = torch.utils.data.TensorDataset(torch.randn(512, 30), torch.rand(512).round())
model = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 1))
optimizer = torch.optim.AdamW(model.parameters())
for x, y in torch.utils.data.DataLoader(data, 256, shuffle=True):
    optimizer.zero_grad()
    nn.functional.binary_cross_entropy_with_logits(model(x)[:, 0], y).backward()
    optimizer.step()
    break
"""
TRAIN = """
from lit_mlfund.cli import main
from lit_mlfund.startup.fast_imports import importing
with importing():
    from lit_mlfund.modules import BinaryModule
batch_loss, seen = BinaryModule.batch_loss, []
def until_the_second(self, batch):
    if seen:
        os.write(2, b"%f" % time.process_time())
        os._exit(0)
    seen.append(batch)
    return batch_loss(self, batch)
BinaryModule.batch_loss = until_the_second
main({arguments!r})
"""
MLFUND = [sys.executable, "-m", "lit_mlfund"]
ANSWERS = {
    "mlfund --help": ["--help"],
    "mlfund list": ["list"],
    "a wrong group option (loss=nope)": ["train", "task=binary", "loss=nope"],
    "a wrong key (optim.lrr=3)": ["train", "task=binary", "optim.lrr=3"],
    "parts that do not fit (task=binary loss=mse)": ["train", "task=binary", "loss=mse"],
}


def whole(command: list[str], folder: str) -> float:
    """CPU seconds of a command from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def told(code: str, folder: str) -> float:
    """CPU seconds that a process says at its end."""
    done = subprocess.run([sys.executable, "-c", TOLD + code], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float((done.stdout if code.endswith(END) else done.stderr).split()[-1])


def table(times: dict[str, list[float]], reference: str) -> None:
    torch = statistics.median(times[reference])
    for name, seconds in times.items():
        one = statistics.median(seconds)
        print(f"{name:50} {one:6.2f} s  {one / torch:5.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "rows.csv"
        rows = [f"{number % 7},{number % 5},{int(number % 3 == 0)}" for number in range(600)]
        small.write_text("\n".join(["a,b,y", *rows]))
        own = ["train", "task=binary", "data=table", f"data.path={small}", "data.target=y"]
        commands = {"import torch": [sys.executable, "-c", "import torch"]}
        commands |= {name: [*MLFUND, *arguments] for name, arguments in ANSWERS.items()}
        steps = {
            "import torch": "import torch\n" + END,
            "five-line loop, first step": LOOP + END,
            "import lightning.pytorch": "import lightning.pytorch\n" + END,
            "mlfund train task=binary data=table, first step": TRAIN.format(arguments=own),
            "mlfund train task=binary, first step": TRAIN.format(arguments=["train", "task=binary"]),
        }
        told(steps["mlfund train task=binary, first step"], folder)  # the flights are joined once
        answered: dict[str, list[float]] = {name: [] for name in commands}
        reached: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(repeats):
            for name, command in commands.items():
                answered[name].append(whole(command, folder))
            for name, code in steps.items():
                reached[name].append(told(code, folder))
        print(f"medians of {repeats}")
        table(answered, "import torch")
        print()
        table(reached, "import torch")


if __name__ == "__main__":
    main()
