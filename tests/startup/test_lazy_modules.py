"""Lightning works as ever with a deferred compiler and deferred metrics, and where they cannot be deferred."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import types
from importlib.metadata import version
from pathlib import Path

import pytest

from lit_mlfund.startup.fast_imports import importing
from lit_mlfund.startup.lazy_modules import _unload

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


# Other releases: code at the end of their modules (CHANGES), or a package that is not found.
CHANGED = """
import logging, sys
from importlib.machinery import PathFinder, SourceFileLoader

CHANGES = {}
class Changed(SourceFileLoader):
    def get_code(self, name):
        return compile(self.get_source(name) + CHANGES[name], self.path, "exec")
class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target) if name in CHANGES else None
        if spec is not None:
            spec.loader = Changed(name, spec.origin)
        return spec
sys.meta_path.insert(0, Finder)

messages = []
class Collect(logging.Handler):
    def emit(self, record):
        messages.append(record.getMessage())
log = logging.getLogger("lit_mlfund.startup.lazy_modules")
log.setLevel(logging.DEBUG)
log.propagate = False
log.addHandler(Collect())
"""
NOT_FOUND = """
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torchmetrics" else find_spec(name, *rest)
"""
# what the fallback must leave: one copy of each class, no placeholder, no message printed twice
PLAIN = """
import torchmetrics
from lightning.pytorch.core import module
from lit_mlfund.startup.lazy_modules import DeferredModule
assert fit(Measured()).global_step == 3
assert module.MetricCollection is torchmetrics.MetricCollection
assert not [name for name, found in sys.modules.items() if isinstance(found, DeferredModule)]
loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric")]
assert all(len(logger.handlers) <= 1 for logger in loggers)
print(len(messages), messages[0].partition(":")[0])
"""
EVAL_FRAME = "from torch._dynamo.eval_frame import OptimizedModule"
RELEASES = {  # module -> line at its end
    "not found": {},
    "one more name": {"torchmetrics.metric": "from torchmetrics.utilities.plot import plot_curve"},
    "another layout": {"torchmetrics.utilities": "from torchmetrics import wrappers"},
    "a class has moved": {
        "lightning.pytorch.utilities.compile": "from torch._dynamo.eval_frame import OptimizedModule"
    },
    "any error": {
        "lightning.pytorch.trainer.trainer": "import sys; vars(sys.modules['torchmetrics'])['functional']"
    },
}


def output(code: str) -> str:
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
    assert output(code) == expected


def test_the_whole_package_on_demand() -> None:
    assert output(START + PACKAGE) == f"True {version('torchmetrics')}"


@pytest.mark.parametrize("release", RELEASES)
def test_other_releases_are_imported_plainly(release: str) -> None:
    changes = (
        CHANGED + f"CHANGES.update({RELEASES[release]})\n" + (NOT_FOUND if release == "not found" else "")
    )
    printed = output(changes + START + TRAINING + METRICS.rpartition("print")[0] + PLAIN)
    assert printed == "1 imports of Lightning are not deferred"


def test_a_run_under_another_release(tmp_path: Path) -> None:
    arguments = ["train", "task=binary", "data=breast_cancer", "trainer.max_epochs=1", "references=false"]
    arguments += ["logger=files", f"runs_dir={tmp_path}"]
    printed = output(
        CHANGED
        + f"CHANGES.update({RELEASES['one more name']})\nfrom lit_mlfund.cli import main\n"
        + f"assert main({arguments}) == 0 and len(messages) == 1"
    )
    assert json.loads(printed.splitlines()[-1])["status"] == "done"


def test_what_is_unloaded_is_lightning_and_its_handlers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["lightning.made_up", "torchmetrics.made_up", "lightning_of_mine", "mine.made_up"]
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        logging.getLogger(name).addHandler(logging.NullHandler())
    monkeypatch.setattr(logging.root.manager, "loggerDict", {name: logging.getLogger(name) for name in names})
    _unload(names)
    assert [name in sys.modules for name in names] == [False, False, True, True]
    assert [len(logging.getLogger(name).handlers) for name in names] == [0, 0, 1, 1]


def test_errors_of_the_block_are_its_own() -> None:
    with pytest.raises(ImportError, match="no_such_name"), importing():
        from lit_mlfund.startup.lazy_modules import no_such_name  # type: ignore[attr-defined]  # noqa: F401
