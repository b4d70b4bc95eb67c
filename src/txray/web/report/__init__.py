"""The report: one self-contained HTML file with the findings, the figures and every neuron."""

from txray.web.report.page import report
from txray.web.report.sections import Picture, Section, comparison_section, volcano_picture

__all__ = ["Picture", "Section", "comparison_section", "report", "volcano_picture"]
