"""What the first pods start with: what the user asked for, or better where only a restart could change it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from specdec import tuning
from specdec.api.resource import SpeculativeDeployment
from specdec.api.schedule import Schedule, constant
from specdec.api.speculator import Method
from specdec.api.tuning import Mode
from specdec.controllers.limits import environment_of, limits_of

# What the packaged step times are of.
PRIOR_MODEL: Final = "deepseek-v4-flash"
PRIOR_GPU: Final = "NVIDIA-H200"
PRIOR_TENSOR: Final = 4


@dataclass(frozen=True, slots=True)
class First:
    """schedule: at the start. why: a sentence, empty where there was nothing to choose."""

    schedule: Schedule
    why: str = ""


def first(resource: SpeculativeDeployment) -> First:
    """The start-up schedule of pods that have yet to be made."""
    spec, asked = resource.spec, resource.spec.speculator.num_speculative_tokens
    plain = constant(asked, spec.engine.max_num_seqs)
    if spec.live_possible or spec.tuning.mode is not Mode.AUTO:
        return First(plain)
    doubt = prior_doubt(resource)
    if doubt is not None:
        return First(plain, f"as asked; {doubt}, so nothing is known yet that would speak for another")
    unseen = tuning.new_state(environment_of(resource), tuning.estimated_prior())
    limits = limits_of(resource, {}, pods=0, by_restart=True, rolling=False, restarts=(), newest_sample=None, now=0.0)
    chosen = tuning.first_schedule(unseen, limits)
    estimated = "the best for every load alike by the packaged step times and acceptance, which are estimates"
    return First(chosen, f"{estimated}; K can only be changed by restart later")


def prior_doubt(resource: SpeculativeDeployment) -> str | None:
    """Why the packaged figures may not fit this resource, or None."""
    spec = resource.spec
    what = (
        (PRIOR_MODEL in spec.model.source.text.lower().replace("_", "-"), "another model"),
        (spec.speculator.method is Method.DFLASH, f"the method {spec.speculator.method.value}"),
        (set(spec.placement.gpu_product) == {PRIOR_GPU}, "other GPUs"),
        (spec.engine.parallelism.tensor == PRIOR_TENSOR, f"tensor parallel {spec.engine.parallelism.tensor}"),
    )
    other = [said for fits, said in what if not fits]
    if not other:
        return None
    return f"the packaged step times are not known to fit {', '.join(other)}"
