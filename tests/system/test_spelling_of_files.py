"""How text files spell numbers, dates and missing cells: the values that come out, in training and for new files."""

from __future__ import annotations

import datetime
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lit_mlfund.data.reading import scan
from tests.system.conftest import Command

QUICK = ("references=false", "logger=none", "trainer.max_epochs=1")
SIZE = 400
TABLE = ("train", "data=table", "data.path=x.csv")


def values() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    amount = np.round(generator.uniform(1, 9999, SIZE), 2)
    return {"amount": amount, "y": np.round(amount / 1000 + generator.normal(size=SIZE), 3)}


def write(
    columns: dict[str, Any], path: str = "x.csv", separator: str = ",", encoding: str = "utf-8"
) -> None:
    """Write text as it is given; cells that hold the separator are quoted."""
    rows = [list(columns), *zip(*columns.values())]
    quoted = [
        separator.join(f'"{cell}"' if separator in str(cell) else str(cell) for cell in row) for row in rows
    ]
    content = ("\n".join(quoted) + "\n").encode(encoding)
    Path(path).write_bytes(gzip.compress(content) if path.endswith(".gz") else content)


def english(number: float) -> str:
    return f"{number:,.2f}"


def continental(number: float) -> str:
    return f"{number:,.2f}".translate(str.maketrans(",.", ".,"))


def provenance(run: str) -> dict[str, Any]:
    return json.loads((Path(run) / "provenance.json").read_text())["data"]


def predicted(mlfund: Command, run: str, path: str) -> pl.DataFrame:
    outcome = mlfund("predict", f"run={run}", f"data.path={path}", "output=out.parquet")
    assert outcome.code == 0, outcome.err
    return pl.read_parquet("out.parquet")


@pytest.fixture(params=["memory", "cache and pieces"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Read tables as a whole, or on the disk and new files in pieces."""
    if request.param == "memory":
        return "data.cache=null"
    monkeypatch.setattr(scan, "LARGE", 0)
    return "data.cache=caches"


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_codes_with_leading_zeros(mlfund: Command, way: str, ending: str) -> None:
    generator = np.random.default_rng(0)
    code = generator.choice(["01234", "10115", "99999"], SIZE)
    y = np.round(5.0 * (code == "01234") + generator.normal(size=SIZE), 3)
    columns = {"zip": code, "amount": values()["amount"], "when": [f"{n:03}" for n in range(SIZE)], "y": y}
    write(columns, f"x.{ending}")
    train = (
        "train",
        "data=table",
        f"data.path=x.{ending}",
        "task=regression",
        "data.target=y",
        "data.time=when",
        way,
    )
    trained = mlfund(*train, *QUICK)
    assert trained.code == 0, trained.err
    run = trained.json["run"]
    data = provenance(run)
    assert data["columns"]["categorical"] == {"zip": 3} and data["columns"]["numeric"] == ["amount"]
    note = "zip: codes such as 01234, not numbers; data.decimal=point makes numbers of them"
    assert note in data["notes"] and "zip: codes such as 01234" in trained.err
    assert "when" in data["columns"]["dropped"]  # the time of a split stays a number
    # without a leading zero, a new file is read as text, too; with one, it is the same code
    for cells in (["99999", "10115"], ["01234", "99999"]):
        write({"zip": cells, "amount": [1, 2]}, f"new.{ending}")
        said = mlfund("predict", f"run={run}", f"data.path=new.{ending}", "output=out.csv")
        assert said.code == 0, said.err
        assert said.json["notes"]["unknown_categories"] == 0
        assert Path("out.csv").read_text().splitlines()[1].startswith(cells[0] + ",")

    numbers = mlfund(*train, "data.decimal=point", *QUICK)
    assert numbers.code == 0, numbers.err
    assert provenance(numbers.json["run"])["columns"]["numeric"] == ["zip", "amount"]


@pytest.mark.parametrize("form", ["thousands", "decimal comma", "spaces", "apostrophe", "all thousands"])
def test_numbers(mlfund: Command, way: str, form: str) -> None:
    found = values()
    amount, y = found["amount"], found["y"]
    spell = {
        "thousands": english,
        "decimal comma": continental,
        "spaces": lambda number: english(number).replace(",", "\u00a0"),
        "apostrophe": lambda number: english(number).replace(",", "'"),
        "all thousands": lambda number: f"{number * 1000:,.0f}",
    }[form]
    amount = np.round(amount * 1000) if form == "all thousands" else amount
    comma = form == "decimal comma"
    target = [str(number).replace(".", ",") if comma else str(number) for number in y]
    write(
        {"amount": [spell(number) for number in found["amount"]], "y": target},
        separator=";" if comma else ",",
    )
    said = ("data.thousands=comma",) if form == "all thousands" else ()
    trained = mlfund(*TABLE, "task=regression", "data.target=y", way, *said, *QUICK)
    assert trained.code == 0, trained.err
    data = provenance(trained.json["run"])
    assert data["columns"]["numeric"] == ["amount"] and not data["columns"]["dropped"]
    assert any(note.startswith("amount: numbers such as") for note in data["notes"])
    assert data["target"]["mean"] == pytest.approx(y.mean(), abs=0.3)
    # few rows of the new file tell less than the training file did, and are read as it was
    write({"amount": [spell(number) for number in found["amount"][:3]]}, "new.csv", ";" if comma else ",")
    assert predicted(mlfund, trained.json["run"], "new.csv")["amount"].to_list() == pytest.approx(
        amount[:3].tolist()
    )


def test_one_to_three_digits_behind_a_comma(mlfund: Command) -> None:
    y = values()["y"]
    write({"amount": [f"{n % 9 + 1},{n % 899 + 100}" for n in range(SIZE)], "y": (10 * y).astype(int)})
    asked = mlfund(*TABLE, "task=regression", "data.target=y", *QUICK)
    assert asked.code == 2
    assert "x.csv: column 'amount': '1,100' may be 1100 or 1.1; say data.thousands=comma" in asked.err
    for option, number in (("data.thousands=comma", 1100), ("data.decimal=comma", 1.1)):
        trained = mlfund(*TABLE, "task=regression", "data.target=y", option, *QUICK)
        assert trained.code == 0, trained.err
        assert predicted(mlfund, trained.json["run"], "x.csv")["amount"][0] == number


def test_points_between_thousands(mlfund: Command, way: str) -> None:
    """To a reader of English, 1.399 is a number between 1 and 2; a decimal comma elsewhere tells better."""
    y = values()["y"]
    write(
        {
            "people": [f"{n % 9 + 1}.{n % 899 + 100}" for n in range(SIZE)],
            "y": [f"{v}".replace(".", ",") for v in y],
        },
        separator=";",
    )
    trained = mlfund(*TABLE, "task=regression", "data.target=y", way, *QUICK)
    assert trained.code == 0, trained.err
    Path("new.csv").write_text("people;z\n1.399;0\n")
    assert predicted(mlfund, trained.json["run"], "new.csv")["people"].to_list() == [1399]


@pytest.mark.parametrize(
    ("form", "short"),
    [
        ("%m/%d/%Y", False), ("%d/%m/%Y", False), ("%d.%m.%Y", False), ("%d-%m-%Y", False), ("%m/%d/%y", True),
        ("%d.%m.%y", True), ("%d-%b-%Y", False), ("%d/%m/%Y %H:%M", False), ("%B %d, %Y", False), ("%Y%m%d", False),
    ],
)  # fmt: skip
def test_dates(mlfund: Command, form: str, short: bool) -> None:
    start = datetime.datetime(2019, 1, 1, 7, 30)
    days = [start + datetime.timedelta(days=n) for n in range(SIZE)]
    write({"day": [day.strftime(form) for day in days], "a": values()["amount"], "y": np.arange(SIZE) / 100})
    trained = mlfund(*TABLE, "task=regression", "data.target=y", "data.time=day", *QUICK)
    assert trained.code == 0, trained.err
    run = trained.json["run"]
    assert provenance(run)["columns"]["date"] == ["day"]
    rows = pl.read_parquet(Path(run) / "predictions" / "test.parquet")["row"]
    assert rows.sort().to_list() == list(range(340, 400))  # the latest ones
    # 3 February alone is no longer certain by itself
    day = datetime.datetime(2020, 2, 3, 7, 30)
    write({"day": [day.strftime(form)], "a": [5]}, "new.csv")
    said = predicted(mlfund, run, "new.csv")["day"][0]
    assert (said.year, said.month, said.day) == (2020, 2, 3)


def test_days_that_may_be_months(mlfund: Command, way: str) -> None:
    dates = [f"{n // 40 % 12 + 1:02}/{n // 10 % 4 * 3 + 1:02}/2021" for n in range(480)]
    write({"sold_on": dates, "y": np.arange(480) / 10, "z": np.arange(480) % 7})
    asked = mlfund(*TABLE, "task=regression", "data.target=y", "data.time=sold_on", way, *QUICK)
    assert asked.code == 2 and "x.csv: column 'sold_on'" in asked.err
    assert "data.date_format='%d/%m/%Y' or '%m/%d/%Y'" in asked.err
    left_out = mlfund(*TABLE, "task=regression", "data.target=y", "data.exclude=[sold_on]", way, *QUICK)
    assert left_out.code == 0, left_out.err
    trained = mlfund(
        *TABLE, "task=regression", "data.target=y", "data.time=sold_on", "data.date_format=%m/%d/%Y", way, *QUICK
    )  # fmt: skip
    assert trained.code == 0, trained.err
    rows = pl.read_parquet(Path(trained.json["run"]) / "predictions" / "test.parquet")["row"]
    assert rows.min() >= 400  # November and December
    write({"sold_on": ["02/03/2021"], "z": [1]}, "new.csv")
    assert predicted(mlfund, trained.json["run"], "new.csv")["sold_on"].to_list() == [
        datetime.date(2021, 2, 3)
    ]
    write({"sold_on": ["02/03/2021", "25/03/2021"], "z": [1, 2]}, "new.csv")
    other = mlfund("predict", f"run={trained.json['run']}", "data.path=new.csv", "output=no.csv")
    assert other.code == 2 and "'25/03/2021' is not of the form %m/%d/%Y: row 2" in other.err
    assert not Path("no.csv").exists()


def test_dates_of_several_forms_are_text(mlfund: Command, way: str) -> None:
    days = ["01/01/2020" if n % 2 else "2020-01-02" for n in range(SIZE)]
    write({"a": values()["amount"], "d": days, "y": values()["y"]})
    excluded = mlfund(*TABLE, "task=regression", "data.target=y", "data.exclude=[d]", way, *QUICK)
    assert excluded.code == 0, excluded.err
    trained = mlfund(*TABLE, "task=regression", "data.target=y", way, *QUICK)
    assert trained.code == 0, trained.err
    data = provenance(trained.json["run"])
    assert data["columns"]["categorical"] == {"d": 2}
    assert any(note.startswith("d: text, as not all of its dates") for note in data["notes"])


def test_missing_markers(mlfund: Command, way: str) -> None:
    amount = ["-" if n % 9 == 0 else str(number) for n, number in enumerate(values()["amount"])]
    write({"a": amount, "z": values()["y"], "y": values()["y"]})
    trained = mlfund(*TABLE, "task=regression", "data.target=y", way, *QUICK)
    assert trained.code == 0, trained.err
    data = provenance(trained.json["run"])
    assert sum(cells["a"] for cells in data["imputed_cells"].values()) == 45
    assert "a: numbers, missing where the cell is '-' (45 cells)" in data["notes"]
    write({"a": ["1.5", "-", "--", "2"], "z": [1, "-", 3, 4]}, "new.csv")
    told = mlfund("predict", f"run={trained.json['run']}", "data.path=new.csv", "output=out.csv")
    assert told.code == 0, told.err
    assert told.json["notes"] == {
        "unknown_categories": 0, "imputed_cells": 3, "imputed_cells.a": 2, "imputed_cells.z": 1,
    }  # fmt: skip
    words = ["gone" if n % 9 == 0 else str(number) for n, number in enumerate(values()["amount"])]
    write({"a": words, "y": values()["y"]})
    asked = mlfund(*TABLE, "task=regression", "data.target=y", way, *QUICK)
    assert asked.code == 2 and "if 'gone' means missing, data.missing=['gone']" in asked.err
    trained = mlfund(*TABLE, "task=regression", "data.target=y", "data.missing=[gone]", way, *QUICK)
    assert trained.code == 0, trained.err
    assert sum(cells["a"] for cells in provenance(trained.json["run"])["imputed_cells"].values()) == 45


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_encodings(mlfund: Command, way: str, name: str) -> None:
    towns = ["Zürich" if n % 2 else "Köln" for n in range(SIZE)]
    table = ("train", "data=table", f"data.path={name}", "task=regression", "data.target=y", way)
    columns = {"ort": towns, "a": values()["amount"], "y": values()["y"]}
    write(columns, name, encoding="latin-1")
    asked = mlfund(*table, *QUICK)
    assert asked.code == 2
    assert f"{name}: line 2: byte 0xf6 is not valid UTF-8; say data.encoding=cp1252" in asked.err
    trained = mlfund(*table, "data.encoding=latin-1", *QUICK)
    assert trained.code == 0, trained.err
    write({"ort": ["Zürich", "Bern"], "a": [1, 2]}, "new.csv", encoding="latin-1")
    told = mlfund("predict", f"run={trained.json['run']}", "data.path=new.csv", "output=out.parquet")
    assert told.code == 0, told.err
    assert told.json["notes"]["unknown_categories"] == 1
    assert pl.read_parquet("out.parquet")["ort"].to_list() == ["Zürich", "Bern"]
    write(columns, name, encoding="utf-16")
    recognised = mlfund(*table, *QUICK)
    assert recognised.code == 0, recognised.err
    assert "encoding: utf-16" in provenance(recognised.json["run"])["notes"]
    assert mlfund(*table, "data.encoding=utf-9", *QUICK).code == 2


def test_header_and_separator(mlfund: Command, way: str) -> None:
    def lines(head: str, size: int = SIZE) -> None:
        rows = [f"{n % 7 + 2}.5;{n % 2}" for n in range(size)]
        Path("x.csv").write_text(head + "\n".join(rows) + "\n")

    table = (*TABLE, "task=binary", way)
    lines('"size, in cm, or so";"y"\n')
    quoted = mlfund(*table, "data.target=y", *QUICK)
    assert quoted.code == 0, quoted.err
    assert provenance(quoted.json["run"])["columns"]["numeric"] == ["size, in cm, or so"]

    lines("A report, of sizes\n\nsize;y\n")
    titled = mlfund(*table, "data.target=y", *QUICK)
    assert titled.code == 0, titled.err
    data = provenance(titled.json["run"])
    assert sum(data["rows"].values()) == SIZE
    assert "2 title lines before the header left out, such as 'A report, of sizes'" in data["notes"]
    assert mlfund(*table, "data.target=y", "data.header=3", *QUICK).code == 0

    lines("")
    bare = mlfund(*table, "data.target=column_1", *QUICK)
    assert bare.code == 0, bare.err
    data = provenance(bare.json["run"])
    assert sum(data["rows"].values()) == SIZE and data["columns"]["numeric"] == ["column_0"]
    Path("new.csv").write_text("1;2\n3;4\n")  # alone, these numbers might be names
    assert predicted(mlfund, bare.json["run"], "new.csv")["column_0"].to_list() == [1, 3]

    Path("x.csv").write_text("size|y\n" + "".join(f"{n % 7},{n % 2}|{n % 2}\n" for n in range(SIZE)))
    bars = mlfund(*table, "data.target=y", "data.separator=pipe", "data.decimal=comma", *QUICK)
    assert bars.code == 0, bars.err
    assert provenance(bars.json["run"])["columns"]["numeric"] == ["size"]


def test_blank_last_lines(mlfund: Command, way: str) -> None:
    text = "a,b,y\n" + "".join(f"{n % 7}.5,{n % 3},{n % 2}\n" for n in range(SIZE))
    for end in ("\n\n", " \n", ",,\n\n", "\r\n\r\n"):
        Path("x.csv").write_text(text + end)
        trained = mlfund(*TABLE, "task=binary", "data.target=y", way, *QUICK)
        assert trained.code == 0, trained.err
        assert sum(provenance(trained.json["run"])["rows"].values()) == SIZE
        assert predicted(mlfund, trained.json["run"], "x.csv").height == SIZE
    Path("new.csv").write_text("a,b\n1,2\n\n3,4\nNA,NA\n")  # neither in the middle, nor of missing cells
    assert predicted(mlfund, trained.json["run"], "new.csv").height == 4


def test_rows_without_a_target(mlfund: Command, way: str) -> None:
    found = values()
    y = ["" if n % 50 == 0 else number for n, number in enumerate(found["y"])]
    write({"a": found["amount"], "y": y})
    asked = mlfund(*TABLE, "task=regression", "data.target=y", way, *QUICK)
    assert asked.code == 2
    assert "column 'y': the target is missing: rows 1, 51, 101, 151, 201, … (8 in all)" in asked.err
    assert "data.missing_target=drop" in asked.err
    trained = mlfund(*TABLE, "task=regression", "data.target=y", way, "data.missing_target=drop", *QUICK)
    assert trained.code == 0, trained.err
    data = provenance(trained.json["run"])
    assert sum(data["rows"].values()) == SIZE - 8
    assert any("8 without a target left out" in note for note in data["notes"])
    test = pl.read_parquet(Path(trained.json["run"]) / "predictions" / "test.parquet")
    assert test["target"].to_list() == pytest.approx(found["y"][test["row"].to_numpy()].tolist(), abs=1e-5)
    measured = mlfund("evaluate", f"run={trained.json['run']}", "data.path=x.csv")
    assert measured.code == 0, measured.err
    assert measured.json["rows"] == SIZE - 8 and measured.json["notes"]["rows_without_target"] == 8
    assert predicted(mlfund, trained.json["run"], "x.csv").height == SIZE
    write({"a": [1, 2], "y": ["", ""]}, "none.csv")
    nothing = mlfund("evaluate", f"run={trained.json['run']}", "data.path=none.csv")
    assert nothing.code == 2 and "column 'y'" in nothing.err


def test_rows_are_in_the_same_split_in_memory_and_on_the_disk(mlfund: Command) -> None:
    y = ["" if n % 13 == 0 else n % 2 for n in range(SIZE)]
    days = [f"{n % 28 + 1}.{n % 12 + 1}.2020" for n in range(SIZE)]
    write({"a": values()["amount"], "u": [n % 40 for n in range(SIZE)], "d": days, "y": y})
    for split in ((), ("data.time=d",), ("data.group=u",)):
        rows = []
        for way in ("null", "caches"):
            trained = mlfund(
                *TABLE, "task=binary", "data.target=y", "data.missing_target=drop", f"data.cache={way}", *split, *QUICK
            )  # fmt: skip
            assert trained.code == 0, trained.err
            rows.append(pl.read_parquet(Path(trained.json["run"]) / "predictions" / "test.parquet")["row"])
        assert rows[0].sort().equals(rows[1].sort())


def test_labels(mlfund: Command, way: str) -> None:
    a = values()["amount"]
    write({"a": a, "y": np.where(a > 5000, 2, 1)})
    asked = mlfund(*TABLE, "task=binary", "data.target=y", way, *QUICK)
    assert asked.code == 2 and "data.positive=2" in asked.err
    for positive, classes in (("2", {"1", "2"}), ("1", {"2", "1"})):
        trained = mlfund(*TABLE, "task=binary", "data.target=y", f"data.positive={positive}", way, *QUICK)
        assert trained.code == 0, trained.err
        told = provenance(trained.json["run"])["target"]["classes"]
        assert list(told)[1] == positive and set(told) == classes
    write({"a": a, "y": np.where(a > 5000, "None", np.where(a > 2000, "NA", "mild"))})
    asked = mlfund(*TABLE, "task=multiclass", "data.target=y", way, *QUICK)
    assert asked.code == 2 and "data.missing=[] makes labels of NA, None" in asked.err
    trained = mlfund(*TABLE, "task=multiclass", "data.target=y", "data.missing=[]", way, *QUICK)
    assert trained.code == 0, trained.err
    assert set(provenance(trained.json["run"])["target"]["classes"]) == {"None", "NA", "mild"}


def test_row_numbers_and_huge_integers(mlfund: Command, way: str) -> None:
    found = values()
    huge = [2**62 + n for n in range(SIZE)]
    write({"": range(SIZE), "a": found["amount"], "id": huge, "y": found["y"]})
    trained = mlfund(*TABLE, "task=regression", "data.target=y", way, *QUICK)
    assert trained.code == 0, trained.err
    columns = provenance(trained.json["run"])["columns"]
    assert columns["numeric"] == ["a"]
    assert columns["dropped"][""] == "row numbers"
    assert columns["dropped"]["id"].startswith("whole numbers too large to differ")
    write({"a": [1, 2]}, "new.csv")
    assert predicted(mlfund, trained.json["run"], "new.csv").height == 2


def test_texts(mlfund: Command) -> None:
    rows = [f"{['good fine', 'bad poor'][n % 2]} {n};{'1,5' if n % 2 else '2,25'}" for n in range(SIZE)]
    Path("x.csv").write_text("text;y\n" + "\n".join(rows) + "\n;\n")
    asked = ("train", "task=regression", "data=text", "data.path=x.csv", "data.text=text", "data.target=y")
    trained = mlfund(*asked, *QUICK)
    assert trained.code == 0, trained.err
    assert provenance(trained.json["run"])["target"]["mean"] == pytest.approx(1.875, abs=0.1)
    Path("x.csv").write_bytes(("texte;y\n" + "\n".join(f"é{n};{n}.5" for n in range(60))).encode("cp1252"))
    assert "data.encoding=cp1252" in mlfund(*asked, *QUICK).err
    french = mlfund(
        *asked[:4], "data.text=texte", "data.target=y", "data.encoding=cp1252", "data.missing_target=drop", *QUICK
    )  # fmt: skip
    assert french.code == 0, french.err


def test_interactions(mlfund: Command, interactions: Path) -> None:
    takes = pl.read_csv(interactions)
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(days=n) for n in takes["time"]]
    late = takes.with_columns(time=pl.Series([day.strftime("%m/%d/%Y") for day in days]))
    late.write_csv("takes.csv", separator=";")
    items = takes.select("item").unique(maintain_order=True)
    prices = [f"{1000 + n},5" for n in range(items.height)]
    items.with_columns(price=pl.Series(prices)).write_csv("items.csv", separator=";")
    trained = mlfund(
        "train", "task=retrieval", "data=interactions", "data.path=takes.csv", "data.user=user", "data.item=item",
        "data.time=time", "data.items_path=items.csv", *QUICK,
    )  # fmt: skip
    assert trained.code == 0, trained.err
    data = provenance(trained.json["run"])
    assert data["columns"]["item"]["numeric"] == ["price"]
    assert "time: dates of the form %m/%d/%Y" in data["notes"]
    Path("new.csv").write_text("user;item;time\nu1;i1;02/03/2024\n")
    told = mlfund("evaluate", f"run={trained.json['run']}", "data.path=new.csv")
    assert told.code == 0, told.err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("data.decimal=dash", "data.decimal must be one of comma, point"),
        ("data.header=-1", "data.header must be the number of a line"),
        ("data.date_format={nowhere: '%Y'}", "x.csv: data.date_format: no column 'nowhere'"),
        ("data.date_format={a: '%Y'}", "column 'a': not all cells are of the form data.date_format='%Y'"),
        ("data.missing_target=skip", "data.missing_target"),
    ],
)
def test_wrong_options(mlfund: Command, option: str, message: str) -> None:
    write({"a": [f"w{n % 3}" for n in range(SIZE)], "y": values()["y"]})
    outcome = mlfund(*TABLE, "task=regression", "data.target=y", option, *QUICK)
    assert outcome.code == 2 and message in outcome.err
    assert not Path("runs").exists()
