"""Answers of the API server as errors."""

from __future__ import annotations

import json

import pytest

from specdec.kube import errors


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.Rejected), (401, errors.Unauthenticated), (403, errors.Forbidden), (404, errors.NotFound),
        (409, errors.Conflict), (410, errors.Conflict), (422, errors.Rejected), (429, errors.Unavailable),
        (500, errors.Unavailable), (503, errors.Unavailable),
    ],
)  # fmt: skip
def test_each_status_has_its_error(status: int, kind: type[errors.KubeError]) -> None:
    error = errors.from_status(status, "apply /x", json.dumps({"message": "why"}).encode())
    assert type(error) is kind
    assert str(error) == f"apply /x: {status} why"


def test_a_malformed_patch_is_no_fault_of_the_server() -> None:
    body = json.dumps({"message": "failed to create typed patch object (x): .spec: expected list"}).encode()
    assert isinstance(errors.from_status(500, "apply /x", body), errors.Rejected)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("soon", None), (None, None)])
def test_the_asked_for_pause_is_kept(header: str | None, seconds: float | None) -> None:
    error = errors.from_status(429, "get /x", b"{}", header)
    assert isinstance(error, errors.Unavailable)
    assert error.retry_after_seconds == seconds


def test_an_answer_that_is_no_json_is_shown_in_part() -> None:
    assert "<html>" in str(errors.from_status(502, "get /x", b"<html>" + b"x" * 1000))
    assert len(str(errors.from_status(502, "get /x", b"<html>" + b"x" * 1000))) < 300
