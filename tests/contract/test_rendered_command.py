"""What the operator renders is a command line that the engine takes, and means there what it means here."""

from pathlib import Path

import pytest

from specdec import desired
from specdec.api.decision import AcceptedDecision
from specdec.api.resource import SpeculativeDeployment
from specdec.api.schedule import from_table
from specdec_simulator import cli, settings
from specdec_simulator.options import ServeOptions
from tests.support import examples
from tests.support.resource import resource


def served(of: SpeculativeDeployment, accepted: AcceptedDecision) -> ServeOptions:
    template = desired.manifests(of, accepted)[-1].body["spec"]["template"]
    container = template["spec"]["containers"][0]
    environment = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    assert settings.read(environment).token_file == Path("/var/run/specdec/control/token")
    words = [*container["command"], *container["args"]]
    assert words[0] == "vllm"
    return cli.read(cli.parser().parse_args(words[1:]), None)


@pytest.mark.parametrize("path", examples.FILES, ids=lambda path: path.stem)
def test_the_examples_start(path: Path) -> None:
    of = examples.resources(path)[0]
    options = served(of, AcceptedDecision(1, "Live", 7))
    assert of.spec.model.source.hugging_face
    assert options.model == of.spec.model.source.hugging_face.repo
    assert options.names == (of.served_name,)
    assert options.port == 8000
    assert options.shutdown_timeout == of.spec.engine.drain_seconds
    assert options.speculative
    assert options.speculative.num_speculative_tokens == 7
    assert {k for _, _, k in options.speculative.ranges} == {1, 2, 3, 4, 5, 6, 7}


def test_the_engine_keeps_all_its_sequences_and_graphs_for_each_of_its_steps() -> None:
    of = resource(engine={"maxNumSeqs": 256, "maxNumBatchedTokens": 8192})
    options = served(of, AcceptedDecision(1, "Live", 7))
    assert options.max_num_seqs == 256
    assert options.capture_tokens == 256 * (7 + 1)


def test_an_engine_that_takes_k_at_its_start_follows_the_decision() -> None:
    of = resource(tuning={"switching": "Restart"}, engine={"maxNumSeqs": 32})
    schedule = from_table([5] * 8 + [2] * 24)
    options = served(of, AcceptedDecision(3, "Restart", 5, schedule=schedule))
    assert options.speculative
    assert options.speculative.table(32)[1:] == schedule.table()


def test_k_0_starts_an_engine_that_does_not_speculate() -> None:
    assert served(resource(tuning={"switching": "Restart"}), AcceptedDecision(2, "Restart", 0)).speculative is None
