"""`vllm serve MODEL ...` as the simulator understands it: the same flags, the same refusals, the same exit codes.

A flag that changes nothing here is accepted when vLLM knows it (`flags`) and refused when vLLM does not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from specdec_simulator import VLLM_VERSION, flags, server, settings
from specdec_simulator.acceptance import ProfileError
from specdec_simulator.costs import CostTableError
from specdec_simulator.options import ServeOptions, StartError
from specdec_simulator.speculative import SpeculativeConfigError, parse

START_FAILED: Final = 1
DEFAULT_MAX_MODEL_LEN: Final = 1_048_576
# What vLLM 0.33 takes for its server on an H200.
DEFAULT_MAX_NUM_SEQS: Final = 1024
DEFAULT_MAX_NUM_BATCHED_TOKENS: Final = 8192
DEFAULT_CAPTURE_LIMIT: Final = 512


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the exit code of the process."""
    given = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args([part for argument in given for part in _as_vllm_reads(argument)])
    try:
        chosen = settings.read(os.environ)
        serve_options = read(options, os.environ.get("VLLM_API_KEY"))
        return server.run(serve_options, chosen)
    except (StartError, SpeculativeConfigError, settings.SettingsError, CostTableError, ProfileError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return START_FAILED


class _Parser(argparse.ArgumentParser):
    """Exits 2 on a flag that nobody knows."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"usage: {self.prog} serve [model_tag] [options]\n{self.prog}: error: {message}\n")


def _as_vllm_reads(argument: str) -> list[str]:
    """vLLM takes `--max_model_len` for `--max-model-len` and `-O3` for `--optimization-level 3`."""
    if argument.startswith("-O") and len(argument) > 2:
        return ["--optimization-level", argument[2:].removeprefix("=")]
    if not argument.startswith("--"):
        return [argument]
    name, equals, value = argument.partition("=")
    return [name.replace("_", "-") + equals + value]


def parser() -> argparse.ArgumentParser:
    """Of the whole command line."""
    top = _Parser(prog="vllm", allow_abbrev=False)
    top.add_argument("-v", "--version", action="version", version=VLLM_VERSION)
    serve = top.add_subparsers(dest="command", required=True, parser_class=_Parser).add_parser(
        "serve", prog="vllm", allow_abbrev=False, help="serve a (simulated) model"
    )
    serve.add_argument("model_tag", nargs="?")
    serve.add_argument("--model")
    serve.add_argument("--served-model-name", nargs="+", default=[])
    serve.add_argument("--host", default="0.0.0.0")  # noqa: S104  (vLLM's own default)
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--api-key", nargs="*", default=[])
    serve.add_argument("--speculative-config", "-sc")
    serve.add_argument("--max-model-len", type=_model_length)
    serve.add_argument("--max-num-seqs", type=_positive, default=DEFAULT_MAX_NUM_SEQS)
    serve.add_argument("--max-num-active-seqs", type=_positive)
    serve.add_argument("--max-num-batched-tokens", type=_size, default=DEFAULT_MAX_NUM_BATCHED_TOKENS)
    serve.add_argument("--block-size", type=_positive, default=16)
    serve.add_argument("--num-gpu-blocks-override", type=_positive)
    serve.add_argument("--max-cudagraph-capture-size", type=_positive)
    serve.add_argument("--cudagraph-capture-sizes", nargs="+", type=_positive)
    serve.add_argument("--compilation-config", "-cc")
    serve.add_argument("--enforce-eager", action=argparse.BooleanOptionalAction, default=False)
    serve.add_argument("--data-parallel-size", "-dp", type=_positive, default=1)
    serve.add_argument("--shutdown-timeout", type=int, default=0)
    flags.add_without_effect(serve)
    return top


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def _size(text: str) -> int:
    """An integer, or one with a unit: 1k = 1000, 1K = 1024."""
    units = {"k": 1000, "m": 1000**2, "K": 1024, "M": 1024**2}
    factor = units.get(text[-1:], 1)
    return _positive(str(round(float(text[:-1]) * factor))) if factor > 1 else _positive(text)


def read(options: argparse.Namespace, api_key: str | None) -> ServeOptions:
    """Check what the flags say together; raises StartError or SpeculativeConfigError. api_key: of VLLM_API_KEY."""
    model = options.model_tag or options.model
    if not model:
        raise StartError("no model given: vllm serve MODEL")
    speculative = parse(options.speculative_config) if options.speculative_config else None
    k = speculative.num_speculative_tokens if speculative else 0
    batched = options.max_num_batched_tokens
    if batched < k + 1:
        raise StartError(f"max_num_batched_tokens ({batched}) must hold one request with its {k} drafts")
    keys = [key for key in (*options.api_key, api_key) if key]
    return ServeOptions(
        model=model,
        names=tuple(options.served_model_name) or (model,),
        host=options.host,
        port=options.port,
        api_keys=tuple(keys),
        speculative=speculative,
        max_model_len=options.max_model_len or DEFAULT_MAX_MODEL_LEN,
        max_num_seqs=options.max_num_seqs,
        # vLLM lowers it when the drafts of all sequences would not fit into one step.
        max_active_seqs=min(options.max_num_active_seqs or options.max_num_seqs, batched // (k + 1)),
        max_num_batched_tokens=batched,
        block_size=options.block_size,
        kv_blocks_override=options.num_gpu_blocks_override,
        capture_tokens=_capture_tokens(options, k),
        data_parallel_size=options.data_parallel_size,
        shutdown_timeout=options.shutdown_timeout,
    )


def _capture_tokens(options: argparse.Namespace, k: int) -> int | None:
    """The largest step with a CUDA graph; vLLM's own default is twice the largest decode step, at most 512."""
    config = _compilation_config(options.compilation_config)
    if options.enforce_eager or str(config.get("cudagraph_mode", "")).upper() == "NONE":
        return None
    sizes = options.cudagraph_capture_sizes or config.get("cudagraph_capture_sizes")
    limit = options.max_cudagraph_capture_size or config.get("max_cudagraph_capture_size")
    if sizes:
        return int(max(sizes))
    if limit:
        return int(limit)
    return int(min(options.max_num_seqs * (k + 1) * 2, DEFAULT_CAPTURE_LIMIT))


def _model_length(text: str) -> int | None:
    return None if text in {"auto", "-1"} else _size(text)


def _compilation_config(text: str | None) -> dict[str, Any]:
    if not text:
        return {}
    try:
        config = json.loads(text)
    except ValueError as error:
        raise StartError(f"argument --compilation-config: not JSON: {error}") from error
    return config if isinstance(config, dict) else {}
