"""From a run folder to a report: `build_report(folder)`, `build_peak_report(folder)`. Needs the extra `loadtest`."""

from loadtests.report.build import Price, build_report
from loadtests.report.pages import Built
from loadtests.report.peak import build_peak_report

__all__ = ["Built", "Price", "build_peak_report", "build_report"]
