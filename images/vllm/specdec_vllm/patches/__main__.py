"""`python -m specdec_vllm.patches apply|check`: on the vLLM of this environment, or on the one in --folder."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path

from specdec_vllm.patches import IN_PLACE, PatchError, apply, states, vllm_folder
from specdec_vllm.releases import UntestedRelease


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m specdec_vllm.patches", description="Patch vLLM for the DFlash drafter."
    )
    parser.add_argument("action", choices=("apply", "check"))
    parser.add_argument("--folder", type=Path, help="the vllm package (default: the one of this environment)")
    parser.add_argument("--release", help="its release (default: the one installed)")
    arguments = parser.parse_args()
    try:
        folder, number = arguments.folder or vllm_folder(), arguments.release or version("vllm")
        if arguments.action == "apply":
            apply(folder, number)
        found = states(folder, number)
    except (PatchError, UntestedRelease) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for patch, state in found.items():
        print(f"{patch.name}: {state.value}")
    return 0 if IN_PLACE.issuperset(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
