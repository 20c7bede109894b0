"""What `specdec run` is told: a flag wins over its variable, a variable over the default."""

from __future__ import annotations

import argparse
import json
import logging

import pytest
import structlog

from specdec.controllers import logs
from specdec.controllers.settings import Settings, add_arguments, from_arguments


def settings(*arguments: str, **environment: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_arguments(parser, environment)
    return from_arguments(parser.parse_args(arguments), environment)


def test_defaults_serve_the_whole_cluster_under_a_lease() -> None:
    found = settings(POD_NAME="operator-1", POD_NAMESPACE="system")
    assert (found.namespaces, found.leader_election, found.lease_namespace) == ((), True, "system")
    assert (found.health_port, found.metrics_port, found.log_format) == (8080, 9090, "json")
    assert found.identity.startswith("operator-1_")


def test_each_life_of_a_pod_is_another_holder() -> None:
    assert settings(POD_NAME="a").identity != settings(POD_NAME="a").identity


def test_variables_stand_in_for_flags() -> None:
    found = settings(SPECDEC_NAMESPACES="a, b", SPECDEC_METRICS_PORT="1234", SPECDEC_LEADER_ELECTION="false")
    assert (found.namespaces, found.metrics_port, found.leader_election) == (("a", "b"), 1234, False)


def test_flags_win_over_variables() -> None:
    found = settings(
        "--namespace=c", "--namespace=d", "--metrics-port=5", SPECDEC_NAMESPACES="a", SPECDEC_METRICS_PORT="1"
    )
    assert (found.namespaces, found.metrics_port) == (("c", "d"), 5)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        pytest.param("leader-election", "True", "true, false", id="what reads like true must not mean false"),
        pytest.param("leader-election", "yes", "true, false", id="a yes"),
        pytest.param("leader-election", "1", "true, false", id="a one"),
        pytest.param("leader-election", "", "true, false", id="nothing"),
        pytest.param("log-level", "verbose", "debug, info, warning, error", id="a level"),
        pytest.param("log-format", "text", "json, console", id="a format"),
        pytest.param("metrics-port", "http", "invalid int", id="a port"),
    ],
)
def test_a_wrong_value_is_refused_in_a_flag_and_in_its_variable(
    name: str, value: str, allowed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    variable = "SPECDEC_" + name.upper().replace("-", "_")
    given: tuple[tuple[list[str], dict[str, str]], ...] = (([f"--{name}={value}"], {}), ([], {variable: value}))
    for flags, variables in given:
        with pytest.raises(SystemExit):
            settings(*flags, **variables)
        said = capsys.readouterr().err
        assert f"--{name}" in said
        assert allowed in said


def test_logs_are_json_lines_of_ours_and_of_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        logs.configure("info", "json")
        structlog.get_logger("ours").info("told", k=5)
        logging.getLogger("library").warning("a %s", "line")
        logging.getLogger("kopf.objects").info("not shown")
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        structlog.reset_defaults()
    assert [(line["event"], line["level"]) for line in lines] == [("told", "info"), ("a line", "warning")]
    assert lines[0]["k"] == 5
