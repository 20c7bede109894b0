"""The generated files are what the models say, and the CRD is what users and tools expect of one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from specdec.api import generate, names
from specdec.api.conditions import REASONS, Condition, Reason
from specdec.api.crd import custom_resource_definition
from specdec.api.reference import MEANINGS, reference_page

REPOSITORY = Path(__file__).parents[3]


def version() -> dict[str, Any]:
    found: dict[str, Any] = custom_resource_definition()["spec"]["versions"][0]
    return found


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


def test_the_stored_files_are_up_to_date() -> None:
    assert generate.differences(REPOSITORY) == []


def test_a_difference_is_shown_and_fails_until_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"], tmp_path) == 1
    told = capsys.readouterr()
    assert "+kind: CustomResourceDefinition" in told.out
    assert "Run `make generate`" in told.err
    assert generate.main([], tmp_path) == 0
    assert "wrote docs/reference.md" in capsys.readouterr().out
    assert generate.main(["--check"], tmp_path) == 0
    assert generate.main([], tmp_path) == 0
    assert capsys.readouterr().out == ""


def test_the_crd_has_no_anchors_that_some_tools_cannot_follow() -> None:
    text = generate.generated()[generate.CRD]
    assert "&id" not in text
    assert yaml.safe_load(text) == custom_resource_definition()


def test_every_field_is_described() -> None:
    bare = [path for path, node in nodes(version()["schema"]["openAPIV3Schema"]) if "description" not in node]
    assert {path for path in bare if "[]" not in path} == {".metadata", ".metadata.name"}


def test_there_is_no_float_and_no_phase() -> None:
    paths = dict(nodes(version()["schema"]["openAPIV3Schema"]))
    assert not [path for path, node in paths.items() if node.get("type") == "number"]
    assert not [path for path in paths if path.endswith(".phase")]


def test_lists_of_structs_with_an_identity_merge_by_it() -> None:
    paths = dict(nodes(version()["schema"]["openAPIV3Schema"]))
    assert paths[".spec.engine.env"]["x-kubernetes-list-map-keys"] == ["name"]
    assert paths[".spec.tuning.objective.constraints"]["x-kubernetes-list-map-keys"] == ["metric"]
    assert paths[".status.conditions"]["x-kubernetes-list-map-keys"] == ["type"]


def test_defaults_stand_in_the_schema() -> None:
    paths = dict(nodes(version()["schema"]["openAPIV3Schema"]))
    assert paths[".spec.engine.startupTimeoutSeconds"]["default"] == 2400
    assert paths[".spec.tuning"]["default"]["mode"] == "Auto"
    assert paths[".spec.rollout"]["default"] == {"maxUnavailable": 1, "maxSurge": 0}


def test_it_scales_and_has_a_status() -> None:
    assert version()["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }


def test_a_column_may_be_zero_without_losing_its_path() -> None:
    columns = version()["additionalPrinterColumns"]
    assert all(column.keys() >= {"name", "type", "jsonPath"} for column in columns)
    assert [column["name"] for column in columns if "priority" in column] == ["Method", "Switching", "Reason"]


def test_the_reference_names_every_field_condition_and_rule() -> None:
    page = reference_page()
    assert set(MEANINGS) == set(Condition)
    for field in ("spec.tuning.minDrafts", "spec.engine.cache.existingClaim", "status.conditions[].lastTransitionTime"):
        assert f"`{field}`" in page
    assert "spec.tuning.min is {…}, but spec.tuning.max is {…}; lower min or raise max" in page
    assert names.ANNOTATION_RESTART in page
    assert {reason for reasons in REASONS.values() for reason in reasons} == set(Reason) - {Reason.NOT_YET_MEASURED}


def test_names_fit_into_a_label_with_the_longest_suffix() -> None:
    longest = "x" * names.MAX_NAME_LENGTH
    for name in (
        names.deployment(longest, names.Role.TRIAL),
        names.control_secret(longest),
        names.checkpoint(longest),
        names.cache_claim(longest),
        names.network_policy(longest),
        names.service_account(longest),
        names.pod_monitor(longest),
        names.pod_disruption_budget(longest),
        names.service(longest),
    ):
        assert len(name) <= 63
    assert names.selector_text("demo") == "app.kubernetes.io/name=specdec-engine,specdec.dev/resource=demo"
