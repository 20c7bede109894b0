"""What the API server does not take: it is told with its remedy, tried again, and holds up nothing else."""

import asyncio

from specdec.kube.kinds import Name
from tests.integration.conftest import World
from tests.support.fleet import Fleet
from tests.support.operator import in_process


async def test_a_side_child_that_is_refused_does_not_slow_the_tuner(world: World) -> None:
    name = Name(world.namespace, "demo")
    world.apply("demo", monitoring={"podMonitor": True, "scrapeIntervalSeconds": 5})
    async with in_process(world.kubeconfig) as life:
        await life.settle(name)
        with Fleet(world.api, world.namespace) as fleet:
            fleet.follow()
            await life.one_pass(name)
            standing = await life.standing(name)
            async with asyncio.timeout(30):
                while not standing.unread:  # noqa: ASYNC110 - what is waited for happens in another process
                    await asyncio.sleep(0.01)
            again = await life.one_pass(name)
    assert world.condition("demo", "Stalled")["reason"] == "ChildRefused"
    assert "PodMonitor" in world.condition("demo", "Stalled")["message"]
    assert world.condition("demo", "MetricsAvailable")["status"] == "True"
    assert again.seconds is not None
    assert again.seconds <= 5
