"""Tries configurations that run code, write elsewhere or exhaust memory, through every command that reads a run."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import lit_mlfund
from lit_mlfund.config.errors import ConfigError
from tests.hostile.conftest import CANARY, EVIL, Case

TOUCH = f"touch {CANARY}"
SYSTEM = {"_target_": "os.system", "command": TOUCH}
OTHER = "is code of another package, which would run"
Config = dict[str, Any]


def put(path: str, value: Any) -> Callable[[Config], None]:
    """Return what puts a value at the path of a configuration."""

    def change(config: Config) -> None:
        *parents, last = path.split(".")
        for key in parents:
            config = config[key]
        config[last] = value

    return change


def target(path: str, name: str, /, **values: Any) -> Callable[[Config], None]:
    return put(path, {"_target_": name, **values})


POPEN = "lit_mlfund.runs.execution.launch.subprocess.Popen"
# what is wrong -> how the configuration is changed, and what the message says
CONFIGURATIONS: dict[str, tuple[Callable[[Config], None], str]] = {
    "a program as loss": (put("loss", SYSTEM), OTHER),
    "a program as data": (put("data", SYSTEM), OTHER),
    "a program as callback": (put("callbacks.x", SYSTEM), OTHER),
    "a program in a group of nobody": (put("extra", {"x": SYSTEM}), OTHER),
    "a program through a module of ours": (target("loss", POPEN, args=["touch", CANARY]), "no module"),
    "what a module of ours imports": (
        target("model", "lit_mlfund.runs.execution.unreported.contextmanager", func=1),
        "is not defined in lit_mlfund",
    ),
    "a function of ours that writes": (
        target("loss", "lit_mlfund.atomic.write_text", path=CANARY, text="x"),
        "is not a torch.nn.Module",
    ),
    "a class of ours of another kind": (
        target("model", "lit_mlfund.datamodules.TableDataModule", path=CANARY, target="y"),
        "is not a torch.nn.Module",
    ),
    "a worker of ours as task": (
        target("task", "lit_mlfund.runs.execution.worker.main", arguments=["x"]),
        "is not a lit_mlfund.modules.TaskModule",
    ),
    "exec": (target("model", "builtins.exec", _args_=[f"open({CANARY!r}, 'w')"]), OTHER),
    "torch.load": (target("model", "torch.load", f="evil.pkl", weights_only=False), OTHER),
    "torch.load below torch.nn": (
        target("model", "torch.nn.modules.module.torch.load", f="evil.pkl", weights_only=False),
        "is not a torch.nn.Module",
    ),
    "a program below torch.nn": (
        target("loss", "torch.nn.modules.module.warnings.sys.modules", x=1),
        "_target_",
    ),
    "torch.hub": (target("model", "torch.hub.load", repo_or_dir=".", model="x", source="local"), OTHER),
    "numpy.load": (target("model", "numpy.load", file="evil.pkl", allow_pickle=True), OTHER),
    "pandas": (target("data", "pandas.read_pickle", filepath_or_buffer="evil.pkl"), OTHER),
    "joblib": (target("loss", "joblib.load", filename="evil.pkl"), OTHER),
    "a package that runs when it is imported": (target("model", f"{EVIL}.Net"), f"add --trust {EVIL}"),
    "in a list": (put("model.hidden", [SYSTEM]), OTHER),
    "deep in lists": (put("model.hidden", [[{"a": [{"b": SYSTEM}]}]]), OTHER),
    "as a partial": (put("loss", {**SYSTEM, "_partial_": True}), OTHER),
    "among positional arguments": (put("loss._args_", [SYSTEM]), OTHER),
    "behind _recursive_": (
        put("loss", {"_target_": "torch.nn.MSELoss", "_recursive_": False, "x": SYSTEM}),
        OTHER,
    ),
    "in a callback of Lightning": (
        target(
            "callbacks.x",
            "lightning.pytorch.callbacks.LambdaCallback",
            setup={"_target_": POPEN, "_partial_": True, "args": ["touch", CANARY]},
        ),
        "_target_",
    ),
    "a command line of Lightning": (
        target("callbacks.x", "lightning.pytorch.cli.LightningCLI", args=["fit"]),
        "is not a lightning.pytorch.Callback",
    ),
    "a command line of Lightning inside": (
        put(
            "loss",
            {
                "_target_": "torch.nn.MSELoss",
                "size_average": {"_target_": "lightning.pytorch.cli.LightningCLI"},
            },
        ),
        "is not built inside a node",
    ),
    "a checkpoint elsewhere": (put("checkpoint", "../../../x"), "expected one of best, last"),
    "no section": (lambda config: config.pop("model"), "model"),
    "text as a section": (put("model", "lit_mlfund.models.MLP"), "model: "),
    "a list as a section": (put("data", [1, 2]), "data: "),
    "a number as a section": (put("loss", 3), "loss: "),
    "a list as a target": (put("loss._target_", ["os.system"]), "loss._target_"),
    "a target in a target": (put("loss._target_", SYSTEM), "_target_"),
    "a list as a path": (put("data.path", [1, 2]), "data.path: "),
    "a mapping as a size": (put("model.hidden", {"a": 1}), "model.hidden: "),
    "text as a size": (put("model.hidden", "x" * 10**5), "model.hidden: "),
    "a number of 200 digits": (put("model.hidden", [10**200]), "more than 64 bits"),
    "a number without a name": (put("loss.3", 1), "loss"),
    "a shape that is none": (put("shape", {"a": 1}), "shape: "),
    "the environment": (put("name", "${oc.env:HOME}"), "reads the environment"),
    "the environment as a path": (put("data.target", "${oc.env:HOME,x}"), "reads the environment"),
    "a resolver of Hydra": (put("name", "${hydra:runtime.cwd}"), "reads the environment"),
    "a resolver that makes nodes": (
        put("model", "${oc.create:{_target_: os.system}}"),
        "reads the environment",
    ),
    "a resolver behind another": (put("name", "${${a}:HOME}"), "reads the environment"),
    "an escaped resolver": (put("name", "\\${oc.env:HOME}"), "reads the environment"),
    "a circle": (lambda config: config.update(a="${b}", b="${a}"), "cannot be read"),
    "a circle of one": (put("name", "${name}"), "cannot be read"),
    "text that doubles": (
        lambda config: config.update(
            {f"a{i}": f"${{a{i + 1}}}${{a{i + 1}}}" for i in range(40)} | {"a40": "x"}
        ),
        "at most 8 interpolations",
    ),
}
LEVELS = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
# what is wrong -> how the file continues behind a configuration in which nothing is wrong
TEXTS: dict[str, tuple[bytes, str]] = {
    "aliases that multiply": (f"a0: &a0 [x]\n{LEVELS}".encode(), "aliases (*a0) are not used in a run"),
    "an alias of itself": (b"a: &a [*a]\n", "aliases (*a)"),
    "a merge": (b"a: &a {x: 1}\nb: {<<: *a}\n", "aliases (*a)"),
    "lists in lists": (b"a: " + b"[" * 100_000 + b"]" * 100_000 + b"\n", "nested"),
    "mappings in mappings": (b"a: " + b"{a: " * 5_000 + b"}" * 5_000 + b"\n", "nested"),
    "an object of Python": (f"a: !!python/object/apply:os.system ['{TOUCH}']\n".encode(), "damaged"),
    "a key twice": (b"seed: 1\nseed: 2\n", "duplicate key"),
    "a number of 5000 digits": (b"a: " + b"9" * 5000 + b"\n", "cannot be read"),
    "bytes that are no UTF-8": (b"a: \xff\xfe\n", "run.yaml"),
    "zero bytes": (b"a: \x00\n", "run.yaml"),
    "a file of 3 MB": (b"a: " + b"x" * 3_000_000 + b"\n", "more than 2097152 bytes"),
    "an unfinished list": (b"a: [", "damaged"),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_configurations(case: Case, name: str) -> None:
    change, words = CONFIGURATIONS[name]
    (case.folder / "evil.pkl").write_bytes(pickle.dumps(Touching()))
    (case.folder / "hubconf.py").write_text(f"open({CANARY!r}, 'w')\n")
    case.spoil(change)
    everywhere_refused(case, words)


@pytest.mark.parametrize("name", TEXTS)
def test_texts(case: Case, name: str) -> None:
    more, words = TEXTS[name]
    with open(case.run / "run.yaml", "ab") as file:
        file.write(more)
    everywhere_refused(case, words)


class Touching:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (Path(CANARY),)


def everywhere_refused(case: Case, words: str) -> None:
    for arguments in case.commands().values():
        case.refused(arguments, "run.yaml", words)
    with pytest.raises(ConfigError, match=r"run\.yaml"):
        lit_mlfund.load_run(case.run)


@pytest.mark.parametrize(
    ("group", "values"),
    [
        ("logger", {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": "/tmp/elsewhere"}),
        (
            "logger",
            {"_target_": "lightning.pytorch.loggers.MLFlowLogger", "tracking_uri": "http://127.0.0.1:9/"},
        ),
        (
            "callbacks",
            {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "dirpath": "../../elsewhere"},
        ),
    ],
)
def test_what_would_write_elsewhere_is_not_trained(case: Case, group: str, values: Config) -> None:
    case.spoil(put(f"{group}.x", values))
    case.refused(case.commands()["train"], f"{group}.x.", "leads outside the run folder", "--trust lightning")
    assert case.call(case.commands()["evaluate"])[0] == 0  # builds neither


@pytest.mark.parametrize("runs_dir", ["/tmp/elsewhere", "../elsewhere", "~/elsewhere"])
def test_a_repetition_elsewhere(case: Case, runs_dir: str) -> None:
    case.spoil(put("runs_dir", runs_dir))
    case.refused(case.commands()["train"], "say runs_dir=…")
    assert case.call([*case.commands()["train"], "runs_dir=mine"])[0] == 0
    assert list((case.folder / "mine" / "binary").iterdir())


def test_a_name_that_leads_elsewhere(case: Case) -> None:
    case.spoil(put("name", "../../../x"))
    case.refused(case.commands()["train"], "cannot be part of a folder's name")


def test_what_nobody_has_spoilt_is_read(case: Case) -> None:
    assert case.call(case.commands()["evaluate"])[0] == 0
    assert case.call(case.commands()["predict"])[0] == 0
    assert lit_mlfund.load_run(case.run).result["status"] == "done"


def test_classes_of_torch_need_no_trust(case: Case) -> None:
    case.spoil(put("loss", {"_target_": "torch.nn.BCEWithLogitsLoss"}))
    assert case.call(case.commands()["evaluate"])[0] == 0


def test_a_trusted_package_is_held_against_the_kinds(case: Case) -> None:
    Path("friendly_package.py").write_text(
        "from torch import nn\nfrom os import system\nclass Loss(nn.BCEWithLogitsLoss): ...\nclass Plain: ...\n"
    )
    trust = ["--trust", "friendly_package"]
    try:
        case.spoil(target("loss", "friendly_package.Loss"))
        case.refused(case.commands()["evaluate"], "add --trust friendly_package")
        case.refused([*case.commands()["evaluate"], "--trust", "friendly"], "add --trust friendly_package")
        assert "friendly_package" not in sys.modules
        assert case.call([*case.commands()["evaluate"], *trust])[0] == 0
        assert lit_mlfund.load_run(case.run, trust=["friendly_package"]).module is not None
        for name in ("Plain", "system"):
            case.spoil(target("loss", f"friendly_package.{name}", command=TOUCH))
            case.refused([*case.commands()["evaluate"], *trust], "is not a torch.nn.Module")
    finally:
        sys.modules.pop("friendly_package", None)


def test_a_file_that_is_none(case: Case) -> None:
    for content in (b"", b"- 1\n", b"text\n", b"\x80\x04K\x01.", yaml.safe_dump({"model": None}).encode()):
        (case.run / "run.yaml").write_bytes(content)
        everywhere_refused(case, "run.yaml")


def test_the_check_does_not_import_torch(case: Case) -> None:
    """Where all targets are ours: torch was imported by another test, so a fresh process tells."""
    import subprocess

    code = (
        "import sys; from pathlib import Path; from lit_mlfund.runs.execution.strangers import load_checked; "
        "load_checked(Path(sys.argv[1])); print([n for n in ('torch', 'lightning', 'polars') if n in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(case.run)], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "[]" and torch.__version__
