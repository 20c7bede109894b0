"""Who gets in."""

from __future__ import annotations

from pathlib import Path

import pytest

from specdec_vllm.authentication import authenticate, control_token
from specdec_vllm.schedule import Refusal

OWN, SHARED = "x-speculation-authorization", "authorization"


@pytest.mark.parametrize(
    ("headers", "token", "opens"),
    [
        pytest.param({OWN: "Bearer secret"}, b"secret", True, id="own header"),
        pytest.param({OWN: "bearer secret"}, b"secret", True, id="the scheme in any case"),
        pytest.param({SHARED: "Bearer secret"}, b"secret", True, id="shared header"),
        pytest.param({OWN: "Bearer wrong", SHARED: "Bearer secret"}, b"secret", False, id="the own header decides"),
        pytest.param({OWN: "Bearer secret", SHARED: "Bearer key"}, b"secret", True, id="beside an API key"),
        pytest.param({}, b"secret", False, id="nothing"),
        pytest.param({OWN: "secret"}, b"secret", False, id="no scheme"),
        pytest.param({OWN: "Basic secret"}, b"secret", False, id="another scheme"),
        pytest.param({OWN: "Bearer "}, b"", False, id="an empty token opens nothing"),
        pytest.param({OWN: "Bearer \xe9"}, b"secret", False, id="no ASCII"),
    ],
)
def test_authenticate(headers: dict[str, str], token: bytes, opens: bool) -> None:
    if opens:
        authenticate(headers, token)
        return
    with pytest.raises(Refusal) as refusal:
        authenticate(headers, token)
    assert refusal.value.status == 401


def test_the_token_file_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    monkeypatch.setenv("SPECDEC_CONTROL_TOKEN_FILE", str(file))
    assert control_token() == b""
    file.write_text("one\n")
    assert control_token() == b"one"
    file.write_text("two\n")
    assert control_token() == b"two"


def test_without_a_file_there_is_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPECDEC_CONTROL_TOKEN_FILE", raising=False)
    assert control_token() == b""
