"""The facts that are compared are all that a template is made from: the renderer against its own change detection."""

from functools import reduce
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from specdec import desired
from specdec.api.decision import AcceptedDecision
from specdec.api.names import Role
from specdec.api.resource import SpeculativeDeployment, parse
from specdec.api.schedule import from_table
from specdec.api.spec import Spec
from specdec.desired.start import Start
from specdec.desired.template import pod_template
from tests.support.resource import laid, stored

Json = dict[str, Any]

HUB = {"huggingFace": {"repo": "a/b"}}
VOLUME = {"huggingFace": ..., "pvc": {"claimName": "weights", "path": "v4"}}
# At least one edit for each field of the spec.
EDITS: tuple[Json, ...] = (
    {"replicas": 4},
    {"model": {"servedName": "flash"}},
    {"model": {"source": HUB}},
    {"model": {"source": VOLUME}},
    {"model": {"source": {"huggingFace": {"tokenSecretRef": {"name": "hub", "key": "token"}}}}},
    {"speculator": {"method": "eagle3"}},
    {"speculator": {"numSpeculativeTokens": 5}},
    {"speculator": {"source": HUB}},
    {"engine": {"image": "specdec/vllm:2"}},
    {"engine": {"parallelism": {"tensor": 8}}},
    {"engine": {"parallelism": {"tensor": 1, "data": 2}}},
    {"engine": {"parallelism": {"expert": False}}},
    {"engine": {"maxModelLen": 4096}},
    {"engine": {"maxNumSeqs": 64}},
    {"engine": {"maxNumBatchedTokens": 4096}},
    {"engine": {"gpuMemoryUtilization": "800m"}},
    {"engine": {"args": ["--seed=1"]}},
    {"engine": {"env": [{"name": "A", "value": "b"}]}},
    {"engine": {"apiKeySecretRef": {"name": "api", "key": "key"}}},
    {"engine": {"cache": {"size": "1Ti"}}},
    {"engine": {"cache": {"size": "2Ti"}}},
    {"engine": {"cache": {"size": ..., "existingClaim": "mine"}}},
    {"engine": {"startupTimeoutSeconds": 600}},
    {"engine": {"drainSeconds": 10}},
    {"engine": {"resources": {"requests": {"cpu": 4}}}},
    {"engine": {"shmSize": "1Gi"}},
    {"tuning": {"mode": "Off", "min": 2, "max": 6}},
    {"tuning": {"switching": "Restart"}},
    {"rollout": {"maxUnavailable": 2}},
    {"placement": {"gpuProduct": ["NVIDIA-H100"]}},
    {"placement": {"nodeSelector": {"pool": "gpu"}}},
    {"placement": {"tolerations": [{"key": "team"}]}},
    {"placement": {"affinity": {"podAffinity": {}}}},
    {"placement": {"topologySpreadConstraints": [{"maxSkew": 1}]}},
    {"placement": {"priorityClassName": "high"}},
    {"monitoring": {"podMonitor": True}},
    {"networkPolicy": {"extraEgress": [{"ports": [{"port": 3128}]}]}},
    {"networkPolicy": {"enabled": False}},
    {"podTemplate": {"metadata": {"labels": {"a": "b"}}}},
    {"podTemplate": {"spec": {"hostNetwork": False}}},
)
WISHES = st.lists(st.sampled_from(EDITS), max_size=5)
DECISIONS = st.builds(
    AcceptedDecision,
    revision=st.integers(1, 9),
    switching=st.sampled_from(["Live", "Restart"]),
    start_k=st.integers(0, 7),
    schedule=st.sampled_from([None, from_table([5, 5, 2]), from_table([3])]),
    off=st.booleans(),
)


def wished(edits: list[Json]) -> SpeculativeDeployment | None:
    """The resource with all `edits`, None where they contradict each other."""
    body = stored()
    parsed = parse({**body, "spec": reduce(laid, edits, body["spec"])})
    return parsed if isinstance(parsed, SpeculativeDeployment) else None


def rendered(of: SpeculativeDeployment, accepted: AcceptedDecision) -> Json:
    return pod_template(of, Role.STABLE, Start.of(of.spec, accepted))


@given(WISHES, st.lists(st.sampled_from(EDITS), max_size=1), DECISIONS, st.none() | DECISIONS)
@settings(max_examples=400)
def test_a_template_is_rendered_anew_exactly_when_a_fact_changed(
    edits: list[Json], further: list[Json], before: AcceptedDecision, decided: AcceptedDecision | None
) -> None:
    old, new = wished(edits), wished(edits + further)
    if old is None or new is None:
        return
    after = decided or before
    pinned = desired.pin(old, before).rendered
    accepted = AcceptedDecision(after.revision, after.switching, after.start_k, after.schedule, after.off, None, pinned)
    if desired.restart_reason(new, accepted) is None:
        assert rendered(new, after) == rendered(old, before)
        assert desired.pin(new, accepted).rendered == pinned
    again = desired.pin(new, accepted)
    assert again.rendered
    assert again.rendered.template == rendered(new, after)
    assert desired.restart_reason(new, again) is None
    assert desired.pin(new, again) == again


def test_the_edits_touch_every_field() -> None:
    def fields(edit: Json, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
        return {(*path, key) for key in edit}.union(
            *(fields(value, (*path, key)) for key, value in edit.items() if isinstance(value, dict))
        )

    touched = set().union(*map(fields, EDITS))
    spec = Spec.model_json_schema(by_alias=True)
    assert {path[0] for path in touched} == set(spec["properties"]) - {"paused"}
    engine = set(spec["$defs"]["Engine"]["properties"])
    assert {path[1] for path in touched if path[:1] == ("engine",) and len(path) == 2} == engine
    placement = set(spec["$defs"]["Placement"]["properties"])
    assert {path[1] for path in touched if path[:1] == ("placement",) and len(path) == 2} == placement
