"""Report of a finished run: one page without network, an executable notebook, one picture; all from its plain files."""

from lightsleeper.report.notebook import write_notebook
from lightsleeper.report.page import write_report
from lightsleeper.report.picture import write_picture

__all__ = ["write_notebook", "write_picture", "write_report"]
