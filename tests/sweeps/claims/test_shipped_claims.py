"""Every claim that is shipped is one that its own sweep can decide."""

from __future__ import annotations

from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from lit_mlfund.config.catalog import catalog
from lit_mlfund.config.compose import Composer
from lit_mlfund.sweeps.claims.expectations import Expectation
from lit_mlfund.sweeps.claims.records import Evidence, Record
from lit_mlfund.sweeps.claims.report import claim_of

CLAIMS = sorted(name for name in catalog().groups["experiment"] if name.startswith("claim_"))


def swept(parameters: dict[str, Any]) -> dict[str, list[str]]:
    parsed = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in parameters.items()])
    return {
        override.get_key_element(): [str(value) for value in override.sweep_string_iterator()]
        if override.is_sweep_override()
        else [str(override.value())]
        for override in parsed
    }


@pytest.mark.parametrize("name", CLAIMS)
def test_what_a_claim_speaks_of_is_what_it_sweeps(name: str) -> None:
    composed = Composer().checked([f"experiment={name}"])
    claim = claim_of(composed.config)
    levels = swept(composed.hydra.sweeper.params)
    assert composed.config["name"] == name
    assert len(levels["seed"]) >= 2 or all(line.startswith("spread of") for line in claim.expect)
    assert set(claim.compare) == levels.keys() - {"seed"}
    runs: list[dict[str, str]] = [{}]
    for key, values in levels.items():
        runs = [run | {key: value} for run in runs for value in values]
    evidence = Evidence([Record(run, failed=False) for run in runs], claim.compare, claim.choose)
    for line in claim.expect:
        expectation = Expectation.parse(line, claim.compare)
        for side in (expectation.left, expectation.right) if not expectation.spread else ():
            if "=" in side:
                wanted = dict(part.partition("=")[::2] for part in side.split())
                assert claim.choose not in wanted
                assert evidence.matching(wanted), f"{side}: no run"
    assert claim.panels
    for panel in claim.panels:
        assert getattr(panel, "x", claim.compare[0]) in claim.compare
        assert evidence.matching(getattr(panel, "only", {}))
