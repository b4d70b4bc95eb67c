"""Masks in the forward pass: what they change, and that nothing else changes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.builders.recurrent import CELLS, small
from tests.builders.text_models import (
    Packed,
    TextCnn,
    TimeFirst,
    letter_pieces,
    seeded,
    transformer,
    with_mask,
    word_ids,
)
from tests.unit.pruning.oracle import unrolled
from txray import Mask, TextModel, collect, demo_corpus, masked
from txray.errors import CaptureError, ShapeError, UnknownNameError, UsageError
from txray.models import RecurrentModel, classifier
from txray.models.recurrent import Cell
from txray.pruning import compact_model
from txray.pruning.masking import MaskTarget

NEURONS = [5, 1]
IDS = torch.from_numpy(np.random.default_rng(3).integers(0, 11, (4, 12)))
LENGTHS = torch.tensor([12, 9, 12, 5])


def lively(cell: Cell, layers: int, seed: int = 0) -> RecurrentModel:
    """A model whose recurrence matters: its weights are large."""
    model = small(cell, layers=layers, seed=seed)
    with torch.no_grad():
        for name, parameter in model.rnn.named_parameters():
            parameter.mul_(1.7)
            if cell == "rnn-relu" and name.startswith("bias"):
                parameter.copy_(parameter.abs())  # or most neurons are silent as it is
    return model


@pytest.mark.parametrize(("cell", "layers"), list(itertools.product(CELLS, (1, 2))))
def test_ablated_neurons_are_not_seen_by_the_recurrence_at_any_step(cell: Cell, layers: int) -> None:
    model = lively(cell, layers)

    def zero(h: np.ndarray, step: int) -> np.ndarray:
        h[:, NEURONS] = 0
        return h

    inputs = model.embedding(IDS).detach().double().numpy()
    wanted = unrolled(model.rnn, inputs, zero, zero)
    with masked(model, Mask("rnn", NEURONS)):
        outputs, state = model.hidden_states(IDS)
    np.testing.assert_allclose(outputs.detach().numpy(), wanted, atol=1e-6)
    hidden = state[0] if isinstance(state, tuple) else state
    np.testing.assert_allclose(hidden[-1].detach().numpy(), wanted[:, -1], atol=1e-6)
    unmasked = unrolled(model.rnn, inputs, lambda h, step: h)
    others = [n for n in range(7) if n not in NEURONS]
    assert np.abs(wanted - unmasked)[..., others].max() > 1e-3  # the recurrence did see them


@pytest.mark.parametrize(("cell", "layers"), list(itertools.product(CELLS, (1, 2))))
def test_neurons_held_at_their_mean_are_so_at_every_step(cell: Cell, layers: int) -> None:
    model, mean = lively(cell, layers), np.array([0.3, -0.6])

    def hold(h: np.ndarray, step: int) -> np.ndarray:
        h[:, NEURONS] = mean
        return h

    wanted = unrolled(model.rnn, model.embedding(IDS).detach().double().numpy(), hold, hold)
    with masked(model, Mask("rnn", NEURONS, "mean", values=mean)):
        outputs, _ = model.hidden_states(IDS)
    np.testing.assert_allclose(outputs.detach().numpy(), wanted, atol=1e-6)


@pytest.mark.parametrize(("cell", "layers"), list(itertools.product(CELLS, (1, 2))))
def test_resampled_neurons_give_what_was_drawn_and_the_recurrence_sees_that(cell: Cell, layers: int) -> None:
    model = lively(cell, layers)
    values = np.random.default_rng(5).normal(size=(6, 2)).astype(np.float32)
    with masked(model, Mask("rnn", NEURONS, "resample", values=values, seed=2)) as documents:
        documents.keys = np.arange(4).astype(np.uint64)
        outputs, _ = model.hidden_states(IDS)
    drawn = outputs.detach().numpy()[..., NEURONS]
    rows = {tuple(row) for row in values.tolist()}
    assert {tuple(row) for row in drawn.reshape(-1, 2).tolist()} <= rows
    assert len({tuple(row) for row in drawn[:, 0].tolist()}) > 1  # documents differ, and so do steps
    assert len({tuple(row) for row in drawn[0].tolist()}) > 1

    def hold(h: np.ndarray, step: int) -> np.ndarray:
        h[:, NEURONS] = drawn[:, max(step, 0)]
        return h

    wanted = unrolled(model.rnn, model.embedding(IDS).detach().double().numpy(), hold, hold)
    np.testing.assert_allclose(outputs.detach().numpy(), wanted, atol=1e-6)


def test_what_is_drawn_depends_on_the_document_and_the_seed_and_not_on_the_batch() -> None:
    model = lively("lstm", 1)
    values = np.random.default_rng(5).normal(size=(60, 2))

    def outputs(rows: list[int], seed: int = 2) -> np.ndarray:
        with masked(model, Mask("rnn", NEURONS, "resample", values=values, seed=seed)) as documents:
            documents.keys = np.array(rows).astype(np.uint64)
            found, _ = model.hidden_states(IDS[rows])
        return found.detach().numpy()[..., NEURONS]

    together, alone = outputs([0, 1, 2]), outputs([2])
    np.testing.assert_array_equal(together[2:], alone)
    assert not np.array_equal(alone, outputs([2], seed=3))


def test_documents_that_were_not_announced_are_refused() -> None:
    model, values = lively("lstm", 1), np.zeros((3, 2))
    with masked(model, Mask("rnn", NEURONS, "resample", values=values)) as documents:
        documents.keys = np.arange(3).astype(np.uint64)
        with pytest.raises(UsageError, match="reads 4 documents, but the mask has keys of 3"):
            model.hidden_states(IDS)


@pytest.mark.parametrize("cell", CELLS)
def test_a_mask_of_the_final_state_leaves_the_recurrence_alone(cell: Cell) -> None:
    for pooling in ("last", "last+avg+max"):
        model = classifier(lively(cell, 1), pooling)  # type: ignore[arg-type]
        features = model.pool(model.hidden_states(IDS)[0], LENGTHS)
        features[:, NEURONS] = 0
        wanted = model.head(features).squeeze(1)
        with masked(model, Mask("rnn", NEURONS, scope="final-state")):
            outputs, _ = model.hidden_states(IDS)
            found = model(IDS, LENGTHS)
        torch.testing.assert_close(found, wanted)
        assert torch.equal(outputs, model.hidden_states(IDS)[0])
        with masked(model, Mask("rnn", NEURONS)):
            assert not torch.allclose(model(IDS, LENGTHS), wanted, atol=1e-4)


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
@pytest.mark.parametrize("cell", CELLS)
def test_an_empty_mask_changes_no_bit_and_the_model_is_untouched_afterwards(
    cell: Cell, ablation: str
) -> None:
    model = classifier(lively(cell, 2))
    before = {name: each.clone() for name, each in model.state_dict().items()}
    whole = model(IDS, LENGTHS)
    with masked(model, Mask("rnn", [])):
        assert torch.equal(model(IDS, LENGTHS), whole)
    values = {"zero": None, "mean": np.ones(2), "resample": np.ones((3, 2))}[ablation]
    with masked(model, Mask("rnn", NEURONS, ablation, values=values)):  # type: ignore[arg-type]
        assert not torch.equal(model(IDS, LENGTHS), whole)
    assert torch.equal(model(IDS, LENGTHS), whole)
    assert "forward" not in model.rnn.__dict__
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_a_mask_ends_when_its_block_fails() -> None:
    model = lively("lstm", 1)
    whole, _ = model.hidden_states(IDS)
    with pytest.raises(ZeroDivisionError), masked(model, Mask("rnn", NEURONS)):
        raise ZeroDivisionError
    assert torch.equal(model.hidden_states(IDS)[0], whole)


def test_a_layer_has_one_mask_at_a_time() -> None:
    model = lively("lstm", 1)
    whole, _ = model.hidden_states(IDS)
    with masked(model, Mask("rnn", [0])):
        outer, _ = model.hidden_states(IDS)
        with pytest.raises(UsageError, match="already has a mask"), masked(model, Mask("rnn", NEURONS)):
            pass
        assert torch.equal(model.hidden_states(IDS)[0], outer)
    assert torch.equal(model.hidden_states(IDS)[0], whole)


def test_hooks_see_the_masked_layer_once_whenever_they_were_put_there() -> None:
    model = lively("lstm", 1)
    seen: list[Tensor] = []
    model.rnn.register_forward_hook(lambda *call: seen.append(call[2][0]))
    with masked(model, Mask("rnn", NEURONS)):
        model.rnn.register_forward_hook(lambda *call: seen.append(call[2][0]))
        model.hidden_states(IDS)
    assert len(seen) == 2
    assert all((outputs[..., NEURONS] == 0).all() for outputs in seen)


def test_long_texts_carry_a_state_on_and_it_is_masked() -> None:
    for cell in CELLS:
        model = lively(cell, 2)
        for mask in (Mask("rnn", NEURONS), Mask("rnn", NEURONS, "mean", values=np.array([0.3, -0.2]))):
            with masked(model, mask):
                at_once, _ = model.hidden_states(IDS)
                first, state = model.hidden_states(IDS[:, :7])
                second, _ = model.hidden_states(IDS[:, 7:], state)
            torch.testing.assert_close(torch.cat((first, second), dim=1), at_once, atol=1e-6, rtol=0)


def test_a_resampled_state_is_carried_on() -> None:
    model, values = lively("gru", 2), np.array([[0.3, -0.2]])
    with masked(model, Mask("rnn", NEURONS, "resample", values=values)):
        at_once, _ = model.hidden_states(IDS)
        first, state = model.hidden_states(IDS[:, :7])
        second, _ = model.hidden_states(IDS[:, 7:], state)
    torch.testing.assert_close(torch.cat((first, second), dim=1), at_once, atol=1e-6, rtol=0)


def test_the_state_after_resampling_holds_what_was_drawn_last() -> None:
    values = np.random.default_rng(5).normal(size=(30, 2))
    for cell in CELLS:
        model = lively(cell, 2)
        with masked(model, Mask("rnn", NEURONS, "resample", values=values)):
            outputs, state = model.hidden_states(IDS)
            hidden = state[0] if isinstance(state, tuple) else state
            torch.testing.assert_close(hidden[-1], outputs[:, -1])
            # Neurons that are overwritten in the state are seen as they are by the next step.
            again, _ = model.hidden_states(IDS[:, :1], state)
        copy = lively(cell, 2)
        following, _ = copy.hidden_states(IDS[:, :1], state)
        others = [n for n in range(7) if n not in NEURONS]
        torch.testing.assert_close(again[..., others], following[..., others])


def test_dropout_between_layers_depends_on_the_mode_of_the_model() -> None:
    model = small(layers=2, dropout=0.5)
    for mask in (Mask("rnn", NEURONS), Mask("rnn", NEURONS, "resample", values=np.ones((2, 2)))):
        with masked(model, mask):
            model.train()
            first, second = (model.rnn(torch.ones(2, 3, 5))[0] for _ in range(2))
            assert not torch.equal(first, second)
            model.eval()
            first, second = (model.rnn(torch.ones(2, 3, 5))[0] for _ in range(2))
            assert torch.equal(first, second)


def test_time_first_outputs_are_resampled_by_document_and_position() -> None:
    class TimeFirstLinear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(40, 5)
            self.linear = nn.Linear(5, 4)

        def forward(self, ids: Tensor) -> Tensor:
            found: Tensor = self.linear(self.embedding(ids).transpose(0, 1))
            return found

    model = TextModel(seeded(TimeFirstLinear), word_ids)
    values = np.random.default_rng(1).normal(size=(50, 1))
    mask = Mask("linear", [2], "resample", values=values)
    ids = torch.arange(12).reshape(2, 6)
    with masked(model, mask) as documents:
        documents.keys = np.array([7, 8]).astype(np.uint64)
        both = model.module(ids)
        documents.keys = np.array([8]).astype(np.uint64)
        second = model.module(ids[1:])
    assert both.shape == (6, 2, 4)
    torch.testing.assert_close(both[:, 1:, 2], second[..., 2])
    assert len(set(both[..., 2].flatten().tolist())) > 6


def test_collection_sees_the_masked_model() -> None:
    model = lively("lstm", 1)
    corpus = demo_corpus("reviews", words=300)
    wins = collect(model, corpus, name="whole").preferences().wins()
    chosen = [int(wins.argmax())]
    assert wins[chosen].min() > 0
    with masked(model, Mask("rnn", chosen)):
        stage = collect(model, corpus, name="masked")
    assert stage.preferences().wins()[chosen].sum() == 0


def test_gradients_go_through_a_masked_model() -> None:
    model = classifier(lively("lstm", 1))
    with masked(model, Mask("rnn", NEURONS)):
        model(IDS, LENGTHS).sum().backward()
    assert model.head.weight.grad is not None
    assert model.head.weight.grad[0, NEURONS].abs().sum() == 0


class Directions(nn.Module):
    """An LSTM that reads in both directions, with projections."""

    def __init__(self, **options: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 6, 2, bidirectional=True, batch_first=True, **options)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.lstm(inputs)[0]


@pytest.mark.parametrize("projection", [0, 3])
def test_both_directions_are_masked(projection: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = Directions(proj_size=projection).eval()
        inputs = torch.randn(2, 5, 4)
    width = projection or 6
    neurons = [1, width + 2]
    with masked(model, Mask("lstm", neurons)):
        found = model(inputs)
    copy = Directions(proj_size=projection).eval()
    copy.load_state_dict(model.state_dict())
    with torch.no_grad():
        copy.lstm.weight_hh_l1[:, 1] = 0
        copy.lstm.weight_hh_l1_reverse[:, 2] = 0
    wanted = copy(inputs)
    wanted[..., neurons] = 0
    torch.testing.assert_close(found, wanted)
    with (
        pytest.raises(CaptureError, match="both directions"),
        masked(model, Mask("lstm", neurons, "resample", values=np.zeros((2, 2)))),
    ):
        model(inputs)


@pytest.mark.parametrize(
    "model", [TextModel(seeded(Packed), word_ids, with_mask), TextModel(seeded(TimeFirst), word_ids)]
)
def test_packed_and_time_first_layers_are_masked_inside(model: TextModel) -> None:
    layer = "gru" if isinstance(model.module, Packed) else "lstm"
    rnn: nn.RNNBase = model.module.get_submodule(layer)  # type: ignore[assignment]
    ids, mask = torch.arange(12).reshape(2, 6) % 7, torch.ones(2, 6, dtype=torch.bool)
    inputs = model.module.embedding(ids).detach().double().numpy()  # type: ignore[operator]

    def zero(h: np.ndarray, step: int) -> np.ndarray:
        h[:, [2, 8]] = 0
        return h

    wanted = unrolled(rnn, inputs, zero, zero)
    seen: list[Tensor] = []
    handle = rnn.register_forward_hook(lambda *call: seen.append(call[2][0]))
    with masked(model, Mask(layer, [2, 8])):
        model.forward(model.module, ids, mask)
    handle.remove()
    output = seen[-1]  # behind those of the dry runs
    if isinstance(output, nn.utils.rnn.PackedSequence):
        output = nn.utils.rnn.pad_packed_sequence(output)[0]
    np.testing.assert_allclose(output.detach().numpy(), wanted.transpose(1, 0, 2), atol=1e-6)


def test_layers_of_every_layout_are_masked_at_their_neurons() -> None:
    cnn = TextModel(seeded(TextCnn), word_ids, min_length=3)
    ids = torch.arange(20).reshape(2, 10)
    for model, layer, axis in (
        (cnn, "act", 1),
        (transformer(), "encoder.layers.0.linear1", -1),
        (TextModel(seeded(TimeFirst), word_ids), "flat", -1),
    ):
        found: list[Tensor] = []
        handle = model.module.get_submodule(layer).register_forward_hook(
            lambda *call, found=found: found.append(call[2])
        )
        mask = torch.ones_like(ids, dtype=torch.bool)
        model.forward(model.module, ids, mask)
        with masked(model, Mask(layer, [1, 3], "mean", values=np.array([2.5, -1.0]))):
            model.forward(model.module, ids, mask)
        handle.remove()
        whole, silent = found[0], found[-1]
        assert torch.equal(silent.select(axis, 1), torch.full_like(silent.select(axis, 1), 2.5))
        assert torch.equal(silent.select(axis, 3), torch.full_like(silent.select(axis, 3), -1.0))
        assert torch.equal(silent.select(axis, 0), whole.select(axis, 0))


def test_what_comes_after_a_masked_layer_sees_it() -> None:
    model = transformer()
    ids = torch.arange(20).reshape(2, 10)
    everything = torch.ones_like(ids, dtype=torch.bool)
    with masked(model, Mask("encoder.layers.0.linear1", [4])):
        found = model.forward(model.module, ids, everything)
    copy = transformer()
    copy.module.load_state_dict(model.module.state_dict())
    layer: nn.Linear = copy.module.get_submodule("encoder.layers.0.linear1")  # type: ignore[assignment]
    with torch.no_grad():
        layer.weight[4] = 0
        layer.bias[4] = 0
    torch.testing.assert_close(found, copy.forward(copy.module, ids, everything))


def test_layers_and_neurons_that_do_not_exist_and_impossible_masks_are_told_in_one_line() -> None:
    model = small()
    for make, error, text in (
        (lambda: Mask("rn", [1]), UnknownNameError, "unknown layer 'rn' (did you mean 'rnn'?)"),
        (lambda: Mask("rnn", [7]), UsageError, "layer 'rnn' has no neuron 7; its neurons are 0 to 6"),
        (lambda: Mask("rnn", [3, 8, 9]), UsageError, "no neuron 8 (2 of the 3 requested do not exist)"),
        (lambda: Mask("rnn", range(7)), UsageError, "all 7 neurons would be ablated"),
        (lambda: Mask("rnn", [1, 1]), UsageError, "neuron 1 is listed twice"),
        (lambda: Mask("rnn", [-1]), UsageError, "neuron -1; pass integers"),
        (lambda: Mask("rnn", [True, False]), UsageError, "not a boolean mask"),
        (lambda: Mask("rnn", [0.5]), UsageError, "neuron 0.5; pass integers"),  # type: ignore[list-item]
        (lambda: Mask("rnn", [1], "median"), UnknownNameError, "unknown ablation 'median'"),  # type: ignore[arg-type]
        (lambda: Mask("rnn", [1], scope="once"), UnknownNameError, "unknown scope 'once'"),  # type: ignore[arg-type]
        (lambda: Mask("rnn", [1], "mean"), UsageError, "ablation 'mean' needs values"),
        (lambda: Mask("rnn", [1], "mean", values=np.ones(2)), ShapeError, "values of shape (2,)"),
        (lambda: Mask("rnn", [1], "mean", values=np.array([np.nan])), ShapeError, "finite numbers"),
        (lambda: Mask("rnn", [1], "resample", values=np.ones((0, 1))), ShapeError, "values of shape (0, 1)"),
        (
            lambda: Mask("rnn", [1], scope="final-state"),
            UsageError,
            "needs the recurrent layer of a txray classifier",
        ),
        (lambda: Mask("**", [1]), UsageError, "matches 4 layers"),
        (lambda: Mask(3, [1]), UsageError, "layer 3; pass its name"),  # type: ignore[arg-type]
        (lambda: Mask("rnn", [1], seed=-1), UsageError, "seed=-1; pass an integer"),
    ):
        with pytest.raises(error) as raised, masked(model, make()):
            pass
        assert text in str(raised.value)
        assert "\n" not in str(raised.value)
    with pytest.raises(UsageError, match="has 2 masks"), masked(model, Mask("rnn", [1]), Mask("rnn", [2])):
        pass


def test_layers_that_cannot_be_masked_inside_are_refused() -> None:
    model = small()
    nn.utils.parametrizations.weight_norm(model.rnn, "weight_hh_l0")
    with pytest.raises(UsageError, match="its weights are parametrized"), masked(model, Mask("rnn", [1])):
        pass
    stack = compact_model(small(layers=2), Mask("rnn", [1]))
    with pytest.raises(UsageError, match="pass 'rnn'"), masked(stack, Mask("rnn.layers.0", [1])):
        pass


def test_a_bare_module_is_masked_where_its_neurons_are_known() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    with masked(module, Mask("0", [2], "mean", values=np.array([7.0]))):
        assert module(torch.zeros(1, 3))[0, 2] == 7
    with (
        pytest.raises(UsageError, match="the number of neurons of a ReLU"),
        masked(module, Mask("1", [2])),
    ):
        pass


def test_words_in_pieces_change_nothing_about_masks() -> None:
    model = TextModel(seeded(TextCnn), letter_pieces, min_length=3)
    assert MaskTarget.of(model, "conv").n_neurons == 7
    with pytest.raises(UnknownNameError, match="unknown layer ''"):
        MaskTarget.of(model, "")


class SharedLayers(nn.Module):
    """A linear layer under two names, a recurrent layer that runs twice, and a layer that runs once."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.gru, self.out = (
            nn.Embedding(40, 6),
            nn.GRU(6, 6, batch_first=True),
            nn.Linear(6, 4),
        )
        self.first = nn.Linear(6, 6)
        self.second = self.first

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.second(self.first(self.embedding(ids)))
        result: Tensor = self.out(self.gru(self.gru(hidden)[0])[0])
        return result


@pytest.mark.parametrize("layer", ["first", "second", "gru", "first:call=0", "gru:call=1"])
def test_a_module_that_runs_several_times_has_no_mask(layer: str) -> None:
    model = TextModel(seeded(SharedLayers), word_ids)
    with (
        pytest.raises(UsageError, match="its module runs 2 times .* a mask would act on every call"),
        masked(model, Mask(layer, [1])),
    ):
        pass


def test_masks_take_the_names_that_stages_have() -> None:
    model = TextModel(seeded(SharedLayers), word_ids)
    ids = torch.arange(12).reshape(2, 6)
    wanted = model.module(ids)
    wanted[..., 2] = 0
    for layer in ("out", "out:call=0", "out:call=-1"):
        with masked(model, Mask(layer, [2])):
            assert torch.equal(model.module(ids), wanted)


def test_filters_of_two_dimensions_are_masked() -> None:
    class Kim(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.conv = nn.Embedding(40, 6), nn.Conv2d(1, 4, (3, 6), padding=(1, 0))

        def forward(self, ids: Tensor) -> Tensor:
            result: Tensor = self.conv(self.embedding(ids).unsqueeze(1))
            return result

    model = TextModel(seeded(Kim), word_ids)
    ids = torch.arange(12).reshape(2, 6)
    wanted = model.module(ids)
    wanted[:, [1, 3]] = 0
    with masked(model, Mask("conv", [1, 3])):
        assert torch.equal(model.module(ids), wanted)
