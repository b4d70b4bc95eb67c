"""The page docs/conformity.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchmarks.conformity.check import Conformity
from benchmarks.conformity.text import documents

_HEAD = """\
# Conformity

Does txray credit the right words, whatever the model? `make conformity` builds a tiny random model of every text
architecture that the installed transformers ({version}) knows, from its configuration alone. txray, and independently
of it plain transformers and NumPy, read the same {n_documents} documents of {shortest} to {longest} words: txray in
batches, the reference one input at a time and without padding. For **every layer that runs in a forward pass**, the
counts and sums of all (neuron, word) pairs are compared, for the selections `max-1` and `all`. A pair is wrong if its
count or its sum differs by more than rounding can explain. The reference takes from txray only the order of a layer's
axes and the maximum length of an input.

{summary}

{roles}

"""

_TABLE = """\
| architecture | layers that run | compared | pairs | wrong | batches | MLP neurons | attention heads |
| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |
"""


def page(results: Sequence[Conformity], version: str) -> str:
    """Return the page as Markdown."""
    read = [result for result in results if not result.refused]
    refused = [result for result in results if result.refused]
    exact = sum(result.exact for result in read)
    others = ", ".join(result.name for result in read if not result.exact)
    which, but = (f"{exact} of these {len(read)}", f" (not: {others})") if others else ("All of these", "")
    summary = (
        f"Of {len(results)} architectures, {len(read)} can be built from their configuration in this way. {which} are "
        f"exact in all of their layers that have one activation per position{but}: "
        f"{sum(result.checked for result in read):,} layers, {sum(result.pairs for result in read):,} pairs, "
        f"{sum(result.n_wrong for result in read):,} of them wrong."
    )
    lengths = [len(document.words) for document in documents()]
    text = _HEAD.format(
        version=version,
        n_documents=len(lengths),
        shortest=min(lengths),
        longest=max(lengths),
        summary=summary,
        roles=_roles(read),
    )
    text += _TABLE + "".join(map(_row, read))
    text += _reasons(read)
    if refused:
        text += (
            "\n## Architectures that could not be built\n\nThese need other options than the small ones used here, or "
            "a newer library.\n\n| architecture | reason |\n| --- | --- |\n"
        )
        text += "".join(f"| {result.name} | {_cell(result.refused)} |\n" for result in refused)
    return text


def _row(result: Conformity) -> str:
    wrong = f"{sum(result.wrong.values()):,}"
    return (
        f"| {result.name} | {result.ran} | {result.checked} | {result.pairs:,} | {wrong} | {result.batches} "
        f"| {_role(result, 'MLP neurons')} | {_role(result, 'attention heads')} |\n"
    )


def _role(result: Conformity, role: str) -> str:
    """Return the number of units per layer and of layers of a role; empty if there is none."""
    units, layers = result.roles.get(role, (0, 0))
    return f"{units} x {layers}" if layers else ""


def _roles(read: Sequence[Conformity]) -> str:
    """Return for how many architectures the layers of each role are found."""
    number = Counter(role for result in read for role in result.roles)
    return (
        f"`txray layers` finds the MLP neurons of {number['MLP neurons']} of these {len(read)} architectures, the "
        f"neurons of experts in {number['expert neurons']}, the attention heads of {number['attention heads']}, other "
        f"neurons that combine positions in {number['mixer neurons']}, the residual stream of "
        f"{number['residual stream']} and the embeddings of {number['embeddings']}. MLP neurons and heads are the "
        "inputs of projections "
        "(`layers.*.mlp.down_proj:input`, `layers.*.self_attn.o_proj:input:head`); they are compared as well."
    )


def _reasons(read: Sequence[Conformity]) -> str:
    """Return why layers that run were not compared, with the number of such layers."""
    reasons = Counter[str]()
    example: dict[str, str] = {}
    for result in read:
        for layer, reason in result.refusals.items():
            short = (
                reason.partition(": ")[0] if reason.startswith("no activation") else _without_names(reason)
            )
            reasons[short] += 1
            example.setdefault(short, f"`{layer}` of {result.name}")
    lines = [
        f"| {_cell(reason)} | {number} | {example[reason]} |\n" for reason, number in reasons.most_common()
    ]
    head = "\n## Layers that were not compared\n\n| reason | layers | such as |\n| --- | ---: | --- |\n"
    return head + "".join(lines)


def _without_names(reason: str) -> str:
    """Return an error without the layer that it begins with."""
    return reason.partition(": ")[2] if reason.startswith("layer ") else reason


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
