"""Wrong files are told before torch is imported, in the words of the data modules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from lit_mlfund.cli.first_look import first_look, first_look_at_run
from lit_mlfund.data import DataError

TABLE = {"_target_": "lit_mlfund.datamodules.TableDataModule", "target": "y", "query": None, "exclude": ["b"]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    frame = pl.DataFrame({"a": [1, 2], "b": [1, 2], "y": [0, 1]})
    frame.write_csv("t.csv")
    frame.write_parquet("t.parquet")
    frame.write_ipc("t.arrow")
    frame.write_ipc_stream("s.arrow")
    Path("t.csv.gz").write_bytes(__import__("gzip").compress(Path("t.csv").read_bytes()))
    for name in ("t.csv.gz", "t.parquet"):
        Path(name.upper()).write_bytes(Path(name).read_bytes())
    Path("junk.parquet").write_text("no")
    Path("empty.csv").write_text("")
    return tmp_path


ENDINGS = ["t.csv", "t.parquet", "t.arrow", "s.arrow", "t.csv.gz", "T.CSV.GZ", "T.PARQUET"]


@pytest.mark.parametrize("name", ENDINGS)
def test_what_is_right_passes(folder: Path, name: str) -> None:
    first_look({**TABLE, "path": name, "val_path": name})


@pytest.mark.parametrize("name", ENDINGS)
def test_a_column_that_is_not_there(folder: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"no column 'yy'; did you mean 'y'\?; no column 'c'"):
        first_look({**TABLE, "path": name, "target": "yy", "exclude": ["c"]})
    with pytest.raises(DataError, match="no column 'w'"):
        first_look({**TABLE, "path": "t.csv", "test_path": name, "weight": "w"} | {"path": "t.csv"})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("t.cvs", "no such file; did you mean 't.csv'"),
        ("junk.parquet", "cannot be read, it is damaged"),
        ("empty.csv", "the file is empty"),
        (".", "this is a folder"),
        ("t.txt", "no such file"),
    ],
)
def test_a_file_that_is_no_table(folder: Path, name: str, words: str) -> None:
    for key in ("path", "val_path"):
        with pytest.raises(DataError, match=words):
            first_look({**TABLE, "path": "t.csv", key: name})


def test_what_others_decide_is_left_to_them(folder: Path) -> None:
    first_look({"_target_": "my.DataModule", "path": "nowhere"})
    first_look({"_target_": "lit_mlfund.datamodules.BreastCancerDataModule"})
    first_look({**TABLE, "path": "s3://bucket/t.parquet"})
    Path("title.csv").write_text("A title\na;b;y\n1;2;0\n")
    first_look({**TABLE, "path": "title.csv", "separator": ";"})  # read otherwise than by default
    Path("images").mkdir()
    first_look({"_target_": "lit_mlfund.datamodules.ImagesDataModule", "path": "images", "target": "label"})


def test_a_new_file_for_a_run(folder: Path) -> None:
    Path("run.yaml").write_text(
        "data: {_target_: lit_mlfund.datamodules.TableDataModule, path: gone.csv, target: label, exclude: [q]}"
    )
    first_look_at_run(folder, "t.csv", labelled=False)
    with pytest.raises(DataError, match="no column 'label'"):
        first_look_at_run(folder, "t.csv", labelled=True)
    with pytest.raises(DataError, match=r"gone\.csv: no such file"):
        first_look_at_run(folder)
    Path("provenance.json").write_text(
        '{"data": {"columns": {"numeric": ["a", "z"], "boolean": [], "categorical": {"c": 3}, "date": []}}}'
    )
    with pytest.raises(DataError, match=r"no column 'z'; .*no column 'c'"):
        first_look_at_run(folder, "t.csv", labelled=False)


def test_columns_that_a_prediction_needs_too(folder: Path) -> None:
    Path("run.yaml").write_text(
        "data: {_target_: lit_mlfund.datamodules.TextDataModule, path: t.csv, text: words, target: label}"
    )
    with pytest.raises(DataError, match=r"t\.csv: no column 'words'; there are"):
        first_look_at_run(folder, "t.csv", labelled=False)
    with pytest.raises(DataError, match=r"no column 'words'; .*; no column 'label'"):
        first_look_at_run(folder, "t.csv", labelled=True)


@pytest.mark.parametrize(
    "words",
    [
        ["train", "task=binary", "data=table", "data.path=gone.csv", "data.target=y"],
        ["train", "task=binary", "data=table", "data.path=t.parquet", "data.target=yy"],
        ["train", "run=."],
        ["evaluate", "run=.", "data.path=t.parquet"],
        ["predict", "run=.", "data.path=junk.parquet"],
    ],
)
def test_torch_is_not_imported(folder: Path, words: list[str]) -> None:
    Path("run.yaml").write_text(
        "data: {_target_: lit_mlfund.datamodules.TableDataModule, path: gone.csv, target: label}"
    )
    Path("checkpoints").mkdir()
    Path("checkpoints/best.ckpt").touch()
    code = (
        "import sys\nfrom lit_mlfund.cli import main\n"
        "assert main(sys.argv[1:]) == 2\nassert 'torch' not in sys.modules"
    )
    ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("\n") == 1


GROUPS = {
    "table": ("task=binary", "data.target=y"),
    "text": ("task=binary", "data.text=a", "data.target=y"),
    "interactions": ("task=retrieval", "data.user=a", "data.item=b"),
    "images": ("task=binary", "data.target=y", "data.image=a"),
    "letor": ("task=ranking",),
    "text_lm": ("task=multiclass",),
}
KINDS = ("csv", "tsv", "csv.gz", "parquet", "arrow", "feather", "ipc", "txt")


def test_every_group_refuses_wrong_files_without_torch(folder: Path) -> None:
    """In one process, as the imports of each would take most of the time."""
    Path("empty.txt").touch()
    Path("latin.txt").write_bytes(b"caf\xe9 " * 100)
    commands = [
        ["train", *options, f"data={group}", f"data.path=gone.{kind}"]
        for group, options in GROUPS.items()
        for kind in KINDS
    ]
    commands += [
        ["train", *options, f"data={group}", "data.path=empty.txt"]
        for group, options in GROUPS.items()
        if group != "images"
    ]
    commands += [
        [
            "train",
            *(word.replace("=a", "=aa") for word in GROUPS[group]),
            f"data={group}",
            f"data.path=t.{kind}",
        ]
        for group in ("text", "interactions", "images")
        for kind in ("csv", "csv.gz", "parquet", "arrow")
    ]
    commands += [["train", *GROUPS["text_lm"], "data=text_lm", "data.path=latin.txt"]]
    code = (
        "import json, sys\nfrom lit_mlfund.cli import main\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    assert main(words) == 2, words\n    assert 'torch' not in sys.modules, words"
    )
    ended = subprocess.run([sys.executable, "-c", code, json.dumps(commands)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stderr.splitlines()
    assert len(lines) == len(commands) and all(line.startswith("mlfund: ") for line in lines)
    for words, line in zip(commands, lines):
        name = words[-1].removeprefix("data.path=")
        assert name in line, line
