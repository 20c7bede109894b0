"""From a run folder to a report: `build_report(folder)`. Needs the extra `loadtest`."""

from loadtests.report.build import Built, Price, build_report

__all__ = ["Built", "Price", "build_report"]
