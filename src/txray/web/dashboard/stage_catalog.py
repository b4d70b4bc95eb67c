"""The stages that are served: opened as folders, and checked for changes on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from txray.errors import StageError, UnknownNameError, UsageError
from txray.lru_cache import LRUCache
from txray.preferences import StageFolder
from txray.preferences.stage_folder import CACHE_BYTES


class StageCatalog:
    """The stages that are served, in order, with unique names."""

    def __init__(self, folders: Sequence[Path | str]) -> None:
        """Open stage folders.

        Raises:
            UsageError: no stage, or two of one name.
            StageError: a folder that is no stage, or cannot be read.
        """
        if not folders:
            raise UsageError("dashboard: no stage; name at least one stage folder")
        self._cache = LRUCache(CACHE_BYTES)
        self._stages = [StageFolder.open(folder, self._cache) for folder in folders]
        self.revision = 0
        names = [stage.name for stage in self._stages]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            paths = ", ".join(str(stage.path) for stage in self._stages if stage.name == twice[0])
            raise UsageError(
                f"dashboard: several stages are named {twice[0]!r} ({paths}); serve one of them, or collect under "
                "another name"
            )

    def __iter__(self) -> Iterator[StageFolder]:
        return iter(self._stages)

    def __getitem__(self, name: str) -> StageFolder:
        for stage in self._stages:
            if stage.name == name:
                return stage
        raise UnknownNameError.of("stage", name, self.names)

    @property
    def names(self) -> list[str]:
        """Names of the stages, in order."""
        return [stage.name for stage in self._stages]

    @property
    def feature_types(self) -> list[str]:
        """The feature types of all stages."""
        return list(
            dict.fromkeys(feature_type for stage in self._stages for feature_type in stage.feature_types)
        )

    @property
    def layers(self) -> list[str]:
        """The layers of all stages."""
        return list(dict.fromkeys(layer for stage in self._stages for layer in stage.layers))

    def changes(self) -> list[str]:
        """Return what happened to the folders since they were opened, in words."""
        return [stage.changed for stage in self._stages if stage.changed]

    def reload(self) -> list[str]:
        """Open changed folders again; return which cannot be opened, in words, and keep those as they were."""
        problems = []
        for index, stage in enumerate(self._stages):
            if not stage.changed:
                continue
            try:
                new = StageFolder.open(stage.path, self._cache)
            except (StageError, OSError) as error:
                problems.append(str(error))
                continue
            others = {other.name for other in self._stages if other is not stage}
            if new.name in others:
                problems.append(
                    f"stage folder {stage.path} now holds a stage {new.name!r}; another stage has the same name"
                )
                continue
            self._stages[index] = new
        self.revision += 1
        return problems
