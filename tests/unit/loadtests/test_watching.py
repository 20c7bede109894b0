"""What changed between two looks at a resource."""

from typing import Any

from loadtests.watching import Look, schedule_text


def resource(*tiers: tuple[int, int, int], paused: bool = False, message: str = "") -> dict[str, Any]:
    schedule = [{"fromBatch": a, "toBatch": b, "numSpeculativeTokens": k} for a, b, k in tiers]
    conditions = [{"type": "Tuned", "status": "True", "message": message}] if message else []
    status = {"speculation": {"schedule": schedule}, "conditions": conditions}
    return {"spec": {"paused": paused}, "status": status}


def pod(name: str, restarts: int = 0) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"containerStatuses": [{"restartCount": restarts}]}}


def test_the_first_look_tells_nothing() -> None:
    assert not list(Look().changes(resource((1, 64, 7)), [pod("a")]))


def test_a_change_of_k_is_told_with_its_reason() -> None:
    look = Look()
    list(look.changes(resource((1, 64, 7)), []))
    (change,) = look.changes(resource((1, 8, 7), (9, 64, 3), message="48 requests cost too much"), [])
    assert change == ("schedule", "K by batch: 7 → 1-8: 7, 9-64: 3 (48 requests cost too much)")
    assert not list(look.changes(resource((1, 8, 7), (9, 64, 3)), []))


def test_a_status_without_a_schedule_is_no_change() -> None:
    look = Look()
    list(look.changes(resource((1, 64, 7)), []))
    assert not list(look.changes({"spec": {}, "status": {}}, []))
    assert not list(look.changes(resource((1, 64, 7)), []))


def test_pods_that_restart_come_and_go_are_told() -> None:
    look = Look()
    list(look.changes(resource(), [pod("a"), pod("b")]))
    told = list(look.changes(resource(paused=True), [pod("a", 1), pod("c")]))
    assert told == [
        ("pause", "paused"),
        ("restart", "pod a restarted"),
        ("pod", "pod c is new"),
        ("pod", "pod b is gone"),
    ]


def test_one_k_for_all_is_shown_as_such() -> None:
    assert schedule_text(resource((1, 64, 7))) == "7"
    assert not schedule_text({})
