"""Jobs for the results of stages: which task, with which arguments, into which file of the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from txray.errors import UnknownNameError
from txray.preferences import StageFolder
from txray.web.dashboard.cache import Cache
from txray.web.dashboard.jobs.queue import Job
from txray.web.dashboard.results import ComparisonConfig


@dataclass(frozen=True)
class JobPlan:
    """Makes the jobs for the results of a cache."""

    cache: Cache
    config: ComparisonConfig

    def neuron_table(self, stage: StageFolder, feature_type: str, *, urgent: bool = True) -> Job:
        """Return the job that reads a stage; `UnknownNameError` if it lacks the feature type."""
        if feature_type not in stage.feature_types:
            raise UnknownNameError.of(
                f"feature type of stage {stage.name!r}", feature_type, stage.feature_types
            )
        out = self.cache.path("stages", stage.fingerprint, f"{feature_type}-{self.config.weight}")
        arguments = {"stage": str(stage.path), "feature_type": feature_type, "weight": self.config.weight}
        return Job("neuron_table", out, arguments, f"reading {stage.name} ({feature_type})", urgent=urgent)

    def comparison(
        self, before: StageFolder, after: StageFolder, feature_type: str, neuron_tables: list[Path]
    ) -> Job:
        """Return the job that compares two stages; their neuron tables must exist when it runs."""
        return Job(
            "comparison",
            self._path(before, after, feature_type, "pairs", "neurons"),
            self._arguments(before, after, feature_type, neuron_tables=list(map(str, neuron_tables))),
            f"comparing {before.name} with {after.name}",
        )

    def significance(
        self, before: StageFolder, after: StageFolder, feature_type: str, layer: str, *, urgent: bool
    ) -> Job:
        """Return the job that tests the neurons of one layer."""
        config = self.config
        settings = {name: getattr(config, name) for name in ("fdr", "permutations", "seed", "min_effect")}
        name = "-".join(["tests", *(f"{value:g}" for value in settings.values()), str(_index(before, layer))])
        return Job(
            "significance",
            self._path(before, after, feature_type, "pairs", name),
            self._arguments(before, after, feature_type, layer=layer, **settings),
            f"testing {before.name} against {after.name}, layer {layer}",
            urgent=urgent,
        )

    def matching(
        self,
        before: StageFolder,
        after: StageFolder,
        feature_type: str,
        layers: tuple[str, str],
        neuron_tables: list[Path],
    ) -> Job:
        """Return the job that matches two layers; the neuron tables of their stages must exist when it runs."""
        name = f"{_index(before, layers[0])}-{_index(after, layers[1])}"
        settings = {"layer_before": layers[0], "layer_after": layers[1]}
        return Job(
            "matching",
            self._path(before, after, feature_type, "matchings", name),
            self._arguments(
                before, after, feature_type, neuron_tables=list(map(str, neuron_tables)), **settings
            ),
            f"matching {before.name} and {after.name}",
        )

    def _path(
        self, before: StageFolder, after: StageFolder, feature_type: str, folder: str, name: str
    ) -> Path:
        pair = f"{before.fingerprint}-{after.fingerprint}-{feature_type}-{self.config.weight}"
        return self.cache.path(folder, pair, name)

    def _arguments(
        self, before: StageFolder, after: StageFolder, feature_type: str, **others: Any
    ) -> dict[str, Any]:
        stages = {"before": str(before.path), "after": str(after.path)}
        return {**stages, "feature_type": feature_type, "weight": self.config.weight, **others}


def _index(stage: StageFolder, layer: str) -> int:
    return list(stage.layers).index(layer)
