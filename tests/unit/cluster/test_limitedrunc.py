"""A machine without CAP_SYS_RESOURCE still runs privileged containers, less what needs that capability."""

import pytest

from tests.cluster.limitedrunc import option, reduced


def test_only_the_lacking_capability_and_what_needs_it_are_taken_out() -> None:
    process = {
        "args": ["/sbin/init"],
        "capabilities": {"bounding": ["CAP_SYS_ADMIN", "CAP_SYS_RESOURCE"], "ambient": None},
        "oomScoreAdj": -999,
        "rlimits": [{"type": "RLIMIT_NOFILE"}],
    }
    assert reduced(process) == {"args": ["/sbin/init"], "capabilities": {"bounding": ["CAP_SYS_ADMIN"], "ambient": []}}


def test_a_process_without_capabilities_stays_without() -> None:
    assert reduced({"args": ["true"]}) == {"args": ["true"]}


@pytest.mark.parametrize(
    "arguments",
    [["create", "--bundle", "/b", "id"], ["create", "--bundle=/b", "id"], ["run", "-b", "/b", "id"]],
    ids=" ".join,
)
def test_the_bundle_is_found_however_it_is_given(arguments: list[str]) -> None:
    assert option(arguments, "--bundle", "-b") == "/b"
    assert option(["create", "id"], "--bundle", "-b") is None
