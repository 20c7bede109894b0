"""What a user hears from `kubectl apply`, from a real API server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from specdec.api.resource import SpeculativeDeployment, parse
from tests.support import examples
from tests.support.apiserver import ApiServer
from tests.support.bad_inputs import BAD_INPUTS, Bad
from tests.support.resource import stored

REPOSITORY = Path(__file__).parents[2]
CRD = REPOSITORY / "operator" / "specdec" / "api" / "crd.yaml"


@pytest.fixture(scope="module")
def api() -> Iterator[ApiServer]:
    """An API server that knows the resource, of this module's own: other tests may install another version."""
    with ApiServer() as server:
        server.kubectl("apply", "-f", str(CRD))
        server.kubectl("wait", "--for=condition=Established", "--timeout=120s", "-f", str(CRD))
        yield server


def manifest(name: str = "demo", **spec: Any) -> str:
    body = stored(name, **spec)
    body["metadata"] = {"name": name, "namespace": "default"}
    return json.dumps(body)


def applied(api: ApiServer, text: str) -> str:
    """What kubectl prints about bad input; nothing must have been stored."""
    done = api.kubectl("apply", "-f", "-", stdin=text, check=False)
    assert done.returncode != 0, done.stdout
    return done.stderr


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.id)
def test_bad_input_is_refused_with_the_field_and_the_remedy(api: ApiServer, bad: Bad) -> None:
    words = applied(api, manifest(bad.name, **bad.spec))
    if bad.api_says:
        assert bad.api_says in words
    else:
        assert any(line.lstrip("* ").find(f"{bad.path}: ") >= 0 and bad.said in line for line in words.splitlines())
    assert "not found" in api.kubectl("get", "specdep", bad.name, check=False).stderr


@pytest.mark.parametrize("path", examples.FILES, ids=lambda path: path.stem)
def test_examples_are_accepted_with_a_registry(api: ApiServer, path: Path) -> None:
    api.kubectl("apply", "--dry-run=server", "-n", "default", "-f", "-", stdin=examples.filled(path))


def test_what_is_stored_shows_every_default_and_is_read_back_unchanged(api: ApiServer) -> None:
    api.kubectl("apply", "-f", "-", stdin=manifest("defaults"))
    back = json.loads(api.kubectl("get", "specdep", "defaults", "-o", "json").stdout)
    parsed = parse(back)
    assert isinstance(parsed, SpeculativeDeployment)
    assert parsed.spec.model_dump(mode="json", by_alias=True, exclude_none=True) == back["spec"]
    assert back["spec"]["tuning"]["max"] == 7
    assert back["spec"]["rollout"] == {"maxUnavailable": 1, "maxSurge": 0}
    assert back["spec"]["placement"]["gpuProduct"] == ["NVIDIA-H200"]


def test_bad_input_changes_nothing_that_is_stored(api: ApiServer) -> None:
    api.kubectl("apply", "-f", "-", stdin=manifest("steady", tuning={"max": 5}))
    before = api.kubectl("get", "specdep", "steady", "-o", "jsonpath={.metadata.resourceVersion}").stdout
    applied(api, manifest("steady", tuning={"max": 9}))
    assert api.kubectl("get", "specdep", "steady", "-o", "jsonpath={.metadata.resourceVersion}").stdout == before


def test_the_claim_of_a_cache_keeps_its_storage_class(api: ApiServer) -> None:
    api.kubectl(
        "apply", "-f", "-", stdin=manifest("cached", engine={"cache": {"size": "1Ti", "storageClassName": "a"}})
    )
    words = applied(api, manifest("cached", engine={"cache": {"size": "1Ti", "storageClassName": "b"}}))
    assert "name it in spec.engine.cache.existingClaim" in words
    api.kubectl(
        "apply", "-f", "-", stdin=manifest("cached", engine={"cache": {"size": "2Ti", "storageClassName": "a"}})
    )


def test_the_table_shows_what_users_look_for(api: ApiServer) -> None:
    api.kubectl("apply", "-f", "-", stdin=manifest("shown"))
    status = {
        "readyReplicas": 1,
        "replicas": 1,
        "conditions": [
            _condition("Ready", "True", "AllReplicasReady"),
            _condition("Tuned", "False", "TooFewDrafts"),
        ],
        "speculation": {"numSpeculativeTokens": 5, "switching": "Live"},
        "acceptance": {"meanAcceptedLength": "2930m"},
        "performance": {"tokensPerSecond": 1234, "gainPercent": 12},
    }
    api.kubectl(
        "patch", "specdep", "shown", "--subresource=status", "--type=merge", "-p", json.dumps({"status": status})
    )
    header, row = api.kubectl("get", "specdep", "shown").stdout.splitlines()
    assert header.split() == ["NAME", "READY", "K", "ACCEPTED", "TOK/S", "GAIN", "AGE"]
    assert row.split()[:6] == ["shown", "True", "5", "2930m", "1234", "12"]
    header, row = api.kubectl("get", "specdep", "shown", "-o", "wide").stdout.splitlines()
    assert header.split()[7:] == ["METHOD", "SWITCHING", "REASON"]
    assert row.split()[7:] == ["dflash", "Live", "TooFewDrafts"]
    assert "speculativedeployment.specdec.dev/shown" in api.kubectl("get", "all").stdout


def test_it_scales_like_a_deployment(api: ApiServer) -> None:
    api.kubectl("apply", "-f", "-", stdin=manifest("scaled"))
    api.kubectl("scale", "specdep/scaled", "--replicas=3")
    assert api.kubectl("get", "specdep", "scaled", "-o", "jsonpath={.spec.replicas}").stdout == "3"


def test_status_is_written_apart_from_the_spec(api: ApiServer) -> None:
    api.kubectl("apply", "-f", "-", stdin=manifest("apart"))
    api.kubectl("patch", "specdep", "apart", "--type=merge", "-p", '{"status": {"replicas": 9}}')
    assert api.kubectl("get", "specdep", "apart", "-o", "jsonpath={.status.replicas}").stdout == ""


def _condition(type_: str, status: str, reason: str) -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": "",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
