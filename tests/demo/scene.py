"""What the demo stands on: the cluster, the images in it, the operator by Helm, and the two twins."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster import tools
from tests.demo.engines import REPOSITORY, Engine
from tests.demo.steps import Steps
from tests.support.kubectl import Kubectl, until

CHART: Final = REPOSITORY / "charts" / "specdec-operator"
SYSTEM_NAMESPACE: Final = "specdec-system"
NAMESPACE: Final = "demo"
START_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A cluster with the operator and both twins, all ready. `kubectl` looks at the twins' namespace."""

    kubectl: Kubectl
    engine: Engine


def build(steps: Steps, engine: Engine) -> Scene:
    """From whatever is there to a ready scene; what is there already is kept. Raises DemoError."""
    python = sys.executable
    output = steps.command("start the cluster", [python, "-m", "tests.cluster", "up"])
    kubeconfig = Path(output.splitlines()[-1])
    loaded = steps.command(
        "build and load the images", [python, "-m", "tests.cluster", "load", "operator", *engine.images]
    )
    scene = Scene(Kubectl(tools.path("kubectl"), kubeconfig, NAMESPACE), engine)
    steps.command(
        "install the operator with Helm",
        [
            *(str(tools.path("helm")), "upgrade", "--install", "specdec", str(CHART), "--kubeconfig", str(kubeconfig)),
            *("--namespace", SYSTEM_NAMESPACE, "--create-namespace", "--wait", "--timeout", "5m"),
            *("--set", "image.repository=specdec/operator", "--set", "image.tag=dev"),
            # The tag stays the same when the image changes; the annotation makes the pods follow.
            *("--set-string", f"podAnnotations.build={_build(loaded)}"),
        ],
    )
    _apply(steps, scene)
    return scene


def _build(loaded: str) -> str:
    """The key of the operator's image archive, from what the loader printed."""
    found = re.search(r"operator_dev-([0-9a-f]+)", loaded)
    return found[1] if found else "unknown"


def _apply(steps: Steps, scene: Scene) -> None:
    """Fresh twins each time, so that the tuner begins with nothing learned."""
    engine = scene.engine
    with steps.step(f"kubectl apply -f {engine.example.relative_to(REPOSITORY)}"):
        anywhere = Kubectl(scene.kubectl.program, scene.kubectl.kubeconfig)
        anywhere.run("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", limit=180)
        anywhere.run("create", "namespace", NAMESPACE)
        scene.kubectl.run("apply", "-f", str(engine.example))
        for name in engine.twins:
            until(f"{name} exists", lambda name=name: scene.kubectl.get("specdep", name))  # type: ignore[misc]
        scene.kubectl.run(
            "wait",
            "--for=condition=Ready",
            *(f"specdep/{name}" for name in engine.twins),
            f"--timeout={START_SECONDS:.0f}s",
            limit=START_SECONDS + 30,
        )
