"""However little a pod or Deployment says of itself, there is a status."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from specdec import observed
from specdec.api.conditions import Condition
from tests.support.cluster_facts import deployment, pod, seen
from tests.support.resource import resource

FULL_POD = pod(ready=False, restarts=3, waiting=("CrashLoopBackOff", "x"), ended={"exitCode": 1, "message": "boom"})
FULL_DEPLOYMENT = deployment(2, ready=1, conditions=({"type": "Progressing", "status": "False", "message": "m"},))


@st.composite
def thinned(draw: st.DrawFn, body: Any, path: tuple[str, ...] = ()) -> Any:
    """`body` with some of its fields missing or null; what identifies an object stays."""
    if isinstance(body, dict):
        kept = {}
        for key, value in body.items():
            fate = draw(st.sampled_from(["keep", "keep", "drop", "null"]))
            if fate == "keep" or key in ("kind", "metadata", "name", "type", "status") or path[:1] == ("metadata",):
                kept[key] = draw(thinned(value, (*path, key)))
            elif fate == "null":
                kept[key] = None
        return kept
    if isinstance(body, list):
        return [draw(thinned(item, path)) for item in body]
    return body


@given(thinned(FULL_POD), thinned(FULL_DEPLOYMENT))
def test_a_status_can_always_be_told(sparse_pod: Any, sparse_deployment: Any) -> None:
    looked = observed.status(resource(), seen(sparse_deployment, sparse_pod), None, "2026-01-01T00:00:00Z")
    assert [entry.type for entry in looked.status.conditions or ()] == list(Condition)
