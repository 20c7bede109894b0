"""A real Kubernetes API on loopback: etcd and kube-apiserver, without nodes and without controllers.

    with ApiServer() as api:
        api.kubectl("apply", "-f", "-", stdin=manifest)

Nothing sets status, runs pods or collects garbage here: what is there was written by the test or by what it tests.
Users are made by token (`users={"someone": ("group",)}`); `kubeconfig_for` gives each a kubeconfig of its own.
"""

import json
import secrets
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.cluster import audit, tools
from tests.support.patience import PATIENCE_SECONDS

ADMIN: Final = "test-admin"
STOP_LIMIT_SECONDS: Final = 15
_AUDIT_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


class ApiServer:
    """Starts on entry, ready for requests; stops and leaves no file behind on exit.

    users: name -> groups, beside the administrator. audit: note each request, see `audit_events`.
    garbage_collection: also run kube-controller-manager's collector and namespace deletion.
    """

    def __init__(
        self,
        *,
        users: Mapping[str, Sequence[str]] | None = None,
        audit: bool = False,
        garbage_collection: bool = False,
    ) -> None:
        self._users = {ADMIN: ("system:masters",), **(users or {})}
        self._tokens = {name: secrets.token_urlsafe(24) for name in self._users}
        self._audit = audit
        self._garbage_collection = garbage_collection
        self._folder = tempfile.TemporaryDirectory(prefix="api-server-")
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.folder = Path(self._folder.name)
        self._etcd_port, self._peer_port, self._port = _free_ports(3)

    @property
    def url(self) -> str:
        """`https://127.0.0.1:PORT`; the same after `stop_server` and `start_server`."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def ca_file(self) -> Path:
        """The certificate by which clients know the server."""
        return self.folder / "server.crt"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / f"{ADMIN}.kubeconfig"

    def kubeconfig_for(self, user: str) -> Path:
        """The kubeconfig of one of `users`."""
        return self.folder / f"{user}.kubeconfig"

    def token(self, user: str = ADMIN) -> str:
        """The bearer token of `user`."""
        return self._tokens[user]

    def __enter__(self) -> Self:
        try:
            self._prepare()
            self.start_etcd()
            self.start_server()
            if self._garbage_collection:
                self._start_controllers()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def start_etcd(self) -> None:
        """Start the store; its data lasts as long as this object."""
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, self._peer_port))
        self._start(
            "etcd",
            f"--data-dir={self.folder}/etcd",
            "--unsafe-no-fsync",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--log-level=warn",
        )

    def start_server(self) -> None:
        """Start kube-apiserver and return once it is ready; after `stop_server` it comes back with all objects."""
        key, certificate = self.folder / "server.key", self.ca_file
        options = [
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--secure-port={self._port}",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--token-auth-file={self.folder}/tokens.csv",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={certificate}",
            f"--service-account-signing-key-file={key}",
            # nobody creates the accounts that this plugin would insist on
            "--disable-admission-plugins=ServiceAccount",
            "--allow-privileged=true",
            "--shutdown-delay-duration=0s",
            # clients that keep watches open must not delay a stop by the default minute
            "--shutdown-watch-termination-grace-period=0s",
        ]
        if self._audit:
            options += [
                f"--audit-policy-file={self.folder}/audit-policy.json",
                f"--audit-log-path={self.folder}/audit.log",
                "--audit-log-mode=blocking",
            ]
        self._start("kube-apiserver", *options)
        self._wait_ready()

    def stop_server(self) -> None:
        """Stop kube-apiserver alone, as an outage; `start_server` ends it."""
        self._stop("kube-apiserver")

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True, user: str = ADMIN
    ) -> "subprocess.CompletedProcess[str]":
        """Run kubectl as `user`; with `check` a failure raises AssertionError with kubectl's own words."""
        command = [str(tools.path("kubectl")), f"--kubeconfig={self.kubeconfig_for(user)}", *arguments]
        done = subprocess.run(command, input=stdin, check=False, capture_output=True, text=True, timeout=180)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
        return done

    def audit_events(self) -> list[dict[str, Any]]:
        """Each request that was answered so far, in the audit log's own form (audit.k8s.io/v1 Event)."""
        if not self._audit:
            raise RuntimeError("this ApiServer keeps no audit log; make it with audit=True")
        return audit.events(self.folder / "audit.log")

    def writes(self, user: str | None = None) -> list[dict[str, Any]]:
        """The audit events that changed something, of `user` or of all."""
        return audit.writes(self.audit_events(), user)

    def _prepare(self) -> None:
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-days", "2", "-subj", "/CN=api-server", "-keyout", self.folder / "server.key", "-out", self.ca_file),
                *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
                *("-addext", "keyUsage=critical,digitalSignature,keyCertSign"),
            ],
            check=True,
            capture_output=True,
            timeout=PATIENCE_SECONDS,
        )
        rows = [f'{self._tokens[name]},{name},{name},"{",".join(groups)}"' for name, groups in self._users.items()]
        (self.folder / "tokens.csv").write_text("\n".join(rows) + "\n")
        (self.folder / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))
        for name in self._users:
            self.kubeconfig_for(name).write_text(json.dumps(self._kubeconfig(name), indent=2))

    def _kubeconfig(self, user: str) -> dict[str, Any]:
        cluster = {"server": self.url, "certificate-authority": str(self.ca_file)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self._tokens[user]}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        }

    def _start_controllers(self) -> None:
        self._start(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            "--controllers=garbage-collector-controller,namespace-controller",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        )

    def _start(self, name: str, *options: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            # setpriv: should the test process be killed, its servers go with it
            command = ["setpriv", "--pdeathsig", "KILL", "--", str(tools.path(name)), *options]
            self._running[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )

    def _stop(self, name: str) -> None:
        process = self._running.pop(name)
        process.terminate()
        try:
            process.wait(timeout=STOP_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _close(self) -> None:
        for name in reversed(list(self._running)):
            self._running[name].kill()  # nothing of theirs is kept
            self._running.pop(name).wait()
        self._folder.cleanup()

    def _wait_ready(self) -> None:
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {self.token()}"})
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode}:\n{self._last_words(name)}")
            try:
                with urllib.request.urlopen(request, context=trust, timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (OSError, urllib.error.HTTPError):
                time.sleep(0.05)
        raise RuntimeError(
            f"kube-apiserver not ready after {PATIENCE_SECONDS:.0f} s:\n{self._last_words('kube-apiserver')}"
        )

    def _last_words(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
