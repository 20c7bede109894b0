"""The SpeculativeDeployment definition travels with the chart, is upgraded by it and survives it."""

from __future__ import annotations

import yaml

from tests.chart.rendering import CHART, render

SOURCE = CHART / "files" / "crds" / "speculativedeployments.yaml"


def test_the_definition_passes_through_helm_unchanged() -> None:
    # Helm's own YAML round trip once turned a large integer into a float.
    assert render().one("CustomResourceDefinition")["spec"] == yaml.safe_load(SOURCE.read_text())["spec"]


def test_it_is_kept_on_uninstall_unless_asked() -> None:
    kept = render().one("CustomResourceDefinition")["metadata"]["annotations"]
    assert kept["helm.sh/resource-policy"] == "keep"
    given_up = render({"crds": {"keep": False}}).one("CustomResourceDefinition")["metadata"]
    assert "helm.sh/resource-policy" not in given_up.get("annotations", {})


def test_it_can_be_left_to_someone_else() -> None:
    assert not render({"crds": {"enabled": False}}).of_kind("CustomResourceDefinition")
