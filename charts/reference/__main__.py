"""python -m charts.reference [--check]: write, or compare, the chart's README.md, values.schema.json and dashboards."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from charts.reference import comments, grafana, readme, schema

CHART: Final = Path(__file__).resolve().parents[1] / "specdec-operator"
DASHBOARDS: Final = Path(__file__).resolve().parent / "dashboards"


def generated(chart: Path) -> dict[Path, str]:
    """Each generated file of `chart` with the text that it should have."""
    settings = comments.read((chart / "values.yaml").read_text())
    manual = chart / "README.md"
    dashboards = {
        chart / "files" / "dashboards" / f"{source.stem}.json": grafana.render(source.read_text())
        for source in sorted(DASHBOARDS.glob("*.yaml"))
    }
    return {
        manual: readme.render(settings, manual.read_text()),
        chart / "values.schema.json": schema.render(settings, f"Values of {chart.name}"),
        **dashboards,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """0: written, or with --check equal; 1: different, or values.yaml cannot be read."""
    parser = argparse.ArgumentParser(prog="charts.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, show differences")
    check = parser.parse_args(arguments).check
    try:
        wanted = generated(CHART)
    except ValueError as error:
        print(f"error: {CHART.name}: {error}", file=sys.stderr)
        return 1
    if not check:
        for path, text in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return 0
    difference = [line for path, text in wanted.items() for line in _difference(path, text)]
    sys.stderr.writelines(difference)
    return 1 if difference else 0


def _difference(path: Path, text: str) -> list[str]:
    current = path.read_text() if path.exists() else ""
    lines = (current.splitlines(keepends=True), text.splitlines(keepends=True))
    return list(difflib.unified_diff(*lines, f"{path.name} (committed)", f"{path.name} (from values.yaml)"))


if __name__ == "__main__":
    sys.exit(main())
