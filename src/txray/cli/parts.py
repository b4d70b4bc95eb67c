"""Which part of a text a command reads, and with what: several processes, machines, or one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from txray.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    import torch

    from txray.engines import Ray

AUTO = "auto"
_ENGINES = ("single", "ray")
_GPUS = {"cpu": 0.0, "cuda": 1.0}
"""Of each worker, by device; for `auto` the engine sees what is there."""


def shard_and_folder(shard: str | None, out: Path) -> tuple[tuple[int, int] | None, Path]:
    """Number and total of the shard that is asked for, and where its stage goes.

    Args:
        shard: `3/8`, or `auto`: what the environment variables `RANK` and `WORLD_SIZE` say, as `torchrun` and others
            set them; None for the whole text.
        out: the folder asked for; with `auto` each part has one within it.

    Raises:
        UsageError: neither, or the variables are not set.
    """
    if shard is None:
        return None, out
    if shard != AUTO:
        number, slash, of = shard.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal()):
            raise UsageError(
                f"--shard {shard!r}: give a part and how many there are, such as 3/8, or {AUTO} below torchrun"
            )
        return (int(number), int(of)), out
    rank, world = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    if not (rank.isdecimal() and world.isdecimal() and int(rank) < int(world)):
        raise UsageError(
            f"--shard {AUTO}: RANK={rank!r} and WORLD_SIZE={world!r}; start the command by torchrun, or set them to a "
            "number from 0 and how many there are"
        )
    return (int(rank) + 1, int(world)), out / f"part-{int(rank):05d}-of-{int(world):05d}"


def rank_device(device: torch.device, shard: str | None) -> torch.device:
    """The GPU of this process among those that `torchrun` started on this machine; other devices as they are.

    Args:
        device: that was asked for.
        shard: as asked for.
    """
    import torch

    if shard != AUTO or device.type != "cuda":
        return device
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def engine_of(
    name: str, workers: int | None, shards: int | None, address: str | None, *, shard: str | None, device: str
) -> Ray | None:
    """The engine of this name; None for a single pass.

    Args:
        name: `single` or `ray`.
        workers, shards, address: of the engine.
        shard: as asked for.
        device: `auto`, `cpu` or `cuda`, of each worker.

    Raises:
        UnknownNameError: there is no such engine.
        UsageError: shards for several processes that an engine divides among its workers already; or what belongs to
            an engine that is not asked for.
    """
    if name not in _ENGINES:
        raise UnknownNameError.of("engine", name, _ENGINES)
    if name == "single":
        asked = {"--workers": workers, "--shards": shards, "--address": address}
        if given := [f"{option} {value}" for option, value in asked.items() if value is not None]:
            raise UsageError(f"{' '.join(given)}: belongs to the engine of a cluster; add --engine ray")
        return None
    if shard == AUTO:
        raise UsageError(f"--engine {name} with --shard {AUTO}: both divide the text; choose one of them")
    from txray.engines import Ray

    return Ray(
        workers=2 if workers is None else workers, shards=shards, address=address, gpus=_GPUS.get(device)
    )
