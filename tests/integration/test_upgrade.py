"""An operator of another version, which renders pods otherwise, comes to resources that another one made."""

from typing import Any

import pytest

from specdec.desired import plan, template
from specdec.kube.kinds import Name
from tests.integration.conftest import World
from tests.support.operator import in_process

RENDERED = "example.com/rendered"


def renders_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    render = template.pod_template

    def otherwise(*given: Any) -> dict[str, Any]:
        rendered: dict[str, Any] = render(*given)
        rendered["metadata"]["annotations"][RENDERED] = "otherwise"
        return rendered

    monkeypatch.setattr(plan, "pod_template", otherwise)


async def test_it_renders_anew_only_what_is_new_or_asked_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, fresh = Name(world.namespace, "kept"), Name(world.namespace, "fresh")

    def annotations(name: str) -> dict[str, str]:
        found: dict[str, str] = world.get("deployment", name)["spec"]["template"]["metadata"]["annotations"]
        return found

    world.apply("kept")
    async with in_process(world.kubeconfig) as before:
        await before.settle(kept)
    made = world.get("deployment", "kept")["spec"]["template"]
    renders_otherwise(monkeypatch)
    async with in_process(world.kubeconfig) as after:
        world.apply("kept", tuning={"max": 6})
        world.apply("fresh")
        for name in (kept, fresh):
            await after.settle(name)
        assert world.status("kept")["observedGeneration"] == 2
        assert world.get("deployment", "kept")["spec"]["template"] == made
        assert annotations("fresh")[RENDERED] == "otherwise"

        world.kubectl("annotate", "specdep", "kept", "specdec.dev/restart=now")
        await after.settle(kept)
        assert annotations("kept")[RENDERED] == "otherwise"
