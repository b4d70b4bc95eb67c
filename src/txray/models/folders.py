"""Find out what a model folder or a name on the hub holds: a model, an adapter of PEFT, or a sentence transformer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from txray._optional import import_extra
from txray.errors import SnapshotError, UsageError

CONFIG = "config.json"
"""A file in every model folder of Hugging Face."""
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
"""Files of an adapter of PEFT."""
MODULES = "modules.json"
"""File in the folder of a sentence transformer that lists its modules."""
HUB = "hf:"
"""Prefix of the names of models on the hub; without it, the network is never used."""

_SENTENCE_CONFIGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Names of the file with the maximum length of a sentence transformer; the first one since 2020."""


@dataclass(frozen=True)
class Source:
    """Where the files of a model are.

    Attributes:
        name: a folder, or the name of a model on the hub.
        revision: revision on the hub; None for the latest.
        subfolder: folder of the files in it.
        offline: whether only files on this machine may be read.
    """

    name: str
    revision: str | None = None
    subfolder: str = ""
    offline: bool = True

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of `from_pretrained` of transformers, beside the name."""
        return {
            "revision": self.revision,
            "subfolder": self.subfolder,
            "local_files_only": self.offline,
        }

    def file(self, name: str) -> Path | None:
        """Return a file of the model, from the hub if necessary; None if there is none."""
        if Path(self.name).is_dir():
            path = Path(self.name, self.subfolder, name)
            return path if path.is_file() else None
        transformers = import_extra("Hugging Face models need", "hf", "transformers")
        path = transformers.utils.cached_file(
            self.name,
            name,
            revision=self.revision,
            subfolder=self.subfolder,
            local_files_only=self.offline,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        return None if path is None else Path(path)

    def json(self, name: str) -> Any:
        """Return the content of a JSON file of the model; None if there is none."""
        path = self.file(name)
        return None if path is None else json.loads(path.read_text("utf-8"))


@dataclass(frozen=True)
class Contents:
    """Contents of a model folder, or of a name on the hub.

    Attributes:
        weights: the model, or the base of the adapter.
        adapter: the adapter of PEFT; None without one.
        adapter_config: content of its configuration.
        max_length: maximum number of positions of an input, as a sentence transformer declares it.
        lowercase: whether a sentence transformer lower-cases the text first.
    """

    weights: Source
    adapter: Source | None = None
    adapter_config: Mapping[str, Any] = field(default_factory=dict)
    max_length: int | None = None
    lowercase: bool = False


def is_model_folder(folder: Path) -> bool:
    """Return whether a folder holds a model of Hugging Face, an adapter of PEFT, or a sentence transformer."""
    return any((folder / file).is_file() for file in (CONFIG, ADAPTER_CONFIG, MODULES))


def contents_of(name: str | Path, revision: str | None = None, base: str | Path | None = None) -> Contents:
    """Return what a folder, or a model on the hub, holds.

    Args:
        name: a folder, or the name of a model on the hub.
        revision: revision of a model on the hub.
        base: the base model of an adapter, if not that of its configuration: a folder, or a name on the hub, with or
            without `hf:`.

    Raises:
        SnapshotError: a sentence transformer without a transformer, or an adapter without its base.
        UsageError: a base for a model that is no adapter.
    """
    source = Source(str(name), revision, offline=Path(name).is_dir())
    max_length, lowercase = None, False
    modules = source.json(MODULES)
    if modules is not None:
        source = Source(source.name, revision, _subfolder(name, modules), source.offline)
        config: dict[str, Any] = next(filter(None, map(source.json, _SENTENCE_CONFIGS)), {})
        limit, lowercase = config.get("max_seq_length"), bool(config.get("do_lower_case", False))
        max_length = limit if isinstance(limit, int) else None
    adapter = source.json(ADAPTER_CONFIG)
    if adapter is None:
        if base is not None:
            raise UsageError(
                f"{name}: base={str(base)!r}, but it holds no {ADAPTER_CONFIG}, so it is no adapter; omit base"
            )
        return Contents(source, None, {}, max_length, lowercase)
    return Contents(_base(source, adapter, base), source, adapter, max_length, lowercase)


def _base(source: Source, adapter: Mapping[str, Any], base: str | Path | None) -> Source:
    """Return the base model of an adapter."""
    declared = adapter.get("base_model_name_or_path")
    given = str(base or declared or "")
    if not given:
        raise SnapshotError(
            f"{source.name}: its {ADAPTER_CONFIG} does not name its base model; pass base (--base), its "
            f"folder or {HUB} and its name on the hub"
        )
    # A local adapter never causes a download, unless its base is requested by a name on the hub.
    offline = source.offline and base is None
    model = Source(
        given.removeprefix(HUB),
        None if base else adapter.get("revision"),
        "",
        offline or Path(given).is_dir(),
    )
    if Path(given).is_dir() and model.file(CONFIG) is None:
        raise SnapshotError(
            f"{source.name}: its base model {given!r} holds no {CONFIG}; pass the folder of the base model as base "
            "(--base)"
        )
    is_path = given.startswith((".", "/", "~")) or given.count("/") > 1
    if (is_path and not Path(given).is_dir()) or model.file(CONFIG) is None:
        raise SnapshotError(
            f"{source.name}: its base model {given!r} is not on this machine; pass base (--base), its folder or "
            f"{f'{HUB} and its name on the hub' if is_path else f'{HUB}{given}'}"
        )
    return model


def _subfolder(name: str | Path, modules: Any) -> str:
    """Return the folder of the transformer among the modules of a sentence transformer."""
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    paths = [
        str(module["path"]) for module, kind in zip(modules, kinds, strict=True) if kind == "Transformer"
    ]
    if len(paths) != 1:
        raise SnapshotError(
            f"{name}: its {MODULES} lists {len(paths)} transformers ({', '.join(kinds)}); load one from its own folder"
        )
    path = PurePosixPath(paths[0])
    if path.is_absolute() or ".." in path.parts:
        raise SnapshotError(
            f"{name}: its {MODULES} refers to {paths[0]!r}, outside the folder; use an intact copy"
        )
    return "" if str(path) == "." else str(path)
