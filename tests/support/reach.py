"""A URL for a Service, from outside the cluster: its own address where the host can reach it, else a port-forward."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.support.kubectl import Kubectl

CONNECT_SECONDS: Final = 2.0


@contextmanager
def reach(kubectl: Kubectl, service: str) -> Iterator[str]:
    """Yield `http://HOST:PORT` of the Service's first port, for as long as the block runs."""
    spec = kubectl.get("service", service)["spec"]
    address, port = spec["clusterIP"], spec["ports"][0]["port"]
    if _answers(address, port):
        yield f"http://{address}:{port}"
        return
    with _forwarded(kubectl, service, port) as local:
        yield f"http://127.0.0.1:{local}"


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), CONNECT_SECONDS):
            return True
    except OSError:
        return False


@contextmanager
def _forwarded(kubectl: Kubectl, service: str, port: int) -> Iterator[int]:
    scope = ["-n", kubectl.namespace] if kubectl.namespace else []
    command = [str(kubectl.program), "--kubeconfig", str(kubectl.kubeconfig), *scope]
    with subprocess.Popen(
        [*command, "port-forward", f"service/{service}", f":{port}"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not (found := re.search(r":(\d+) ->", line)):
                raise AssertionError(f"kubectl port-forward to {service} did not start: {line!r}")
            yield int(found[1])
        finally:
            process.terminate()
