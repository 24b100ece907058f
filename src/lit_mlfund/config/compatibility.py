"""Checks whether the parts of a configuration fit each other, by what each of them declares about itself."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from lit_mlfund.config.catalog import Catalog
from lit_mlfund.config.errors import suggestion
from lit_mlfund.config.kinds import wrong_kinds
from lit_mlfund.config.options import Option, nodes, options
from lit_mlfund.config.schema import VALUES
from lit_mlfund.config.signatures import declared, describe

MAX_SEED = 2**32 - 1  # the largest that numpy takes


def incompatibilities(config: dict[str, Any], catalog: Catalog) -> list[str]:
    """Return one line for each pair of parts that cannot work together, with what would work."""
    return [
        *_task_fits(config, catalog),
        *_inputs_fit(config, catalog),
        *_loss_is_a_mean(config),
        *_regularization_fits(config),
        *_exclusions(config),
        *wrong_kinds(config),
        *_ignored_weights(config),
        *_tables_fit(config),
        *_libraries(config),
        *_never_validated(config),
        *_monitors(config),
        *_plain_values(config),
        *_automatic_rate(config),
        *_blends(config),
    ]


def direction(config: Mapping[str, Any]) -> str:
    """Return `max` where the monitored value should rise, `min` where it should fall."""
    metrics = describe(config["task"]["_target_"]).attributes.get("metrics", {})
    return str(metrics.get(config["monitor"].removeprefix("val/"), "min"))


def _task_fits(config: dict[str, Any], catalog: Catalog) -> Iterator[str]:
    task = _task(config)
    if task is None:
        return
    for group in ("loss", "model", "data"):
        for path, node in nodes(config.get(group), group):
            tasks = declared(node, "tasks")
            if tasks and task not in tasks:
                fitting = [option for option in options(catalog, group) if task in option.tasks]
                yield f"{path}: {_name(node)} does not fit task={task}; {_alternative(group, fitting)}"
    data = config.get("data")
    if isinstance(data, dict) and isinstance(data.get("task"), str) and data["task"] != task:
        yield f"data.task: {data['task']} is not the task, which is {task}"


def _loss_is_a_mean(config: dict[str, Any]) -> Iterator[str]:
    """Report a loss that would return a value per example, of which training has no gradient."""
    for path, node in nodes(config.get("loss"), "loss"):
        if node.get("reduction") == "none":
            yield (
                f"{path}.reduction: training minimises the mean of a batch, but none keeps a loss per example; "
                "leave it out"
            )


def _task(config: dict[str, Any]) -> str | None:
    shape = config.get("shape")
    return shape if shape in VALUES["shape"].parts else None


def task_name(config: Mapping[str, Any]) -> str:
    """Return the name of the task, which its module declares; that of its shape where it does not."""
    return str(declared(config["task"], "task") or config["shape"])


def _inputs_fit(config: dict[str, Any], catalog: Catalog) -> Iterator[str]:
    data, model = config.get("data"), config.get("model")
    present, accepted = declared(data, "inputs"), declared(model, "inputs")
    if not present or not accepted:
        return
    missing = [kind for kind in present if kind not in accepted]
    if missing:
        task = _task(config)
        fitting = [
            option
            for option in options(catalog, "model")
            if set(present) <= set(option.inputs) and (task is None or task in option.tasks)
        ]
        yield (
            f"model: {_name(model)} takes {' and '.join(accepted)} inputs, "
            f"but {_name(data)} has {' and '.join(missing)}; " + _alternative("model", fitting)
        )


def _regularization_fits(config: dict[str, Any]) -> Iterator[str]:
    """Check tasks, and kinds of inputs of which the data must have one."""
    chosen = config.get("regularization")
    if not isinstance(chosen, dict):
        return
    task, data = _task(config), config.get("data")
    for key, node in chosen.items():
        tasks, inputs = declared(node, "tasks"), declared(node, "inputs")
        present = declared(data, "inputs")
        if task and tasks and task not in tasks:
            yield f"regularization.{key}: {_name(node)} does not fit task={task}; it is for {_enumerate(tasks)}"
        if inputs and present and not set(inputs) & set(present):
            accepted, kinds = " or ".join(inputs), " and ".join(present)
            yield f"regularization.{key}: {_name(node)} takes {accepted} inputs, but {_name(data)} has {kinds}"


def _exclusions(config: dict[str, Any]) -> Iterator[str]:
    """Report targets that exclude others by name (`not_with`), in regularization, embedding and optim."""
    chosen, trainer = config.get("regularization"), config.get("trainer")
    parts = {f"regularization.{key}": node for key, node in (chosen or {}).items()}
    parts |= {name: config.get(name) for name in ("embedding", "optim")}
    parts = {path: node for path, node in parts.items() if isinstance(node, dict) and "_target_" in node}
    others = {path.replace(".", "="): _name(node) for path, node in parts.items() if "." in path}
    if "optim" in parts:
        others[f"optim={_name(parts['optim'])}"] = _name(parts["optim"])
    strategy = trainer.get("strategy") if isinstance(trainer, dict) else None
    others[f"trainer.strategy={strategy}"] = str(strategy)
    for path, node in parts.items():
        for excluded in declared(node, "not_with") or ():
            for other, name in others.items():
                if name == excluded:
                    yield f"{path}: {_name(node)} does not work with {other}; leave one out"


def _enumerate(words: tuple[str, ...]) -> str:
    return ", ".join(words[:-1]) + f" and {words[-1]}" if len(words) > 1 else words[0]


def _alternative(group: str, fitting: list[Option]) -> str:
    names = " or ".join(option.name for option in fitting)
    return f"use {group}={names}" if fitting else f"no {group} here does"


def _name(node: Any) -> str:
    return str(node["_target_"]).rpartition(".")[2]


def _monitors(config: dict[str, Any]) -> Iterator[str]:
    metrics = declared(config.get("task"), "metrics")
    if not metrics:
        return
    known = [f"val/{name}" for name in ("loss", *metrics)]
    callbacks = config.get("callbacks")
    monitoring = {"monitor": config} | {
        f"callbacks.{name}.monitor": node
        for name, node in (callbacks.items() if isinstance(callbacks, dict) else ())
        if isinstance(node, dict) and "monitor" in node
    }
    for path, node in monitoring.items():
        monitor = node.get("monitor")
        if (
            isinstance(monitor, str)
            and monitor not in known
            and not (path != "monitor" and monitor[:4] != "val/")
        ):
            yield f"{path}: {monitor} is not measured for task={_task(config)}; {suggestion(monitor, known)}"


def _plain_values(config: dict[str, Any]) -> Iterator[str]:
    seed, name, trainer = config.get("seed"), config.get("name"), config.get("trainer")
    if isinstance(seed, int) and not 0 <= seed <= MAX_SEED:
        yield f"seed: expected 0 … {MAX_SEED}, got {seed}"
    if isinstance(name, str) and not re.fullmatch(r"[\w][\w.+=@-]{0,63}", name):
        yield f"name: {name!r} cannot be part of a folder's name; use letters, digits and any of -_.+=@"
    if isinstance(trainer, dict):
        yield from _trainer_values(trainer)
        limit = trainer.get("limit_test_batches", 1.0)
        unlimited = isinstance(limit, float) and limit == 1.0  # 1 is one batch, 1.0 is all of them
        if config.get("references") and config.get("test") and not unlimited:
            yield (
                "references: they are measured on the whole test split, of which "
                f"trainer.limit_test_batches={limit} leaves a part; pass references=false"
            )


def _libraries(config: dict[str, Any]) -> Iterator[str]:
    """Report targets marked with `needs` whose library is not installed."""
    for group, value in config.items():
        for path, node in nodes(value, group):
            module, extra, *more = declared(node, "needs") or ("", "")
            if module and importlib.util.find_spec(module) is None:
                command = " && ".join([f"pip install 'lit_mlfund[{extra}]'", *more])
                yield f"{path}: {_name(node)} needs {module}; install it with: {command}"


def _ignored_weights(config: dict[str, Any]) -> Iterator[str]:
    """Report losses whose `forward` takes no `weight`, beside data or a regularization that weights rows."""
    data, chosen = config.get("data"), config.get("regularization")
    sources = []
    if isinstance(data, dict) and data.get("weight") is not None:
        sources.append("data.weight")
    if isinstance(chosen, dict):
        sources += [f"regularization={key}" for key, node in chosen.items() if declared(node, "weighs_rows")]
    if not sources:
        return
    for path, node in nodes(config.get("loss"), "loss"):
        keywords = declared(node, "forward")
        if keywords is not None and "weight" not in keywords:
            yield (
                f"{path}: {node['_target_']} takes no weight in forward, but {' and '.join(sources)} weights rows; "
                "add weight=None to its forward, or leave the weights out"
            )


def _tables_fit(config: dict[str, Any]) -> Iterator[str]:
    """Check that there are tables, and that the trainer suits their optimizer."""
    node, trainer = config.get("embedding"), config.get("trainer")
    if not isinstance(node, dict) or "_target_" not in node or not isinstance(trainer, dict):
        return
    for part in (config.get("model"), config.get("data")):
        inputs = declared(part, "inputs")
        if inputs and not {"categorical", "tokens"} & set(inputs):
            yield f"embedding: {_name(part)} has {_enumerate(inputs)} inputs only, and no tables; use embedding=dense"
            break
    precisions, precision = declared(node, "precisions"), trainer.get("precision")
    if precisions and precision is not None and str(precision) not in precisions:
        yield f"trainer.precision: {_name(node)} does not work with {precision}; use {' or '.join(precisions)}"
    if declared(node, "steps_in_backward") and trainer.get("accumulate_grad_batches", 1) != 1:
        yield f"trainer.accumulate_grad_batches: {_name(node)} takes a step in every backward pass; use 1"
    if declared(node, "eager") and trainer.get("compile"):
        yield f"trainer.compile: torch.compile does not take the tables of {_name(node)}; use trainer.compile=false"


def _never_validated(config: dict[str, Any]) -> Iterator[str]:
    """Yield what would leave a training without a validation, and so without a checkpoint."""
    trainer = config.get("trainer")
    if not isinstance(trainer, dict) or config.get("train") is False:
        return
    if trainer.get("limit_val_batches") == 0:
        yield (
            f"trainer.limit_val_batches: 0 never measures {config.get('monitor')}, which selects the checkpoint "
            "(and is what schedule=reduce_on_plateau waits for); use 1 or more, or leave it out"
        )
    for key in ("max_epochs", "max_steps"):
        if trainer.get(key) == 0:
            yield f"trainer.{key}: 0 trains nothing; pass train=false to measure an untrained model"


def _blends(config: dict[str, Any]) -> Iterator[str]:
    """Report what keeps boosted trees from being averaged with the network."""
    if config.get("blend") is None:
        return
    task, data, loss, trainer = (_task(config), *(config.get(group) for group in ("data", "loss", "trainer")))
    source = _name(data) if isinstance(data, dict) and "_target_" in data else ""
    if source and (source != "TableDataModule" or task not in ("binary", "multiclass", "regression")):
        given = f"task={task} and {source}"
        yield f"blend: boosting is for binary, multiclass and regression with data=table, not for {given}"
    if isinstance(loss, dict) and "_target_" in loss and _name(loss) == "QuantileLoss":
        yield "blend: boosting predicts means, and loss=quantile does not; leave one out"
    if isinstance(trainer, dict) and trainer.get("strategy") == "fsdp":
        yield "blend: boosting does not work with trainer.strategy=fsdp; leave one out"
    if isinstance(trainer, dict) and str(trainer.get("precision")) in ("16-true", "bf16-true"):
        yield f"blend: boosting compares exact numbers; use -mixed instead of trainer.precision={trainer['precision']}"
    if config.get("train") is False:
        yield "blend: boosting is averaged with a network after its training; leave out train=false"


def _automatic_rate(config: dict[str, Any]) -> Iterator[str]:
    optim, trainer = config.get("optim"), config.get("trainer")
    if isinstance(optim, dict) and optim.get("lr_by_pattern") and optim.get("lr") is None:
        yield "optim.lr is required beside optim.lr_by_pattern, whose factors multiply it: pass optim.lr=…"
    if not isinstance(optim, dict) or optim.get("lr") != "auto" or not isinstance(trainer, dict):
        return
    if str(trainer.get("devices", 1)) not in ("1", "auto") or str(trainer.get("num_nodes", 1)) != "1":
        yield "optim.lr: auto looks for the rate in one process; run mlfund lr-find and give its value"


def _trainer_values(trainer: dict[str, Any]) -> Iterator[str]:
    for key, special in (("devices", (None, "auto")), ("num_nodes", (None,))):
        value = trainer.get(key)
        if value in special:
            continue
        if not str(value).isdigit() or int(str(value)) < 1:
            expected = " or ".join(["a number from 1 on", *filter(None, special)])
            yield f"trainer.{key}: expected {expected}, got {value}"
    if trainer.get("accelerator") == "cpu" and trainer.get("precision") in ("16-mixed", "16-true", "16"):
        yield f"trainer.precision: {trainer['precision']} needs a GPU; use bf16-mixed on a CPU"
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if trainer.get("compile") is True and trainer.get("accelerator") == "cpu" and not shutil.which(compiler):
        yield f"trainer.compile: on a CPU torch.compile needs a C++ compiler, and there is no {compiler} (see CXX)"
