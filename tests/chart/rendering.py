"""Runs the real `helm template` on the chart and looks things up in what it renders."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster import tools

CHART: Final = Path(__file__).resolve().parents[2] / "charts" / "specdec-operator"
RELEASE: Final = "specdec"
NAMESPACE: Final = "specdec-system"
OPERATOR: Final = "registry.example.com/specdec/operator"
LIMIT_SECONDS: Final = 120

Manifest = dict[str, Any]


class HelmError(AssertionError):
    """helm refused; the text is its own."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a release consists of. objects: in helm's order of installation, hooks included."""

    objects: tuple[Manifest, ...]

    def __iter__(self) -> Iterator[Manifest]:
        return iter(self.objects)

    def of_kind(self, *kinds: str) -> list[Manifest]:
        return [item for item in self.objects if item["kind"] in kinds]

    def one(self, kind: str, name: str | None = None) -> Manifest:
        """The only object of `kind`, or that of this name."""
        found = [item for item in self.of_kind(kind) if name in (None, item["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} of {kind} {name or ''}: {[item['metadata']['name'] for item in found]}"
        return found[0]


def helm(
    *arguments: str, values: Mapping[str, Any] | None = None, kubeconfig: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run helm with `values` as a values file; without `kubeconfig` it can reach no cluster.

    Raises HelmError with helm's own words when it fails.
    """
    command = [str(tools.path("helm")), *arguments, *(["--values", "-"] if values is not None else [])]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig or "/nonexistent")}
    done = subprocess.run(
        command,
        input=None if values is None else yaml.safe_dump(dict(values)),
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        env=environment,
    )
    if done.returncode != 0:
        raise HelmError(done.stderr.strip() or done.stdout.strip())
    return done


def render(values: Mapping[str, Any] | None = None, *, release: str = RELEASE) -> Rendered:
    """All objects of the chart with these values on top of its own, and an image unless they name one."""
    text = _template(release, json.dumps(with_image(values or {})))
    return Rendered(tuple(item for item in yaml.load_all(text, Loader=yaml.CSafeLoader) if item))


def with_image(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` and, unless they name one, the repository that everyone has to name."""
    return {**values, "image": {"repository": OPERATOR, **values.get("image", {})}}


@functools.cache
def _template(release: str, values: str) -> str:
    where = ("--namespace", NAMESPACE, "--kube-version", tools.KUBERNETES_VERSION)
    return helm("template", release, str(CHART), *where, values=json.loads(values)).stdout


def container(pod_owner: Manifest, name: str | None = None) -> Manifest:
    """The named, or only, container of a Deployment or Job."""
    found: Sequence[Manifest] = pod_owner["spec"]["template"]["spec"]["containers"]
    chosen = [item for item in found if name in (None, item["name"])]
    assert len(chosen) == 1
    return chosen[0]


def flags(of: Manifest) -> dict[str, list[str]]:
    """The `--name=value` arguments of a container, by name."""
    given: dict[str, list[str]] = {}
    for argument in of.get("args", []):
        name, equals, value = argument.partition("=")
        if name.startswith("--"):
            given.setdefault(name, []).append(value if equals else "")
    return given
