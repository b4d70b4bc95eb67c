"""The report: one self-contained HTML file that tells the whole story and shows every neuron.

The folder is not called `report`, because the public function is: once Python has imported a submodule
`txray.report`, it binds that name in `txray`, and whether `txray.report` is the function or the module
would depend on the order of imports.
"""

from txray.web.report.page import report
from txray.web.report.sections import Picture, Section, comparison_section, volcano_picture

__all__ = ["Picture", "Section", "comparison_section", "report", "volcano_picture"]
