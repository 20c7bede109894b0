"""Writes what is made from the models: `python -m specdec.api.generate [--check]`, from the root of the checkout."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from specdec.api.crd import custom_resource_definition
from specdec.api.reference import reference_page

CRD: Final = Path("operator/specdec/api/crd.yaml")
CHART_CRD: Final = Path("charts/specdec-operator/files/crds/speculativedeployments.yaml")
REFERENCE: Final = Path("docs/reference.md")
NOTICE: Final = "# Made by `make generate` from operator/specdec/api; edit there.\n"


class _Plain(yaml.SafeDumper):
    """Without anchors: they are legal YAML, but not every tool that reads CRDs follows them."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def generated() -> dict[Path, str]:
    """Every generated file, relative to the checkout, with its text."""
    crd = NOTICE + yaml.dump(custom_resource_definition(), Dumper=_Plain, sort_keys=False, width=120)
    return {CRD: crd, CHART_CRD: crd, REFERENCE: reference_page()}


def differences(root: Path) -> list[str]:
    """Unified diffs of the files under `root` that are not what the models say; empty when all are."""
    return [diff for path, text in generated().items() if (diff := _difference(root, path, text))]


def write(root: Path) -> list[Path]:
    """Write what differs; the paths written."""
    changed = [path for path, text in generated().items() if _difference(root, path, text)]
    for path in changed:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(generated()[path])
    return changed


def _difference(root: Path, path: Path, text: str) -> str:
    stored = (root / path).read_text() if (root / path).exists() else ""
    lines = difflib.unified_diff(
        stored.splitlines(keepends=True), text.splitlines(keepends=True), f"{path} (stored)", f"{path} (models)"
    )
    return "".join(lines)


def main(arguments: list[str] | None = None, root: Path = Path()) -> int:
    """Exit status: 0, or 1 when --check found a difference."""
    parser = argparse.ArgumentParser(prog="python -m specdec.api.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if anything would change")
    if not parser.parse_args(arguments).check:
        for path in write(root):
            sys.stdout.write(f"wrote {path}\n")
        return 0
    found = differences(root)
    sys.stdout.writelines(found)
    if found:
        sys.stderr.write("error: generated files differ from the models. Run `make generate` and commit the result.\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
