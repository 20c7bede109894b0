"""A target is met by every seed, and what some seeds lack is told beside the mean of the others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from specdec.simulate import table
from specdec.simulate.rows import Row
from specdec.simulate.targets import Target
from tests.unit.simulate.builders import row

OFF = Target("off", "specdec-live", "mismatch", "seconds_to_disable", 120.0)
COVER = Target("cover", "specdec-live", "mismatch", "gain_interval_coverage_percent", 88.0, at_least=True)


def live(field: str, figures: Sequence[float | None]) -> list[Row]:
    return [row("specdec-live", "mismatch", seed, **{field: figure}) for seed, figure in enumerate(figures)]


@pytest.mark.parametrize(
    ("target", "figures", "met"),
    [
        pytest.param(OFF, [92.0, 95.0], True, id="all in time"),
        pytest.param(OFF, [92.0, 300.0], False, id="late on average"),
        pytest.param(OFF, [92.0] + [None] * 19, False, id="one in time, the others never"),
        pytest.param(OFF, [None, None], False, id="never"),
        pytest.param(OFF, [], None, id="not run"),
        pytest.param(COVER, [90.0, None], True, id="a seed without a prediction has none to miss"),
        pytest.param(COVER, [None], None, id="nothing predicted"),
    ],
)
def test_a_seed_in_which_it_never_happened_is_a_miss(
    target: Target, figures: Sequence[float | None], met: bool | None
) -> None:
    assert target.met(live(target.field, figures)) is met


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ([92.0, 93.0, None], "92.5 (92.0 to 93.0; 2 of 3 seeds)"),
        ([92.0, None], "92.0 (1 of 2 seeds)"),
        ([1.0, 2.0, 3.0, 4.0, 5.0, None], "3.0 ± 2.0 (5 of 6 seeds)"),
        ([92.0, 93.0], "92.5 (92.0 to 93.0)"),
        ([None, None], "-"),
    ],
)
def test_a_figure_says_how_many_seeds_have_it(figures: Sequence[float | None], text: str) -> None:
    assert table.figure(figures).text(1) == text


def test_the_table_says_how_many_seeds_have_it() -> None:
    assert "92 (1 of 3)" in table.render(live("seconds_to_disable", [92.0, None, None]))
