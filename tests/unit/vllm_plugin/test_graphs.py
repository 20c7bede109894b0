"""A batch finds the captured graph of its kind, whatever other graphs lie between. vLLM's own classes: tests/engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from specdec_vllm.graphs import ladders


class Mode(Enum):
    PIECEWISE = 1
    FULL = 2


@dataclass(frozen=True)
class Graph:
    """As vLLM describes one; microbatches stand for whatever a release notes besides."""

    num_tokens: int
    uniform_token_count: int | None = None
    cg_mode: Mode = Mode.FULL
    num_reqs: int | None = None
    num_active_loras: int = 0
    microbatches: int = 1


def full(*graphs: Graph) -> dict[Mode, list[Graph]]:
    return {Mode.FULL: sorted(graphs, key=lambda graph: graph.num_tokens, reverse=True)}


def test_a_graph_of_another_length_hides_none() -> None:
    found = ladders(full(Graph(20, 5), Graph(16, 8), Graph(16, 4), Graph(10, 5)))
    assert set(found[15, 0]) == {Graph(16, 8), Graph(16, 4), Graph(20, 5)}
    assert set(found[10, 0]) == {Graph(10, 5), Graph(16, 8), Graph(16, 4)}
    assert found[17, 0] == [Graph(20, 5)]
    assert (21, 0) not in found


def test_smaller_graphs_come_first_and_full_ones_before_all_others() -> None:
    piecewise = Graph(16, cg_mode=Mode.PIECEWISE)
    found = ladders({Mode.PIECEWISE: [piecewise]} | full(Graph(24, 8), Graph(20, 5), Graph(18, 3)))
    assert found[16, 0] == [Graph(18, 3), Graph(20, 5), Graph(24, 8), piecewise]


def test_whatever_else_a_release_notes_of_a_graph_makes_a_kind() -> None:
    small, split, adapted = Graph(8, 8), Graph(16, 8, microbatches=2), Graph(16, 8, num_active_loras=2)
    found = ladders(full(small, split, adapted))
    assert found[8, 0] == [small, split]
    assert found[8, 2] == [adapted]


def test_graphs_that_may_hold_more_requests_are_of_one_kind() -> None:
    small, large = Graph(8, num_reqs=8), Graph(16, num_reqs=16)
    assert ladders(full(small, large))[7, 0] == [small]
