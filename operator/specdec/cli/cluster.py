"""What commands that read the cluster have in common: their flags, and the resource that they are about."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from specdec.cli.failure import Failure

if TYPE_CHECKING:
    from specdec.kube.client import KubeClient
    from specdec.kube.errors import KubeError

Json = dict[str, Any]
Answer = TypeVar("Answer")


def add_flags(parser: argparse.ArgumentParser, *, name: bool) -> None:
    """--namespace, --kubeconfig and --context, and NAME where the command is about one resource."""
    if name:
        parser.add_argument("name", help="name of the SpeculativeDeployment")
    parser.add_argument("-n", "--namespace", help="namespace [default: that of the kubeconfig's context]")
    parser.add_argument("--kubeconfig", type=Path, help="kubeconfig [default: $KUBECONFIG or ~/.kube/config]")
    parser.add_argument("--context", help="context of the kubeconfig")


def ask(arguments: argparse.Namespace, question: Callable[[KubeClient], Awaitable[Answer]]) -> Answer:
    """Run `question` against the cluster; what goes wrong becomes a Failure that names the remedy."""
    from specdec.kube import errors
    from specdec.kube.client import KubeClient
    from specdec.kube.credentials import CredentialsError

    async def run() -> Answer:
        async with KubeClient.connect(arguments.kubeconfig, arguments.context) as client:
            return await question(client)

    try:
        return asyncio.run(run())
    except CredentialsError as error:
        raise Failure(str(error)) from error
    except errors.KubeError as error:
        raise Failure(f"{error}. {_remedy(error)}".rstrip()) from error


def namespace_of(arguments: argparse.Namespace) -> str:
    """The namespace to look in: the flag's, the kubeconfig context's, else `default`."""
    if arguments.namespace:
        return str(arguments.namespace)
    from specdec.kube.credentials import context_namespace

    return context_namespace(arguments.kubeconfig, arguments.context) or "default"


def _remedy(error: KubeError) -> str:
    """What its user can do about `error`, "" where nothing is known."""
    from specdec.kube import errors

    match error:
        case errors.NotFound() if errors.KIND_UNKNOWN.search(str(error)):
            return "Install the chart in this cluster, or choose another one by --context."
        case errors.NotFound():
            return "Check the name and --namespace; `specdec status -A` lists what exists."
        case errors.Forbidden():
            return "Name a served namespace by -n, or ask for the chart's aggregated view or edit role in that one."
        case errors.Unauthenticated():
            return "Log in again, or name other credentials by --kubeconfig and --context."
        case errors.Unavailable():
            return "Check --context and that the API server answers."
    return ""


async def named(client: KubeClient, namespace: str | None, name: str) -> list[Json]:
    """The resources of this name, in every namespace where none is given. Raises NotFound where there is none.

    By a list, which the operator's own account may do, so that this also works by `kubectl exec` in its pods.
    """
    from specdec.kube import errors
    from specdec.kube.kinds import RESOURCE

    pages = client.pages(RESOURCE, namespace)
    found = [body async for page in pages for body in page.items if body["metadata"]["name"] == name]
    if not found:
        raise errors.NotFound(f"no SpeculativeDeployment {name} in {namespace or 'any namespace'}")
    return found


def condition(resource: Json, type_: str) -> Json:
    """A condition of the stored status, empty where there is none."""
    conditions = resource.get("status", {}).get("conditions", [])
    return next((found for found in conditions if found["type"] == type_), {})
