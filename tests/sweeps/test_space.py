"""What a search varies: read from the configuration and from overrides, and what is contradictory."""

from __future__ import annotations

from typing import Any

import pytest

from lit_mlfund.config.overrides import parse
from lit_mlfund.sweeps.space import Choices, Numbers, read_space, setting


def space(nodes: dict[str, Any], *lines: str) -> tuple[list[Any], list[str]]:
    return read_space(nodes, [parse(line) for line in lines])


def test_both_ways_are_the_same() -> None:
    nodes = {
        "optim.lr": {"low": 1e-4, "high": 1e-1, "log": True},
        "loss": {"choices": ["bce", "hinge"]},
        "model.depth": {"low": 1, "high": 4},
    }
    lines = ("optim.lr=tag(log, interval(1e-4, 1e-1))", "loss=bce,hinge", "model.depth=int(interval(1, 4))")
    expected = [
        Numbers("optim.lr", 1e-4, 1e-1, log=True),
        Choices("loss", ("bce", "hinge")),
        Numbers("model.depth", 1, 4),
    ]
    assert space(nodes) == (expected, [])
    assert space({}, "seed=3", *lines) == (expected, [])
    assert space({key: line.partition("=")[2] for key, line in zip(nodes, lines)}) == (expected, [])


def test_points() -> None:
    assert Numbers("x", 0.0, 0.5, step=0.1).points == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert Numbers("x", 1, 8, step=3).points == [1, 4, 7]
    assert Numbers("x", 1, 3).points == [1, 2, 3]
    assert Numbers("x", 0.0, 1.0).points is None
    assert Numbers("x", 1, 100, log=True).points is None
    ((dimension,), _) = space({}, "x=range(1,8,3)")
    assert dimension.points == [1, 4, 7]


def test_settings_are_overrides() -> None:
    ((dimension,), problems) = space({"x": {"choices": [None, True, 0.5, 3, [64, 32], "relu", {"a": [1]}]}})
    assert problems == []
    assert dimension.values == ("null", "true", "0.5", "3", "[64,32]", "relu", "{a:[1]}")
    expected = [None, True, 0.5, 3, [64, 32], "relu", {"a": [1]}]
    assert [parse(setting("x", value)).value() for value in dimension.values] == expected
    assert setting("x", 1e-05) == "x=1e-05"


@pytest.mark.parametrize(
    ("nodes", "problem"),
    [
        ({}, "sweep.space: is empty; say what is searched, such as"),
        ({"x": {"low": 2, "high": 1}}, "sweep.space.x: low must be below high, got 2 and 1"),
        ({"x": {"low": 0, "high": 1, "log": True}}, "sweep.space.x: a logarithmic scale needs low above 0, got 0"),
        ({"x": {"low": 1, "high": 4, "step": 0}}, "sweep.space.x: step must be above 0, got 0"),
        ({"x": {"low": 1, "high": 4, "step": 1, "log": True}}, "sweep.space.x: log and step exclude each other"),
        ({"x": {"choices": []}}, "sweep.space.x: choices is empty"),
        ({"x": {"choices": [1, 1]}}, "sweep.space.x: a choice is given twice: 1, 1"),
        ({"x": {"choices": [1], "low": 1}}, "sweep.space.x: choices exclude low and high"),
        ({"x": {"low": 1}}, "sweep.space.x: needs low and high, or choices"),
        ({"x": {"lo": 1, "high": 2}}, "sweep.space.x: unknown: lo"),
        ({"x": {"low": "a", "high": 2}}, "sweep.space.x: low: expected a number, got a"),
        ({"x": 3}, "sweep.space.x: expected low and high, or choices, got 3"),
        ({"x": "3"}, "sweep.space.x: expected several values, got 3"),
        ({"seed": [1, 2]}, "seed: is searched, and fixed on the command line; leave one of them out"),
        ({"y": [1, 2]}, "y: is searched in two ways; leave one of them out"),
        ({"runs_dir": ["a", "b"]}, "sweep.space.runs_dir: cannot be searched"),
    ],
)  # fmt: skip
def test_what_is_contradictory(nodes: dict[str, Any], problem: str) -> None:
    lines = ("seed=3", "y=1,2") if nodes and not {"x"} & nodes.keys() else ()
    _, problems = space(nodes, *lines)
    assert [line for line in problems if line.startswith(problem)]
