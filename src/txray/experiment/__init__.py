"""The paper's experiment end to end: its sizes, its text, its steps, and the pages it ends with."""

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
