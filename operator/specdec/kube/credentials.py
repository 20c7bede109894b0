"""Where the API server is and who we are: from the pod's service account, or from a kubeconfig."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import kopf
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, list_kube_config_contexts, load_incluster_config, load_kube_config

# Service account tokens are replaced on disk about hourly; kopf asks again after this long.
REFRESH_EVERY: Final = timedelta(minutes=10)
POOL_SIZE: Final = 64


class CredentialsError(Exception):
    """Neither a service account nor a usable kubeconfig was found."""


async def configuration(kubeconfig: Path | None = None, context: str | None = None) -> Configuration:
    """Host and credentials. Without `kubeconfig`: the pod's own account, else $KUBECONFIG or ~/.kube/config."""
    found = Configuration()
    found.connection_pool_maxsize = POOL_SIZE
    # Looking for proxies and netrc files in the environment costs two turns of a thread for each request.
    found.client_session_kwargs = {"trust_env": False}
    if kubeconfig is None and context is None and os.environ.get("KUBERNETES_SERVICE_HOST"):
        load_incluster_config(client_configuration=found)
        return found
    try:
        await load_kube_config(
            config_file=str(kubeconfig) if kubeconfig else None,
            context=context,
            client_configuration=found,
            persist_config=False,
        )
    except (ConfigException, OSError) as error:
        raise CredentialsError(
            f"no cluster to talk to: {error}. Set KUBECONFIG or pass --kubeconfig, or run inside a pod."
        ) from error
    return found


def client(found: Configuration) -> ApiClient:
    """A connection pool of its own; close it with `await client.close()`."""
    return ApiClient(configuration=found)


async def for_kopf(found: Configuration) -> kopf.ConnectionInfo:
    """The same host and credentials in the shape in which kopf takes them, read anew on each call."""
    settings: dict[str, Any] = await found.auth_settings()
    scheme, _, token = settings.get("BearerToken", {}).get("value", "").rpartition(" ")
    return kopf.ConnectionInfo(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        ca_data=None if found.ssl_ca_cert else found.ca_cert_data,
        insecure=not found.verify_ssl,
        scheme=(scheme or "Bearer").strip() if token else None,
        token=token.strip() or None,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
        expiration=datetime.now(UTC) + REFRESH_EVERY,
    )


def context_namespace(kubeconfig: Path | None = None, context: str | None = None) -> str | None:
    """The namespace that the kubeconfig's context names, None where it names none."""
    try:
        contexts, current = list_kube_config_contexts(str(kubeconfig) if kubeconfig else None)
    except (ConfigException, OSError):
        return None
    chosen = next((entry for entry in contexts if entry["name"] == context), None) if context else current
    found = ((chosen or {}).get("context") or {}).get("namespace")
    return str(found) if found else None
