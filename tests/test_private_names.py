"""The private names of other packages that our code relies on, in one table, checked against the installed releases.

A release may rename or remove them without notice. Private is what starts with an underscore or lies in a module that
does, and what is undocumented (Lightning's loops and their counters). A failure names the package, its version and the
file of ours that stops working.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from sklearn.ensemble import HistGradientBoostingClassifier
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from torch import nn
from torch.distributed.fsdp import fully_shard

import lit_mlfund

SOURCE = Path(lit_mlfund.__file__).parent
DISTRIBUTIONS = {"hydra": "hydra-core", "sklearn": "scikit-learn"}  # where it is not called like its module
UNDOCUMENTED = {"fit_loop", "epoch_loop", "validate_loop", "test_loop", "predict_loop"}
DOCUMENTED = {
    "_target_",
    "_args_",
    "_convert_",
    "_partial_",
    "_recursive_",
    "_self_",
    "_exit",
}  # of Hydra and os


def fully_sharded() -> nn.Module:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        return fully_shard(nn.Linear(1, 1), mesh=dist.init_device_mesh("cpu", (1,)))
    finally:
        dist.destroy_process_group()


INSTANCES = {
    "lightning.pytorch.LightningModule()": LightningModule,
    "lightning.pytorch.Trainer()": lambda: Trainer(
        logger=False, enable_checkpointing=False, accelerator="cpu"
    ),
    "lightning.pytorch.strategies.ModelParallelStrategy()": ModelParallelStrategy,
    "sklearn.ensemble.HistGradientBoostingClassifier()": lambda: HistGradientBoostingClassifier(
        categorical_features=[0], max_iter=1, early_stopping=False
    ).fit(np.array([[0], [1]]), [0, 1]),
    "tensorboard.summary.writer.event_file_writer.EventFileWriter()": lambda: EventFileWriter(mkdtemp()),
    "torch.optim.AdamW()": lambda: torch.optim.AdamW([torch.zeros(1)], fused=True),
    "torch.distributed.fsdp.fully_shard()": fully_sharded,
}


class Use(NamedTuple):
    """Names that some of our files need for one purpose: path -> kind.

    A path starts at a module, or at an object of `INSTANCES`. Kinds are class, function, and attribute, which may be
    anything.
    """

    files: tuple[str, ...]
    purpose: str
    names: dict[str, str]


EPOCH_LOOP = "lightning.pytorch.Trainer().fit_loop.epoch_loop"
STEPS = f"{EPOCH_LOOP}.manual_optimization.optim_step_progress"
FSDP_STATE = "torch.distributed.fsdp.fully_shard()._get_fsdp_state"
EVENTS = "tensorboard.summary.writer.event_file_writer.EventFileWriter()"
USES = [
    Use(
        ("config/compose.py",),
        "composes configurations",
        {
            "hydra._internal.hydra.Hydra": "class",
            "hydra._internal.hydra.Hydra.create_main_hydra2": "function",
            "hydra._internal.hydra.Hydra.compose_config": "function",
            "hydra._internal.utils.create_config_search_path": "function",
            "hydra._internal.config_loader_impl.ConfigLoaderImpl._apply_overrides_to_config": "function",
        },
    ),
    Use(
        ("sweeps/plan.py",),
        "lists the combinations of a sweep",
        {"hydra._internal.core_plugins.basic_sweeper.BasicSweeper.split_arguments": "function"},
    ),
    Use(
        ("callbacks/early_stopping.py",),
        "decides whether a member of a stacked sweep stops",
        {"lightning.pytorch.callbacks.EarlyStopping._evaluate_stopping_criteria": "function"},
    ),
    Use(
        ("callbacks/checkpoints.py",),
        "validates where training ends",
        {f"{EPOCH_LOOP}.val_loop.run": "function"},
    ),
    Use(
        ("callbacks/stop_on_signal.py",),
        "tells whether a validation is due behind a batch",
        {f"{EPOCH_LOOP}.total_batch_idx": "attribute"},
    ),
    Use(
        ("modules/training.py",),
        "shards a model, where there is a trainer",
        {
            "lightning.pytorch.LightningModule()._trainer": "attribute",
            "lightning.pytorch.LightningModule()._device_mesh": "attribute",
        },
    ),
    Use(
        ("modules/training.py",),
        "counts the steps of a call that takes several",
        {
            f"{STEPS}.{count}.{state}": "attribute"
            for count in ("total", "current")
            for state in ("ready", "completed")
        },
    ),
    Use(
        ("runs/assembly/strategy.py",),
        "shards over all processes",
        {"lightning.pytorch.strategies.ModelParallelStrategy()._data_parallel_size": "attribute"},
    ),
    Use(
        ("runs/evaluation/stop_reason.py",),
        "tells whether training ended within its last epoch",
        {
            f"{EPOCH_LOOP}.batch_progress.is_last_batch": "attribute",
            f"{EPOCH_LOOP}.batch_progress.total.ready": "attribute",
        },
    ),
    Use(
        ("sweeps/stacked/member.py",),
        "sets the step of a member of a stacked sweep",
        {f"{EPOCH_LOOP}.automatic_optimization.optim_progress.optimizer.step.total.completed": "attribute"},
    ),
    Use(
        ("data/serving/batch.py", "data/serving/loader.py"),
        "maps functions over batches",
        {
            "torch.utils._pytree.register_pytree_node": "function",
            "torch.utils._pytree.tree_map_only": "function",
            "torch.utils._pytree.tree_leaves": "function",
        },
    ),
    Use(("data/serving/loader.py",), "detects changed batches", {"torch.Tensor._version": "attribute"}),
    Use(("modules/steps/guard.py",), "detects changed buffers", {"torch.Tensor._version": "attribute"}),
    Use(
        ("diagnostics/first_nonfinite.py",),
        "observes every operation of a step that is replayed",
        {
            "torch.utils._python_dispatch.TorchDispatchMode": "class",
            "torch._C._current_autograd_node": "function",
            "torch.autograd._get_sequence_nr": "function",
            "torch.autograd.graph.Node._sequence_nr": "function",
        },
    ),
    Use(("callbacks/averages.py",), "averages all weights in one call", {"torch._foreach_lerp_": "function"}),
    Use(
        ("callbacks/weights.py", "callbacks/vitals.py"),
        "measures all updates in one call",
        {"torch._foreach_norm": "function"},
    ),
    Use(
        ("references/trees.py",),
        "copies fitted trees",
        {
            f"sklearn.ensemble.HistGradientBoostingClassifier().{name}": "attribute"
            for name in ("_predictors", "_baseline_prediction", "_preprocessor")
        },
    ),
    Use(("optim/groups.py",), "exempts from weight decay", {"torch.nn.modules.batchnorm._NormBase": "class"}),
    Use(
        ("optim/native.py",),
        "lets Lightning clip the gradients of fused optimizers",
        {"torch.optim.AdamW()._step_supports_amp_scaling": "attribute"},
    ),
    Use(
        ("models/sharded_table.py",),
        "saves and loads a table whose rows lie in several processes",
        {
            "torch.nn.Module._save_to_state_dict": "function",
            "torch.nn.Module._load_from_state_dict": "function",
        },
    ),
    Use(
        ("modules/curvature.py",),
        "tells whether FSDP reduces gradients",
        {FSDP_STATE: "function", f"{FSDP_STATE}()._fsdp_param_group.reduce_grads": "attribute"},
    ),
    Use(
        ("callbacks/event_files.py", "runs/evaluation/publish.py"),
        "writes TensorBoard events",
        {"torch.utils.tensorboard.SummaryWriter._get_file_writer": "function"},
    ),
    Use(
        ("callbacks/event_files.py",),
        "ends events where the disk refuses them",
        {
            f"{EVENTS}._async_writer._writer": "attribute",
            f"{EVENTS}._async_writer._worker._record_writer": "attribute",
        },
    ),
    Use(
        ("startup/lazy_modules.py",),
        "defers imports (the start is slower where it cannot)",
        {
            "torch._dynamo.OptimizedModule": "class",
            "torch._dynamo.eval_frame.OptimizedModule": "class",
            "torch._dynamo.disable": "function",
            "torchmetrics._logger": "attribute",
            "torchmetrics.utilities.plot._AX_TYPE": "attribute",
            "torchmetrics.utilities.plot._PLOT_OUT_TYPE": "attribute",
        },
    ),
]
NAMES = [(use, path, kind) for use in USES for path, kind in use.names.items()]


@cache
def resolve(path: str) -> Any:
    """Follow a path to what it names; raises ImportError or AttributeError."""
    if path in INSTANCES:
        return INSTANCES[path]()
    parent, _, name = path.rpartition(".")
    if not parent:
        return importlib.import_module(name)
    value = resolve(parent)
    if inspect.ismodule(value) and not hasattr(value, name):
        return importlib.import_module(path)
    return getattr(value, name[:-2])() if name.endswith("()") else getattr(value, name)


KINDS = {"class": inspect.isclass, "function": inspect.isroutine, "attribute": lambda value: True}


@pytest.mark.parametrize(("use", "path", "kind"), NAMES, ids=[path for _, path, _ in NAMES])
def test_the_installed_release_has_it(use: Use, path: str, kind: str) -> None:
    package = path.partition(".")[0]
    release = f"{package} {version(DISTRIBUTIONS.get(package, package))}"
    files = " and ".join(f"src/lit_mlfund/{file}" for file in use.files)
    problem = None
    try:
        if not KINDS[kind](resolve(path)):
            problem = f"is no {kind}"
    except (ImportError, AttributeError) as error:
        problem = f"is not there ({error})"
    if problem:
        pytest.fail(f"{release}: {path} {problem}; with it {files} {use.purpose}", pytrace=False)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED


def names_in(file: Path) -> Iterator[str]:
    """Yield private names of other packages: paths of imports and what they are asked for, attributes but of `self`."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    defined = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    defined |= {node.attr for node in attributes if ast.unparse(node.value) == "self"}
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    imported = {
        alias.asname or alias.name: f"{node.module}.{alias.name}" for node in froms for alias in node.names
    }
    for node in nodes:
        match node:
            case ast.Attribute(value=ast.Name(name), attr=attr) if name in imported:
                yield from private_path(f"{imported[name]}.{attr}")
            case ast.Attribute(attr=attr):
                if attr in UNDOCUMENTED or (is_private(attr) and attr not in defined):
                    yield attr
            case ast.Call(ast.Name("getattr" | "hasattr" | "setattr"), [_, ast.Constant(str() as attr), *_]):
                if is_private(attr) and attr not in defined:
                    yield attr
            case ast.keyword(arg=str() as attr) if is_private(attr):
                yield attr
            case ast.Constant(str() as text) if re.fullmatch(r"[a-z]\w*(\.\w+)+", text):
                yield from private_path(text)
            case ast.Import(names):
                yield from (path for alias in names for path in private_path(alias.name))
    yield from (path for name in imported.values() for path in private_path(name))


def private_path(path: str) -> list[str]:
    first, *rest = path.split(".")
    return [path] if first != "lit_mlfund" and any(map(is_private, rest)) else []


@cache
def source_of(cls: type) -> str:
    try:
        return textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):  # written in C
        return ""


def names_of_bases(cls: type) -> Iterator[str]:
    """Yield private names in the body of a class of ours that a base from another package defines."""
    nodes = list(ast.walk(ast.parse(source_of(cls))))
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    names |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    bases = [base for base in cls.__mro__ if base.__module__.split(".")[0] not in ("lit_mlfund", "builtins")]
    for name in filter(is_private, names):
        if any(name in vars(base) or re.search(rf"\bself\.{name}\b", source_of(base)) for base in bases):
            yield name


@cache
def used() -> frozenset[tuple[str, str]]:
    """Return all pairs of a file of ours and a private name in it."""
    pairs = {(file, name) for file in SOURCE.rglob("*.py") for name in names_in(file)}
    for module in pkgutil.walk_packages(lit_mlfund.__path__, "lit_mlfund."):
        if not module.name.startswith(("lit_mlfund.conf.", "lit_mlfund.__main__")):
            for cls in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(cls) and cls.__module__ == module.name:
                    pairs |= {(Path(str(inspect.getsourcefile(cls))), name) for name in names_of_bases(cls)}
    return frozenset((file.relative_to(SOURCE).as_posix(), name) for file, name in pairs)


def covers(use: Use, file: str, name: str) -> bool:
    paths = [path.replace("()", "") for path in use.names]
    return file in use.files and any(
        name in path.split(".") or f"{path}.".startswith(f"{name}.") for path in paths
    )


def test_no_other_private_names() -> None:
    missing = [pair for pair in sorted(used()) if not any(covers(use, *pair) for use in USES)]
    assert missing == [], "do without these names of other packages, or add them to USES"


def test_every_use_is_one() -> None:
    uses = [(use, file) for use in USES for file in use.files]
    unused = [
        (file, use.purpose)
        for use, file in uses
        if not any(covers(use, file, name) for other, name in used() if other == file)
    ]
    assert unused == []
