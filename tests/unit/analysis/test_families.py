"""Families of tests: q-values are adjusted over exactly the tests that a statement is about."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import false_discovery_control
from typer.testing import CliRunner

from tests.builders.preferences import stage_of
from tests.unit.analysis.test_significance import text
from txray import Comparison, Preferences, compare, timeline
from txray.analysis import one_family
from txray.analysis.findings import Findings
from txray.analysis.significance.families import FAMILIES, family_q_values
from txray.analysis.significance.permutation import Permutations
from txray.analysis.test_facts import family_words
from txray.cli.main import app
from txray.errors import UnknownNameError, UsageError
from txray.plots.frame import caption_of
from txray.preferences import Stage
from txray.web.report.page import _consecutive

QUICK: dict[str, Any] = {"permutations": 400}


@cache
def sides() -> tuple[Preferences, ...]:
    """Four stages: 20 of 60 neurons change between the first two, nothing changes after that."""
    return tuple(text(60, 12_000, seed, moved=20 * (seed > 0)) for seed in range(4))


@cache
def comparisons() -> tuple[Comparison, ...]:
    stages = sides()
    return tuple(compare(stages[i], stages[i + 1], **QUICK) for i in range(3))


def by_hand(p_values: list[float]) -> list[float]:
    """Benjamini-Hochberg as written in 1995: the smallest p * m / rank of this rank or a higher one."""
    m, ranked = len(p_values), sorted(p_values)
    adjusted = [min(1.0, min(ranked[k] * m / (k + 1) for k in range(i, m))) for i in range(m)]
    return [adjusted[ranked.index(p)] for p in p_values]


def test_families_are_adjusted_over_all_of_their_tests() -> None:
    random = np.random.default_rng(0)
    parts = [random.random(n) ** 3 for n in (5, 0, 17, 1)]
    parts[2][3] = np.nan
    adjusted = family_q_values(parts)
    assert [len(part) for part in adjusted] == [5, 0, 17, 1]
    together, q = np.concatenate(parts), np.concatenate(adjusted)
    known = np.isfinite(together)
    assert np.isnan(q[~known]).all()
    np.testing.assert_allclose(q[known], by_hand(together[known].tolist()))
    np.testing.assert_allclose(q[known], false_discovery_control(together[known]))
    assert family_q_values([]) == []


def test_one_family_adjusts_over_all_comparisons() -> None:
    before, after = comparisons(), one_family(comparisons())
    for p, q in (("p_value", "q_value"), ("rate_p_value", "rate_q_value")):
        values = np.concatenate([side.neurons[p].drop_nulls().to_numpy() for side in before])
        adjusted = np.concatenate([side.neurons[q].drop_nulls().to_numpy() for side in after])
        np.testing.assert_allclose(adjusted, by_hand(values.tolist()))
    sizes = [comparison.summary["family_size"] for comparison in before]
    assert sizes == [comparison.summary["tested"] for comparison in before]
    for comparison in after:
        assert comparison.summary["family"] == "all"
        assert comparison.summary["family_size"] == sum(sizes)
        assert comparison.summary["changed"] == (comparison.neurons["q_value"] <= 0.05).sum()
        assert f"{sum(sizes):,} tests" in family_words(comparison.summary)
    assert family_words(before[0].summary) == f"5% FDR over the {sizes[0]} tested neurons of layer rnn"
    # Where much changed, a larger family of others makes it harder; nothing else is touched.
    assert (after[0].neurons["q_value"] >= before[0].neurons["q_value"]).all()
    assert after[0].neurons["p_value"].equals(before[0].neurons["p_value"])


def test_states_of_one_family_need_its_q_values() -> None:
    silent = compare(text(60, 12_000, 1), text(60, 12_000, 2, silent=40), **QUICK)
    still = [compare(text(60, 12_000, 2 * i), text(60, 12_000, 2 * i + 1), **QUICK) for i in range(2, 4)]
    together = one_family([silent, *still])[0].neurons
    confident = pl.col("confident_state") == "avoided"
    needed = (pl.col("rate_q_value") <= 0.05) & (pl.col("absence_p_value") <= 0.05)
    assert together.filter(confident).height > 0
    assert together.filter(confident & ~needed).height == 0
    # Significant alone (q = 0.04), not beside two comparisons of as many neurons without a change (q = 0.12).
    close = replace(silent, neurons=silent.neurons.with_columns(rate_p_value=pl.lit(0.04)))
    assert one_family([close])[0].neurons.filter(confident).height > 0
    assert one_family([close, *still])[0].neurons.filter(confident).height == 0


def test_untested_comparisons_stay_and_other_rates_are_refused() -> None:
    untested = compare(*sides()[:2], permutations=0)
    tested = comparisons()[0]
    first, second = one_family([untested, tested])
    assert first is untested
    assert second.neurons["q_value"].equals(tested.neurons["q_value"])
    assert one_family([]) == []
    with pytest.raises(UsageError, match=r"0\.05, 0\.1"):
        one_family([tested, compare(*sides()[:2], permutations=200, fdr=0.1)])


def stages() -> list[Stage]:
    return [
        Stage(f"s{i}", {("rnn", "token"): side}, stage_of([(0, 0, "a", 1.0)]).exemplars)
        for i, side in enumerate(sides()[:3])
    ]


def test_a_timeline_controls_each_step_or_all_of_them() -> None:
    each, together = (timeline(stages(), family=family, **QUICK) for family in FAMILIES)
    assert (each.family, together.family) == FAMILIES
    # s0 -> s1, s1 -> s2 and s0 -> s2, which is both since the first and to the last.
    sizes = {step.summary["family_size"] for step in together.steps["rnn"]}
    pairs = together.changes.unique(["before", "after"])
    assert sizes == {pairs["tested"].sum()}
    for step, alone in zip(together.steps["rnn"], each.steps["rnn"], strict=True):
        assert step.summary["family_size"] > alone.summary["family_size"] == alone.summary["tested"]
        assert step.neurons["hellinger_corrected"].equals(alone.neurons["hellinger_corrected"])
    first = together.steps["rnn"][0].summary
    assert first["changed"] >= 10
    rows = together.changes.filter(pl.col("reference") == "previous")
    assert rows["changed"].to_list() == [step.summary["changed"] for step in together.steps["rnn"]]
    with pytest.raises(UnknownNameError, match="every"):
        timeline(stages(), family="every", **QUICK)  # type: ignore[arg-type]
    untested = timeline(stages(), family="all", permutations=0)
    assert untested.fdr is None


def test_permutations_go_on_until_the_family_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []
    run = Permutations.__init__

    def noted(self: Permutations, *arguments: Any, **options: Any) -> None:
        limits.append(options["fdr"])
        run(self, *arguments, **options)

    monkeypatch.setattr(Permutations, "__init__", noted)
    timeline(stages(), family="all", fdr=0.06, permutations=100)
    assert limits == pytest.approx([0.02] * len(limits))


def test_sentences_name_the_family() -> None:
    layers = [
        comparison.neurons.with_columns(layer=pl.lit(name))
        for name, comparison in zip(("a", "b", "c"), comparisons(), strict=True)
    ]
    within = " ".join(Findings.of(pl.concat(layers), 0.05).sentences("s", "t"))
    assert "within each layer" in within
    together = one_family(comparisons())
    layers = [
        comparison.neurons.with_columns(layer=pl.lit(name))
        for name, comparison in zip(("a", "b", "c"), together, strict=True)
    ]
    over = " ".join(Findings.of(pl.concat(layers), 0.05).sentences("s", "t"))
    assert f"over the {together[0].summary['family_size']:,} tests of all layers and steps" in over


def test_report_and_commands_adjust_over_all_comparisons(tmp_path: Path) -> None:
    folders = [str(side.save(tmp_path / side.name)) for side in stages()]
    tests = {"permutations": 100, "min_effect": 0.0, "fdr": 0.05, "seed": 0}
    options = {"feature_type": "token", "weight": "mean"}
    within, together = (_consecutive(stages(), None, tests, options, family) for family in FAMILIES)
    assert [pair.summary["family"] for pair in within] == ["step", "step"]
    total = sum(pair.summary["tested"] for pair in within)
    assert {pair.summary["family_size"] for pair in together} == {total}
    assert f"{total} tests of all layers and steps" in caption_of(together[0])
    assert "tested neurons of layer rnn" in caption_of(within[0])

    runner = CliRunner()
    for family, words in zip(
        FAMILIES, ("over each layer and step", "over all layers and pairs"), strict=True
    ):
        result = runner.invoke(app, ["timeline", *folders, "--family", family, "--permutations", "100"])
        assert result.exit_code == 0, result.output
        assert words in " ".join(result.output.split())
    page = tmp_path / "report.html"
    result = runner.invoke(
        app, ["report", *folders, "-o", str(page), "--family", "all", "--permutations", "100"]
    )
    assert result.exit_code == 0, result.output
    assert page.stat().st_size > 100_000
    result = runner.invoke(app, ["timeline", *folders, "--family", "every"])
    assert result.exit_code == 2
