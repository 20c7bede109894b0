"""What a scrape of the simulated engines shows: their counters, and nothing else."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.simulate.lanes import Advanced
from specdec.simulate.world import World
from specdec.tuning.samples import BATCH_BUCKET_ENDS, Cell, Histogram, Sample, StockCounters

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BUCKETS: Final = len(BATCH_BUCKET_ENDS) + 1
DECODE, MIXED = 0, 1
MIX_SECONDS: Final = 12.0  # over which the tokens asked for make up the requests in service


class Counters:
    """Cumulative counters of the lanes of `watched` policies.

    cells: shape (lanes, phase, K + 1, BUCKETS, 4): steps, seconds, requests summed over steps, prefill tokens.
    accepted: shape (lanes, phase, K + 1, BUCKETS, K_max), drafts whose tokens up to the position were accepted.
    latency: shape (lanes, 2): inter-token seconds and how many. prompts: shape (lanes,).
    drafts, passed, steps: sums over cells, shapes (lanes, K + 1), (lanes, K_max), (lanes,); K = 0 counts requests.
    """

    def __init__(self, world: World, watched: tuple[int, ...], per_policy: int, rng: np.random.Generator) -> None:
        self.world, self.watched, self.rng = world, np.array(watched, dtype=np.int64), rng
        self._first = {policy: i * per_policy for i, policy in enumerate(watched)}
        self.per_policy = per_policy
        lanes = len(watched) * per_policy
        ks = world.max_k + 1
        self.cells = np.zeros((lanes, 2, ks, BUCKETS, 4))
        self.accepted = np.zeros((lanes, 2, ks, BUCKETS, world.max_k))
        self.latency = np.zeros((lanes, 2))
        self.prompts = np.zeros(lanes)
        self.drafts, self.passed, self.steps = np.zeros((lanes, ks)), np.zeros((lanes, world.max_k)), np.zeros(lanes)
        self.incarnation = np.zeros(lanes, dtype=np.int64)
        self.demand = np.zeros((per_policy, world.length.shape[1]))
        self._row = np.arange(lanes)
        self._figures = np.zeros((lanes, 4))
        self._bucket = np.searchsorted(BATCH_BUCKET_ENDS, np.arange(world.max_batch + 1))
        self._shown = np.zeros(self.cells.shape[:-1])
        self._pages: dict[int, dict[tuple[int, int, int], Cell]] = {}
        self._prefill_ms = world.workload.prefill_ms_per_token

    def add(self, done: Advanced, demand: Floats, seconds: float) -> None:
        """Count one advance; `demand`: shape (seeds x replicas, classes), tokens asked for in it."""
        keep = np.exp(-seconds / MIX_SECONDS)
        self.demand = self.demand * keep + demand
        if not self.watched.size:
            return
        k, batch = done.k[self.watched].ravel(), done.batch[self.watched].ravel()
        requests, used = done.requests[self.watched].ravel(), done.prefill[self.watched].ravel()
        busy = np.minimum(requests, 1.0)
        steps = done.steps[self.watched].ravel() * busy
        step_seconds, arrived = done.step_seconds[self.watched].ravel(), done.arrived[self.watched].ravel()
        chunk_seconds = self.world.workload.prefill_chunk * self._prefill_ms / 1000.0
        mixed = np.minimum(steps, np.where(used > 0, np.maximum(arrived, used / max(chunk_seconds, 1e-9)), 0.0))
        per_step = batch.astype(float)
        cell = self.cells.reshape(-1, 4)
        place = ((self._row * 2 + DECODE) * self.cells.shape[2] + k) * BUCKETS + self._bucket[batch]
        decode = steps - mixed
        tokens = used * 1000.0 / self._prefill_ms if self._prefill_ms else used * 0.0
        accepted, rows = self.accepted.reshape(-1, self.world.max_k), self._accepted(k, steps * per_step)
        share = np.divide(decode, steps, out=np.ones_like(steps), where=steps > 0)[:, None]
        cell[place] += self._joined(decode, decode * step_seconds, decode * per_step, 0.0)
        accepted[place] += rows * share
        place += self.cells.shape[2] * BUCKETS
        cell[place] += self._joined(mixed, mixed * step_seconds + used, mixed * per_step, tokens)
        accepted[place] += rows * (1.0 - share)
        self.drafts[self._row, k] += steps * per_step
        self.passed += rows
        self.steps += steps
        # each request of a step waits for it, so these figures go with the same batch as the drafts
        self.latency[:, 0] += per_step * busy * seconds
        self.latency[:, 1] += steps * per_step
        self.prompts += tokens

    def _joined(self, steps: Floats, seconds: Floats, requests: Floats, tokens: Floats | float) -> Floats:
        """Columns of `cells`, in a buffer that the next call writes over."""
        for column, values in enumerate((steps, seconds, requests, tokens)):
            self._figures[:, column] = values
        return self._figures

    def _accepted(self, k: Ints, drafts: Floats) -> Floats:
        """Accepted tokens by position, with the scatter of that many drafts, for the mix of classes in service."""
        mix = np.tile(self.demand, (self.watched.size, 1)) / self.world.length[k]
        mix /= np.maximum(mix.sum(axis=1, keepdims=True), 1e-12)
        rate = mix @ self.world.acceptance
        spread = np.sqrt(drafts[:, None] * rate * (1.0 - rate))
        # one draw for all policies, so that no row depends on which others are run
        luck = np.tile(self.rng.standard_normal((self.per_policy, rate.shape[1])), (self.watched.size, 1))
        seen = drafts[:, None] * rate + spread * luck
        seen = np.minimum.accumulate(np.minimum(np.maximum(seen, 0.0), drafts[:, None]), axis=1)
        return np.where(np.arange(rate.shape[1]) < k[:, None], seen, 0.0)

    def reset(self, lane: int) -> None:
        """The engine of `lane` restarted."""
        for counter in (
            self.cells, self.accepted, self.latency, self.prompts, self.drafts, self.passed, self.steps, self._shown,
        ):  # fmt: skip
            counter[lane] = 0.0
        self.incarnation[lane] += 1
        self._pages.pop(lane, None)

    def lane(self, policy: int, replica: int) -> int:
        """Row of `replica` (seed x replica) under the watched `policy`."""
        return self._first[policy] + replica

    def sample(self, lane: int, at: float, *, exact: bool) -> Sample:
        """The page of one engine; without `exact`, vLLM's own families only."""
        off, *drafts_by_k = self.drafts[lane].tolist()
        passed, drafts = self.passed[lane].tolist(), sum(drafts_by_k)
        stock = StockCounters(
            drafts=drafts,
            draft_tokens=sum(k * made for k, made in enumerate(drafts_by_k, 1)),
            accepted_tokens=sum(passed),
            accepted_per_position=tuple(passed),
            generated_tokens=drafts + off + sum(passed),
            prompt_tokens=float(self.prompts[lane]),
            engine_steps=float(self.steps[lane]),
            inter_token_latency=Histogram((), (), float(self.latency[lane, 1]), float(self.latency[lane, 0])),
            time_per_output_token=None,
            time_to_first_token=None,
            running_requests=None,
            waiting_requests=None,
            kv_cache_usage=None,
            preemptions=None,
            created=None,
        )
        name = f"pod-{lane % self.per_policy}"
        found = self._cells(lane) if exact else ()
        return Sample(name, str(int(self.incarnation[lane])), at, stock, found)

    def _cells(self, lane: int) -> tuple[Cell, ...]:
        """In order of phase, K and bucket; a cell that did not change since the last page is the same object."""
        cells, kept = self.cells[lane], self._pages.setdefault(lane, {})
        phase, ks, buckets = np.nonzero(cells[..., 0] != self._shown[lane])
        self._shown[lane] = cells[..., 0]
        figures, passed = cells[phase, ks, buckets], self.accepted[lane][phase, ks, buckets]
        places = list(zip(phase.tolist(), ks.tolist(), buckets.tolist(), strict=True))
        fresh = {p: _cell(p, *row) for p, *row in zip(places, figures.tolist(), passed.tolist(), strict=True)}
        if fresh.keys() <= kept.keys():
            kept.update(fresh)
        else:
            kept = self._pages[lane] = dict(sorted({**kept, **fresh}.items()))
        return tuple(kept.values())


def _cell(place: tuple[int, int, int], figures: list[float], passed: list[float]) -> Cell:
    phase, k, bucket = place
    steps, seconds, requests, prompts = figures
    drafts = requests if k else 0.0
    accepted = tuple(passed[:k])
    return Cell(
        k, bucket, phase == MIXED, steps, seconds, requests, prompts, drafts, (drafts,) * k, accepted,
        requests + sum(passed),
    )  # fmt: skip
