"""What a benchmark says: one figure a line, beside a reference and where that was measured; a table and JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

FOLDER: Final = Path(__file__).resolve().parents[2] / "build" / "bench"


@dataclass(frozen=True, slots=True)
class Figure:
    """reference: what to compare with, None without one; reference_source: whose it is and where it was measured."""

    name: str
    value: float
    unit: str
    reference: float | None = None
    reference_source: str = ""


def publish(title: str, figures: Sequence[Figure]) -> Path:
    """Print the table and write build/bench/TITLE.json; its path."""
    load = os.getloadavg()[0]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, load {load:.1f}"
    table = Table(title=f"{title} ({machine})", title_justify="left")
    for column in ("figure", "measured", "unit", "reference", "whose"):
        table.add_column(column, justify="right" if column in {"measured", "reference"} else "left")
    for figure in figures:
        reference = "" if figure.reference is None else f"{figure.reference:,.4g}"
        table.add_row(figure.name, f"{figure.value:,.4g}", figure.unit, reference, figure.reference_source)
    Console(width=130).print(table)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{title}.json"
    content = {"machine": machine, "figures": [asdict(figure) for figure in figures]}
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path
