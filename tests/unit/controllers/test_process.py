"""Taking over: what happens between getting the lease and the first pass. Time passes in no time here."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from specdec.controllers.process import Operator
from specdec.controllers.settings import Settings
from specdec.kube.client import KubeClient
from specdec.kube.errors import KubeError, Unavailable
from specdec.kube.kinds import CONFIG_MAP, RESOURCE, Kind
from tests.support.clock import in_no_time

SETTINGS = Settings(namespaces=(), lease_namespace="default", lease_name="operator", identity="a")


class Watches:
    """Lists that fail with `errors`, one after the other, before one comes in."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.listed: list[Kind] = []

    async def sweep(self, kind: Kind) -> None:
        await asyncio.sleep(1)
        if self.errors:
            raise self.errors.pop(0)
        self.listed.append(kind)


def operator(*list_errors: Exception) -> Operator:
    client = KubeClient(cast(Any, SimpleNamespace(configuration=None)))
    made = Operator(SETTINGS, client, client, cast(Any, None))
    made.watches = cast(Any, Watches(*list_errors))
    return made


@pytest.mark.parametrize(
    "errors",
    [
        pytest.param([], id="while a renewal is late"),
        pytest.param([Unavailable("later"), KubeError("no")], id="while lists fail"),
        pytest.param([ValueError("unexpected")], id="after an error that nobody foresaw"),
    ],
)
def test_a_leader_acts_in_the_end(errors: list[Exception]) -> None:
    async def main() -> None:
        taken = operator(*errors)
        assert not taken.may_act()
        taken._lead()
        await asyncio.sleep(60)
        assert taken.loops._started
        taken._follow()

    in_no_time(main())


def test_records_are_read_first_then_specs_then_the_first_pass_begins() -> None:
    async def main() -> None:
        taken = operator()
        taken._lead()
        await asyncio.sleep(1.5)
        assert not taken.loops._started
        await asyncio.sleep(60)
        assert taken.loops._started
        assert cast(Any, taken.watches).listed == [CONFIG_MAP, RESOURCE]
        taken._follow()

    in_no_time(main())


def test_one_that_lost_the_lease_meanwhile_does_not_begin() -> None:
    async def main() -> None:
        taken = operator()
        taken._lead()
        await asyncio.sleep(0.5)
        taken._follow()
        await asyncio.sleep(60)
        assert not taken.loops._started

    in_no_time(main())
