"""What Lightning does with the compiler and with metrics where their import was put off: the same as ever."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

START = """
import sys
from lit_mlfund.startup.fast_imports import importing
with importing():
    import lightning.pytorch as pl
import torch
"""
TRAINING = """
import logging, warnings
warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
    def training_step(self, batch, index):
        return self.layer(batch[0]).sum()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

def fit(module):
    trainer = pl.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                         enable_model_summary=False, accelerator="cpu")
    data = torch.utils.data.TensorDataset(torch.arange(6.0).reshape(6, 1))
    trainer.fit(module, torch.utils.data.DataLoader(data, 2))
    return trainer
"""
METRICS = """
import torchmetrics
from torchmetrics.classification import BinaryAccuracy

class Measured(Module):
    def __init__(self):
        super().__init__()
        self.mean = torchmetrics.MeanMetric()
        ends = {"low": torchmetrics.MinMetric(), "high": torchmetrics.MaxMetric()}
        self.several = torchmetrics.MetricCollection(ends)
    def training_step(self, batch, index):
        self.mean.update(batch[0])
        self.several.update(batch[0])
        self.log("mean", self.mean, on_epoch=True, on_step=False)
        self.log_dict(self.several, on_epoch=True, on_step=False)
        return super().training_step(batch, index)

print({name: value.item() for name, value in sorted(fit(Measured()).callback_metrics.items())})
"""
COMPILED = """
module = Module()
compiled = torch.compile(module, backend="eager")
assert "torch._dynamo.eval_frame" in sys.modules
assert fit(compiled).global_step == 3
try:
    fit(torch.compile(torch.nn.Linear(1, 1), backend="eager"))
except ValueError as error:
    print(error)
"""
PLOT = """
import torchmetrics

class Largest(torchmetrics.Metric):
    def __init__(self):
        super().__init__()
        self.add_state("value", torch.tensor(0.0))
    def update(self, value):
        self.value = torch.maximum(self.value, value.max())
    def compute(self):
        return self.value
    def plot(self):
        return self._plot()

largest = Largest()
largest.update(torch.ones(4))
assert "matplotlib" not in sys.modules
figure, axes = largest.plot()
print(type(figure).__name__)
"""
PACKAGE = """
before = torchmetrics = sys.modules["torchmetrics"]
from torchmetrics import Accuracy, Metric, MetricCollection
import torchmetrics, torchmetrics.metric, scipy.signal
from lightning.pytorch.core import module
assert torchmetrics is before and torchmetrics.metric.Metric is Metric is module.Metric
assert isinstance(MetricCollection([]), module.MetricCollection)
assert torchmetrics.utilities.plot.plot_curve and torchmetrics.functional.accuracy
print(issubclass(Accuracy, Metric), torchmetrics.__version__)
"""
UNUSED = """
print([name for name in ("torch._dynamo", "scipy", "matplotlib", "torchmetrics.functional") if name in sys.modules])
"""
EARLIER = """
import torch._dynamo, torchmetrics
from lit_mlfund.startup.fast_imports import importing
with importing():
    import lightning.pytorch
    from lightning.pytorch.core import module
print(module.MetricCollection is torchmetrics.MetricCollection)
"""


def told(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param(START + TRAINING + UNUSED, "[]", id="nothing is imported for nothing"),
        pytest.param(
            START + TRAINING + METRICS, "{'high': 5.0, 'low': 0.0, 'mean': 2.5}", id="metrics are logged"
        ),
        pytest.param(
            START + TRAINING + COMPILED,
            "`model` is expected to be a compiled LightningModule. Found a `Linear` instead",
            id="compiled modules are known as such",
        ),
        pytest.param(START + PLOT, "Figure", id="a metric can be drawn"),
        pytest.param(EARLIER, "True", id="imported before"),
    ],
)
def test_as_ever(code: str, expected: str) -> None:
    assert told(code) == expected


def test_the_whole_package_on_demand() -> None:
    assert told(START + PACKAGE) == f"True {version('torchmetrics')}"
