"""The paper's experiment from text to report: settings, sources, steps and results."""

from txray.experiment.results import write_results
from txray.experiment.run import ExperimentResult, run_experiment
from txray.experiment.settings import PRESETS, Settings, preset
from txray.experiment.sources import DemoSources, RealSources, Sources

__all__ = [
    "PRESETS",
    "DemoSources",
    "ExperimentResult",
    "RealSources",
    "Settings",
    "Sources",
    "preset",
    "run_experiment",
    "write_results",
]
