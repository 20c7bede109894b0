"""Many nodes without machines: kwok reports fake nodes Ready and the pods on them Running, without any container.

    with FakeNodes(kubeconfig, folder, count=125) as nodes:
        ...                                   # pods with NODE_SELECTOR that tolerate the GPU taint run there

kwok plays the kubelet's part alone; scheduler and controllers are the cluster's own, so the local cluster's CLUSTER_QPS
decides how fast a thousand Deployments become pods. The stages (what a fake pod does when) are those of kwok's module.
"""

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.cluster import tools
from tests.cluster.nodes import GPUS, LABELS
from tests.cluster.places import ClusterError, say
from tests.cluster.processes import becomes, run

MARK: Final = "kwok.x-k8s.io/node"
SELECTOR: Final = "type=kwok"
NODE_SELECTOR: Final = {"type": "kwok"}
# The taint that GPU nodes usually have: model pods tolerate it, others stay on the real nodes.
TAINT: Final = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
TOLERATION: Final = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
CAPACITY: Final = {"cpu": "192", "memory": "2Ti", "pods": "110", "nvidia.com/gpu": str(GPUS)}
STAGES: Final = ("node/fast", "node/heartbeat-with-lease", "pod/fast")
READY_LIMIT_SECONDS: Final = 120.0
STOP_LIMIT_SECONDS: Final = 10.0


@dataclass(slots=True)
class FakeNodes:
    """Starts kwok and makes `count` nodes on entry; removes both on exit. Its log is `folder`/kwok.log.

    tainted: keep pods off that do not tolerate the GPU taint. zones: how many zones the nodes are spread over.
    """

    kubeconfig: Path
    folder: Path
    count: int
    tainted: bool = True
    zones: int = 3
    _kwok: "subprocess.Popen[bytes] | None" = field(default=None, init=False, repr=False)

    def __enter__(self) -> Self:
        try:
            self._start()
            self._make()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._kubectl("delete", "nodes", "-l", SELECTOR, "--wait=false")
        finally:
            self._stop()

    @property
    def log(self) -> Path:
        """What kwok printed."""
        return self.folder / "kwok.log"

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            str(tools.path("kwok")),
            f"--kubeconfig={self.kubeconfig}",
            "--manage-all-nodes=false",
            f"--manage-nodes-with-annotation-selector={MARK}=fake",
            "--node-lease-duration-seconds=40",
            # addresses for show: nothing listens there
            "--cidr=198.18.0.1/15",
            "--node-ip=198.51.100.1",
            *(f"--config={stage}" for stage in stages()),
        ]
        with self.log.open("ab") as log:
            self._kwok = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _make(self) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": [self._node(index) for index in range(self.count)]}
        self._kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(listed))
        if not becomes(lambda: self._ready() >= self.count, READY_LIMIT_SECONDS):
            raise ClusterError(f"{self._ready()} of {self.count} fake nodes are Ready; read {self.log}")
        say(f"{self.count} fake nodes with {GPUS} GPUs each")

    def _ready(self) -> int:
        if self._kwok is not None and self._kwok.poll() is not None:
            raise ClusterError(f"kwok ended with {self._kwok.returncode}; read {self.log}")
        return self._kubectl("get", "nodes", "-l", SELECTOR, "--no-headers").count(" Ready ")

    def _node(self, index: int) -> dict[str, Any]:
        name = f"fake-{index:04}"
        places = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"zone-{index % self.zones}"}
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "annotations": {MARK: "fake"},
                "labels": {**LABELS, **places, "kubernetes.io/os": "linux", "type": "kwok"},
            },
            "spec": {"taints": [TAINT]} if self.tainted else {},
            "status": {"capacity": CAPACITY, "allocatable": CAPACITY},
        }

    def _stop(self) -> None:
        if self._kwok is None:
            return
        self._kwok.terminate()
        try:
            self._kwok.wait(timeout=STOP_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._kwok.kill()
            self._kwok.wait()

    def _kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return run(tools.path("kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments, stdin=stdin)


def stages() -> list[Path]:
    """The files that tell kwok what fake nodes and pods do."""
    folder = tools.module_folder("kwok", "sigs.k8s.io/kwok") / "kustomize" / "stage"
    found = [file for stage in STAGES for file in sorted((folder / stage).glob("*-*.yaml"))]
    if not found:
        raise ClusterError(f"kwok's module has no stages in {folder}")
    return found
