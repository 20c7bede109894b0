"""`helm test`: create the resource in the file given, wait until it is Ready, delete it.

    python helm_test.py RESOURCE.yaml TIMEOUT_SECONDS

Says each condition when it changes. Exit status 0: it was Ready in time; 1: it was not, and the last lines say why.
"""

import sys
import time
from pathlib import Path
from typing import Any, Final

import yaml
from kubernetes import client, config

POLL_SECONDS: Final = 1.0
REQUEST_SECONDS: Final = 15
GONE_SECONDS: Final = 60

Resource = dict[str, Any]


class Cluster:
    """The one resource of this test, through the API server."""

    def __init__(self, resource: Resource) -> None:
        config.load_incluster_config()
        group, version = resource["apiVersion"].split("/")
        self._api = client.CustomObjectsApi()
        self._kind = (group, version, resource["metadata"]["namespace"], "speculativedeployments")
        self._name = resource["metadata"]["name"]

    def create(self, resource: Resource) -> None:
        self._api.create_namespaced_custom_object(*self._kind, resource, _request_timeout=REQUEST_SECONDS)

    def get(self) -> Resource | None:
        try:
            found: Resource = self._api.get_namespaced_custom_object(
                *self._kind, self._name, _request_timeout=REQUEST_SECONDS
            )
        except client.ApiException as error:
            if error.status == 404:
                return None
            raise
        return found

    def delete(self) -> None:
        """Delete it, if it is there, and wait until it is gone."""
        if self.get() is None:
            return
        self._api.delete_namespaced_custom_object(*self._kind, self._name, _request_timeout=REQUEST_SECONDS)
        end = time.monotonic() + GONE_SECONDS
        while self.get() is not None:
            if time.monotonic() > end:
                raise TimeoutError(f"{self._name} is not gone {GONE_SECONDS} s after its deletion")
            time.sleep(POLL_SECONDS)


def conditions(resource: Resource | None) -> dict[str, str]:
    """Condition type -> `status (reason): message`."""
    entries = ((resource or {}).get("status") or {}).get("conditions") or []
    return {entry["type"]: f"{entry['status']} ({entry['reason']}): {entry['message']}" for entry in entries}


def wait_ready(cluster: Cluster, seconds: float) -> bool:
    """Whether it was Ready within `seconds`; tells each change on the way."""
    said: dict[str, str] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        now = conditions(cluster.get())
        for name, text in now.items():
            if said.get(name) != text:
                print(f"{name}: {text}", flush=True)
        said = now
        if said.get("Ready", "").startswith("True"):
            return True
        time.sleep(POLL_SECONDS)
    if not said:
        print("the operator wrote no status: is it running, and does it serve this namespace?", flush=True)
    return False


def main(file: str, seconds: str) -> int:
    resource = yaml.safe_load(Path(file).read_text())
    cluster = Cluster(resource)
    cluster.delete()
    cluster.create(resource)
    try:
        ready = wait_ready(cluster, float(seconds))
    finally:
        cluster.delete()
    print("passed" if ready else f"failed: not Ready within {seconds} s", flush=True)
    return 0 if ready else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
