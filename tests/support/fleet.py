"""Plays the Deployment controller and the kubelet on an API server that has neither: real simulators as pods.

    with Fleet(api, namespace) as fleet:
        fleet.follow()          # one pod per replica of every Deployment, running the very command of its template

Each pod has a loopback address of its own, so that all of them answer on the engine's fixed port.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from specdec.api import names
from specdec.engine.target import Target
from tests.support.apiserver import ApiServer
from tests.support.patience import PATIENCE_SECONDS

Json = dict[str, Any]

SIMULATOR_ROOM: Final = Path(__file__).resolve().parents[2] / "images" / "simulator"
# Addresses of this process's own: two test runs at once must not share them.
_addresses = (f"127.{20 + os.getpid() % 200}.{n // 250}.{1 + n % 250}" for n in itertools.count())


@dataclass(slots=True)
class PodProcess:
    """One pod: its object's name, its address, and the engine behind it. template: digest of what it runs."""

    name: str
    address: str
    template: str
    process: subprocess.Popen[bytes]
    token_file: Path

    @property
    def url(self) -> str:
        return f"http://{self.address}:{names.HTTP_PORT}"

    def target(self) -> Target:
        """For `specdec.engine`."""
        return Target(self.name, self.name, self.url, control_token=self.token_file.read_text())

    def get(self, path: str) -> Json:
        """JSON of the engine's live endpoint."""
        headers = {"X-Speculation-Authorization": f"Bearer {self.token_file.read_text()}"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers), timeout=60) as answer:
            body: Json = json.load(answer)
        return body

    def fault(self, **faults: Any) -> None:
        body = json.dumps(faults).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + "/test/faults", body, method="PUT"), timeout=60):
            pass


@dataclass(slots=True)
class Fleet:
    """Pods of one namespace. settings: SPECDEC_SIM_* without the prefix, for all of them."""

    api: ApiServer
    namespace: str
    settings: dict[str, str] = field(default_factory=dict)
    pods: dict[str, PodProcess] = field(default_factory=dict)
    started: int = 0
    _folder: tempfile.TemporaryDirectory[str] = field(default_factory=lambda: tempfile.TemporaryDirectory("fleet"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pod in self.pods.values():
            pod.process.kill()
            pod.process.wait()
        self._folder.cleanup()

    def follow(self, only: str | None = None) -> None:
        """Make the pods what the Deployments ask for: old templates go, new ones come, all ready at the end."""
        deployments = self._list("deployments")
        wanted_by = tuple(f"{deployment['metadata']['name']}-pod-" for deployment in deployments)
        for pod in [pod for pod in self.pods.values() if not pod.name.startswith(wanted_by)]:
            self.remove(pod)
        for deployment in deployments:
            if only not in (None, deployment["metadata"]["name"]):
                continue
            template = json.dumps(deployment["spec"]["template"], sort_keys=True)
            mine = [p for p in self.pods.values() if p.name.startswith(deployment["metadata"]["name"] + "-pod-")]
            wanted = deployment["spec"].get("replicas", 1)
            kept = [pod for pod in mine if pod.template == template][:wanted]
            for pod in mine:
                if pod not in kept:
                    self.remove(pod)
            for _ in range(wanted - len(kept)):
                self._add(deployment, template)
            self._observe(deployment, wanted)

    def remove(self, pod: PodProcess) -> None:
        """The pod is gone, object and process."""
        pod.process.kill()
        pod.process.wait()
        del self.pods[pod.name]
        self.api.kubectl("-n", self.namespace, "delete", "pod", pod.name, "--force", "--grace-period=0")

    def restart(self, pod: PodProcess) -> None:
        """The container is restarted in its pod: the engine forgets, the restart count grows."""
        pod.process.kill()
        pod.process.wait()
        body = self._get("pod", pod.name)
        pod.process = self._run(body["spec"]["containers"][0], pod.address, pod.token_file)
        restarts = body["status"]["containerStatuses"][0]["restartCount"] + 1
        self._set_status("pod", pod.name, pod_status(pod.address, restarts))

    def _add(self, deployment: Json, template: str) -> None:
        self.started += 1
        name, address = f"{deployment['metadata']['name']}-pod-{self.started}", next(_addresses)
        spec = deployment["spec"]["template"]
        metadata = {**spec["metadata"], "name": name, "namespace": self.namespace}
        self._apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec["spec"]})
        token_file = Path(self._folder.name) / f"{name}.token"
        volume = next(v for v in spec["spec"]["volumes"] if v["name"] == "control")
        secret = self._get("secret", volume["secret"]["secretName"])
        token_file.write_bytes(base64.b64decode(secret["data"][names.CONTROL_TOKEN_KEY]))
        container = next(c for c in spec["spec"]["containers"] if c["name"] == names.CONTAINER)
        process = self._run(container, address, token_file)
        self.pods[name] = PodProcess(name, address, template, process, token_file)
        self._set_status("pod", name, pod_status(address, 0))

    def _run(self, container: Json, address: str, token_file: Path) -> subprocess.Popen[bytes]:
        command = [*container.get("command", []), *container.get("args", [])]
        assert command[0] == "vllm", command
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SPECDEC_")}
        environment |= {v["name"]: v["value"] for v in container.get("env", []) if v["name"].startswith("SPECDEC_SIM_")}
        environment |= {f"SPECDEC_SIM_{name}": value for name, value in self.settings.items()}
        environment |= {"SPECDEC_CONTROL_TOKEN_FILE": str(token_file), "PYTHONPATH": str(SIMULATOR_ROOM)}
        log = Path(self._folder.name) / f"{address}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "specdec_simulator", *command[1:], "--host", address],
                env=environment,
                stdout=output,
                stderr=output,
            )
        _wait_healthy(process, f"http://{address}:{names.HTTP_PORT}/health", log)
        return process

    def _observe(self, deployment: Json, replicas: int) -> None:
        status = deployment_status(deployment["metadata"]["generation"], replicas)
        self._set_status("deployment", deployment["metadata"]["name"], status)

    def _list(self, plural: str) -> list[Json]:
        items: list[Json] = json.loads(self.api.kubectl("-n", self.namespace, "get", plural, "-o", "json").stdout)[
            "items"
        ]
        return items

    def _get(self, kind: str, name: str) -> Json:
        body: Json = json.loads(self.api.kubectl("-n", self.namespace, "get", kind, name, "-o", "json").stdout)
        return body

    def _apply(self, body: Json) -> None:
        self.api.kubectl("-n", self.namespace, "create", "-f", "-", stdin=json.dumps(body))

    def _set_status(self, kind: str, name: str, status: Json) -> None:
        patch = json.dumps({"status": status})
        self.api.kubectl("-n", self.namespace, "patch", kind, name, "--subresource=status", "--type=merge", "-p", patch)


def eventually(what: str, condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """The first true answer of `condition`; AssertionError naming `what` when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}; last seen: {found!r}")
        time.sleep(0.1)


def deployment_status(generation: int, replicas: int) -> Json:
    """What the Deployment controller says once all replicas are up. Held to a real one in tests/e2e/test_fleet.py."""
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    return {"observedGeneration": generation, **dict.fromkeys(counts, replicas)}


def pod_status(address: str, restarts: int) -> Json:
    """What the kubelet says of a pod that serves. Held to a real one in tests/e2e/test_fleet.py."""
    now = "2026-01-01T00:00:00Z"
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": now} for kind in ("PodScheduled", "Ready")
        ],
        "containerStatuses": [
            {
                "name": names.CONTAINER,
                "ready": True,
                "started": True,
                "restartCount": restarts,
                "image": "simulator",
                "imageID": "",
                "state": {"running": {"startedAt": now}},
            }
        ],
    }


def _wait_healthy(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the simulator did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)
