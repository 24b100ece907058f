"""A category whose values do not come back later is left out, in memory and on the disk alike."""

from pathlib import Path

import polars as pl
import pytest
import torch

from lit_mlfund.data.reading import scan
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.datamodules import TableDataModule

SIZE = 200  # rows, of which 140, 30 and 30 are train, val and test
COLUMNS = {
    "all_new": [f"b{n // 10}" for n in range(SIZE)],  # ends at a border of the splits
    "one_in_four_new": ["new" if 140 <= n < 170 and n % 4 == 0 else "ab"[n % 2] for n in range(SIZE)],
    "one_in_ten_new": ["new" if 140 <= n < 170 and n % 10 == 0 else "ab"[n % 2] for n in range(SIZE)],
    # rare in training, a quarter of validation: not unseen
    "rare": ["seldom" if n < 3 or (n >= 140 and n % 4 == 0) else "ab"[n % 2] for n in range(SIZE)],
    "ends_before_test": ["ab"[n % 2] if n < 170 else None for n in range(SIZE)],
    "seldom_there": [
        "ab"[n % 2] if n < 10 else None for n in range(SIZE)
    ],  # 7 % of training: missing later by chance?
    "steady": ["xyz"[n % 3] for n in range(SIZE)],
}
LEFT_OUT = {
    "all_new": "none of its values in training occurs in val or test",
    "one_in_four_new": "27% of the val rows have a value that training does not have",
    "ends_before_test": "none of its values in training occurs in test",
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(scan, "MAX_ROWS", 32)
    frame = pl.DataFrame({"x": [float(n % 7) for n in range(SIZE)], "when": range(SIZE), **COLUMNS})
    frame.with_columns(y=pl.col("x") * 2).write_csv(tmp_path / "x.csv")
    return str(tmp_path / "x.csv")


def module(path: str, cache: str | None, **kwargs: object) -> TableDataModule:
    return TableDataModule(
        path, target="y", task="regression", batch_size=16, time="when", cache=cache, **kwargs
    )


@pytest.mark.parametrize("cached", [False, True])
def test_left_out(path: str, tmp_path: Path, cached: bool) -> None:
    root = str(tmp_path / "caches") if cached else None
    for _ in range(2):  # on the disk: made, then found
        data = module(path, root)
        data.setup()
        assert set(COLUMNS) - set(LEFT_OUT) == set(data.summary["columns"]["categorical"])
        dropped = data.summary["columns"]["dropped"]
        assert {name: dropped[name] for name in LEFT_OUT} == LEFT_OUT
        assert data.spec.inputs["categorical"].names == tuple(n for n in COLUMNS if n not in LEFT_OUT)
        assert data.whole("val").x["categorical"].shape == (30, 4)
        assert LEFT_OUT.keys().isdisjoint(data.summary["unknown_categories"]["val"])

    # the left out columns are not needed later, and a restored module decides nothing anew
    new = str(tmp_path / "new.csv")
    pl.read_csv(path).drop("y", *LEFT_OUT).write_csv(new)
    restored = module(path, root)
    restored.load_state_dict(data.state_dict())
    loader, _ = restored.new_loader(new, need_target=False)
    values = torch.cat([batch.x["categorical"] for batch in loader])
    assert torch.equal(values[:140], data.whole("train").x["categorical"])
    restored.setup()
    assert restored.state_dict() == data.state_dict()


@pytest.mark.parametrize("cached", [False, True])
def test_a_run_that_was_trained_with_the_column_keeps_it(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    root = str(tmp_path / "caches") if cached else None
    with monkeypatch.context() as earlier:
        for place in ("datamodules.frame", "data.disk.cached_table"):
            earlier.setattr(f"lit_mlfund.{place}.novel_categories", lambda *_: {})
        old = module(path, None)
        old.setup()
    assert "all_new" in old.summary["columns"]["categorical"]
    module(path, root).setup()
    data = module(path, root)
    data.load_state_dict(old.state_dict())
    data.setup()
    for split in ("train", "val", "test"):
        assert torch.equal(data.whole(split).x["categorical"], old.whole(split).x["categorical"])


@pytest.mark.parametrize("cached", [False, True])
def test_nothing_remains(path: str, tmp_path: Path, cached: bool) -> None:
    others = [name for name in ("x", *COLUMNS) if name != "all_new"]
    data = module(path, str(tmp_path / "caches") if cached else None, exclude=others)
    with pytest.raises(DataError, match=r"no column can serve as a feature \(.*all_new: none of its values"):
        data.setup()
