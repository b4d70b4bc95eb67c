from __future__ import annotations

import pytest

from tests.builders.figures import Text, distribution, mass_of, title_of
from txray.analysis import Comparison, compare
from txray.errors import UsageError
from txray.plots import gained_neurons, gained_table


@pytest.fixture
def comparison(text: Text) -> Comparison:
    return compare(
        text.stage("unsup", seed=0, silent=range(9))[0],
        text.stage("sup", seed=1, silent=[3])[0],
        permutations=0,
    )


def test_rows_are_the_strongest_and_weakest_gained(comparison: Comparison) -> None:
    rows = gained_neurons(comparison, 3, features=5)
    mass = mass_of(comparison.after)
    gained = sorted((n for n in range(9) if n != 3), key=lambda n: -mass[n])
    assert rows["neuron"].to_list() == gained[:3] + gained[-3:]
    assert rows["end"].to_list() == ["strongest"] * 3 + ["weakest"] * 3
    assert rows["mass"].to_list() == pytest.approx([mass[n] for n in rows["neuron"]])
    for neuron, length, features in rows.select("neuron", "length", "features").iter_rows():
        expected = distribution(comparison.after, neuron)
        assert length == len(expected)
        assert features == sorted(expected, key=lambda f: (-expected[f], f))[:5]


@pytest.mark.parametrize(("k", "ends"), [(4, (4, 4)), (5, (5, 3)), (8, (8, 0)), (20, (8, 0))])
def test_no_neuron_stands_twice(comparison: Comparison, k: int, ends: tuple[int, int]) -> None:
    rows = gained_neurons(comparison, k)
    assert rows["neuron"].n_unique() == len(rows) == 8
    assert tuple(rows["end"].to_list().count(end) for end in ("strongest", "weakest")) == ends


def test_the_table_holds_the_same_rows(comparison: Comparison) -> None:
    rows = gained_neurons(comparison, 2)
    (table,) = gained_table(comparison, 2).data
    columns = table.cells["values"]
    assert list(columns[1]) == [str(neuron) for neuron in rows["neuron"]]
    assert list(columns[3]) == [str(length) for length in rows["length"]]
    notes = comparison.after.name_scores.notes
    for cell, neuron, features, length, beyond in zip(
        columns[4], rows["neuron"], rows["features"], rows["length"], rows["distinctive"], strict=True
    ):
        if notes[neuron]:
            assert cell.endswith(f"<br>{notes[neuron]}")
            continue
        ranking, _, outdoing = cell.partition("<br>most distinctive: ")
        words = ranking.replace("<br>", " ").split(", ")
        assert words[: len(features)] == features.to_list()
        assert words[len(features) :] == ([f"... {length - 10} more"] if length > 10 else [])
        assert outdoing.replace("<br>", " ").split(", ") == beyond.to_list()


def test_the_title_tells_their_share_of_the_mass(comparison: Comparison) -> None:
    mass = mass_of(comparison.after)
    share = sum(mass[n] for n in range(9)) / sum(mass)
    assert title_of(gained_table(comparison)).startswith("8 of 40 neurons are gained in sup, with ")
    assert f"{100 * share:.0f}%" in title_of(gained_table(comparison))


def test_nothing_gained_is_said_in_words(text: Text) -> None:
    a = text.stage("a", seed=0)[0]
    comparison = compare(a, text.stage("b", seed=1)[0], permutations=0)
    assert len(gained_neurons(comparison)) == 0
    figure = gained_table(comparison)
    assert title_of(figure) == "No neuron is gained from a to b"
    assert len(figure.data) == 0
    assert any("No neuron is gained" in note.text for note in figure.layout.annotations)


def test_senseless_sizes_are_refused(comparison: Comparison) -> None:
    for wrong in (lambda: gained_neurons(comparison, 0), lambda: gained_table(comparison, 51)):
        with pytest.raises(UsageError, match="k="):
            wrong()
