"""The command line: which commands there are, what they print, what goes wrong in one line."""

from __future__ import annotations

import argparse
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from specdec import __version__
from specdec.api.decision import AcceptedDecision
from specdec.cli import cluster, explain, history, main, pause, status
from specdec.cli.failure import Failure
from specdec.controllers.checkpoint import Checkpoint
from specdec.controllers.tick import restored, saved
from specdec.kube import errors
from specdec.kube.client import KubeClient, Page
from specdec.kube.kinds import Kind
from tests.support.resource import resource, stored

NOW = 1_800_000_000.0


class Answers:
    """Stands in for `cluster.ask`: gives what was put in, notes what was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
        for module in (status, history, explain, pause):
            monkeypatch.setattr(module, "ask", lambda _arguments, _question: answer)
            monkeypatch.setattr(module, "namespace_of", lambda _arguments: "default")


def tuned() -> dict[str, Any]:
    body = stored("demo", replicas=2)
    body["status"] = {
        "readyReplicas": 2,
        "speculation": {"numSpeculativeTokens": 5, "switching": "Live"},
        "acceptance": {"meanAcceptedLength": "2930m"},
        "performance": {"tokensPerSecond": 1234, "gainPercent": 7},
        "conditions": [{"type": "Tuned", "status": "True", "reason": "GainTooSmall", "message": "nothing better"}],
        "history": [{"time": "2026-01-01T00:00:00Z", "from": "7", "to": "5", "reason": "BetterSchedule",
                     "predictedGainPercent": 6, "verdict": "Pending"}],
    }  # fmt: skip
    return body


def test_every_command_has_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("run", "status", "explain", "history", "pause", "resume", "version"))


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["version"]) == 0
    assert capsys.readouterr().out.strip() == __version__
    pyproject = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert f'version = "{__version__}"' in pyproject


def test_status_shows_the_figures_of_each_resource(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    Answers(monkeypatch, [tuned(), stored("fresh")])
    assert main.main(["status"]) == 0
    header, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert header == list(status.COLUMNS)
    shown = {row[1]: row for row in rows}
    assert shown["demo"][2:] == ["2/2", "5", "2.93", "1234", "+7%", "Live", "True", "GainTooSmall"]
    assert shown["fresh"][2:] == ["0/1", *["-"] * 7]


def test_status_as_json_can_be_read_by_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Answers(monkeypatch, [tuned()])
    assert main.main(["status", "-o", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["metadata"]["name"] == "demo"
    assert found["status"]["speculation"]["numSpeculativeTokens"] == 5


def test_history_shows_promise_and_verdict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    Answers(monkeypatch, [tuned()])
    assert main.main(["history", "demo"]) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row == ["2026-01-01T00:00:00Z", "7", "5", "BetterSchedule", "+6%", "-", "Pending"]


LOGGED = "[core.py:708] no weights in [/models/target]"


@pytest.mark.parametrize("command", ["status", "explain", "history"])
def test_what_a_log_says_in_brackets_is_shown_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    body = tuned()
    body["status"]["conditions"][0]["message"] = body["status"]["history"][0]["reason"] = LOGGED
    Answers(monkeypatch, (body, None) if command == "explain" else [body])
    assert main.main([command, "demo"]) == 0
    assert LOGGED in capsys.readouterr().out


def test_explain_says_what_each_k_would_yield() -> None:
    parsed = resource("demo")
    accepted = Checkpoint(accepted=AcceptedDecision(revision=3, switching="Live", start_k=7), asked_start_k=7)
    checkpoint = saved(accepted, restored(parsed, accepted, 0.0))
    lines = explain.explained(stored("demo"), {"data": checkpoint.data()}, NOW)
    assert lines[0] == "in force: K 7 (Live, revision 3)"
    assert any("acceptance per position" in line for line in lines)


def test_explain_before_the_operator_came_by() -> None:
    assert explain.explained(stored("demo"), None, NOW) == ["the operator has not taken this resource up yet"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("{", "cannot be read: Expecting property name", id="damaged"),
        pytest.param('{"format": 99}', "format 99, this version reads 1. One of a later version", id="newer"),
    ],
)
def test_explain_tells_of_a_checkpoint_that_it_cannot_read(text: str, said: str) -> None:
    with pytest.raises(Failure, match=said):
        explain.explained(stored("demo"), {"data": {"checkpoint.json": text}}, NOW)


class Lists:
    """A cluster with these resources, in pages of one."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        self._bodies = bodies

    async def pages(self, _kind: Kind, namespace: str | None = None) -> AsyncIterator[Page]:
        for body in self._bodies:
            if namespace in (None, body["metadata"]["namespace"]):
                yield Page([body], "1")


@pytest.mark.parametrize(
    ("namespace", "found"), [(None, ["default", "other"]), ("other", ["other"]), ("default", ["default"])]
)
async def test_a_name_is_looked_for_in_one_namespace_or_in_all(namespace: str | None, found: list[str]) -> None:
    elsewhere = {**tuned(), "metadata": {**tuned()["metadata"], "namespace": "other"}}
    client = cast("KubeClient", Lists(stored("first"), tuned(), elsewhere))
    bodies = await cluster.named(client, namespace, "demo")
    assert [body["metadata"]["namespace"] for body in bodies] == found
    with pytest.raises(errors.NotFound, match=f"no SpeculativeDeployment gone in {namespace or 'any namespace'}"):
        await cluster.named(client, namespace, "gone")


@pytest.mark.parametrize(("word", "said"), [("pause", "paused"), ("resume", "resumed")])
def test_pause_and_resume_say_what_they_did(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str, said: str
) -> None:
    Answers(monkeypatch, {})
    assert main.main([word, "demo"]) == 0
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        pytest.param(errors.NotFound("get x: 404"), "status -A", id="not found"),
        pytest.param(
            errors.from_status(404, "list x", b"404 page not found\n"), "Install the chart", id="no definition"
        ),
        pytest.param(errors.Forbidden("get x: 403"), "-n, or ask for .* view or edit role", id="forbidden"),
        pytest.param(errors.Unavailable("get x: refused"), "--context and that the API server", id="unavailable"),
        pytest.param(errors.Unauthenticated("get x: 401"), "Log in again", id="unauthenticated"),
    ],
)
def test_what_goes_wrong_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, remedy: str
) -> None:
    async def question(_client: object) -> None:
        raise error

    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(json.dumps(KUBECONFIG))
    arguments = argparse.Namespace(kubeconfig=kubeconfig, context=None)
    with pytest.raises(Failure, match=remedy):
        cluster.ask(arguments, question)


def test_without_a_cluster_the_message_says_how_to_name_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["status", "-n", "x", "--kubeconfig", str(tmp_path / "none")]) == 1
    assert "Set KUBECONFIG or pass --kubeconfig" in capsys.readouterr().err


def test_the_namespace_is_the_flags_else_the_contexts(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(json.dumps(KUBECONFIG))
    assert cluster.namespace_of(argparse.Namespace(namespace="flag", kubeconfig=kubeconfig, context=None)) == "flag"
    assert cluster.namespace_of(argparse.Namespace(namespace=None, kubeconfig=kubeconfig, context=None)) == "mine"


KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "one",
    "contexts": [{"name": "one", "context": {"cluster": "one", "user": "me", "namespace": "mine"}}],
    "clusters": [{"name": "one", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "me", "user": {"token": "none"}}],
}
