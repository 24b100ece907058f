"""Regularization that cannot work is refused before anything is built; the shipped files compose as a list."""

from __future__ import annotations

import pytest

from lit_mlfund.config.compose import Composer

ALONE = "leave one out"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["regularization=[l1,mixup]", "data=digits", "task=multiclass"], []),
        (["regularization=[ema,augment_images,mixup]", "data=mnist5k", "task=multiclass"], []),
        (["regularization=token_masking", "data=language_id", "task=multiclass"], []),
        (["regularization=l2", "task=ranking"], []),
        (["regularization=token_masking", "task=retrieval"], []),
        (
            ["regularization=augment_images"],
            [
                "regularization.augment_images: AugmentImages takes image inputs, "
                "but FlightsLateDataModule has numeric and categorical"
            ],
        ),
        (
            ["regularization=mixup", "data=language_id", "task=multiclass"],
            [
                "regularization.mixup: Mixup takes numeric or image inputs, but LanguageIdDataModule has tokens"
            ],
        ),
        (
            ["regularization=mixup", "task=ranking"],
            [
                "regularization.mixup: Mixup does not fit task=ranking; it is for binary, multiclass and regression"
            ],
        ),
        (
            ["regularization=[l1,ema]"],
            [f"regularization.l1: L1 does not work with regularization=ema; {ALONE}"],
        ),
        (
            ["regularization=[swa,ema]"],
            [f"regularization.ema: EMA does not work with regularization=swa; {ALONE}"],
        ),
        (
            ["regularization=l1", "optim=schedule_free"],
            [f"regularization.l1: L1 does not work with optim=schedule_free; {ALONE}"],
        ),
        (
            ["regularization=swa", "trainer=fsdp"],
            [f"regularization.swa: SWA does not work with trainer.strategy=fsdp; {ALONE}"],
        ),
        (
            ["regularization=l1", "trainer=fsdp"],
            [f"regularization.l1: L1 does not work with trainer.strategy=fsdp; {ALONE}"],
        ),
        (
            ["regularization=mixup", "task=retrieval"],
            [
                "regularization.mixup: Mixup does not fit task=retrieval; it is for binary, multiclass and regression",
                "regularization.mixup: Mixup takes numeric or image inputs, but DocstringsDataModule has tokens",
            ],
        ),
        (
            ["regularization=token_masking", "data=digits", "task=multiclass"],
            ["regularization.token_masking: MaskTokens takes tokens inputs, but DigitsDataModule has image"],
        ),
        (
            ["regularization=[l1,mixpu]"],
            ["regularization: there is no regularization=mixpu; did you mean mixup?"],
        ),
        (
            ["regularization=l1", "regularization.l1.strenght=1"],
            ["regularization.l1.strenght: unknown; did you mean strength?"],
        ),
    ],
)
def test_problems(lines: list[str], expected: list[str]) -> None:
    problems = Composer(None, lines).compose(lines).problems
    assert [problem for problem in problems if problem.startswith("regularization")] == expected
