"""Report of a finished run: one page without network, an executable notebook, one picture; all from its plain files."""

from lightsleeper.report.manufacture import HEADING as YIELD_HEADING
from lightsleeper.report.manufacture import write_yield, yield_lines
from lightsleeper.report.notebook import write_notebook
from lightsleeper.report.page import write_report
from lightsleeper.report.picture import write_picture
from lightsleeper.report.verification import HEADING as VERIFICATION_HEADING
from lightsleeper.report.verification import verification_lines, write_verification

__all__ = [
    "VERIFICATION_HEADING",
    "YIELD_HEADING",
    "verification_lines",
    "write_notebook",
    "write_picture",
    "write_report",
    "write_verification",
    "write_yield",
    "yield_lines",
]
