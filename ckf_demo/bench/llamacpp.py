"""Explaining: tokens a second of the decoding loop against llama.cpp on the same GGUF file.

llama.cpp gets prompts of the same lengths, without adapters and without collaborative tokens, which
it cannot take; it reads the 4-bit weights as they were published. It needs the package in
``requirements-bench.txt``.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import torch

from ckf_demo import downloads
from ckf_demo.backbone.loading import PINNED
from ckf_demo.bench.generation import NOTHING, PROMPTS, TOKENS, explanation_prompts
from ckf_demo.errors import UserError
from ckf_demo.paths import cache_dir
from ckf_demo.system import System
from ckf_demo.timing import Row, alternate


def available() -> bool:
    """Whether the bindings of llama.cpp are installed."""
    return importlib.util.find_spec("xllamacpp") is not None


def decode_vs_llama_cpp(system: System, rounds: int) -> Iterator[Row]:
    """Both write `TOKENS` tokens on the same number of threads; the prompt's time is taken off.

    Raises
    ------
    UserError
        When llama.cpp is not installed, or the backbone does not come as a GGUF file.
    """
    if not available():
        raise UserError("llama.cpp is not installed; pip install -r requirements-bench.txt.")
    prompts = explanation_prompts(system)
    texts = [ids + branch.ids for ids, branch, _ in prompts]
    server = _server(_weights(system.config.backbone.name), torch.get_num_threads())

    def theirs(tokens: int) -> None:
        for ids in texts:
            answer = server.handle_completions(
                {
                    "prompt": ids,
                    "max_tokens": tokens,
                    "temperature": 0.0,
                    "ignore_eos": True,
                    "cache_prompt": False,
                }
            )
            written = answer["usage"]["completion_tokens"]
            if written != tokens:
                raise RuntimeError(f"llama.cpp wrote {written} tokens instead of {tokens}")

    def ours(tokens: int) -> None:
        for ids, branch, slots in prompts:
            prefix = system.engine.prefill(ids)
            options = {"stop_ids": NOTHING, "max_tokens": tokens}
            list(system.engine.generate(prefix, branch, slots, **options))

    seconds = alternate(
        {
            "ours": lambda: ours(TOKENS),
            "ours first": lambda: ours(1),
            "theirs": lambda: theirs(TOKENS),
            "theirs first": lambda: theirs(1),
        },
        rounds,
    )
    own = seconds["ours"] - seconds["ours first"]
    other = seconds["theirs"] - seconds["theirs first"]
    length = sum(map(len, texts))
    yield Row.of("llama_cpp_tokens_per_second", PROMPTS * (TOKENS - 1) / other, "tokens/s")
    yield Row.of("decode_vs_llama_cpp", other / own, "times as fast")
    yield Row.of("prompt_tokens_per_second", length / seconds["ours first"], "tokens/s")
    yield Row.of("llama_cpp_prompt_tokens_per_second", length / seconds["theirs first"], "tokens/s")
    yield Row.of(
        "prompt_vs_llama_cpp", seconds["theirs first"] / seconds["ours first"], "times as fast"
    )


def _weights(backbone: str) -> Path:
    """The GGUF file of a pinned backbone, unpacked once into the user's cache."""
    if backbone not in PINNED:
        raise UserError(f"The backbone '{backbone}' comes without the GGUF file llama.cpp needs.")
    target = cache_dir() / "gguf" / f"{backbone}.gguf"
    return target if target.exists() else downloads.extract(*PINNED[backbone], target)


def _server(weights: Path, threads: int):
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights)
    parameters.n_ctx = 4096
    parameters.n_parallel = 1
    parameters.n_gpu_layers = 0
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    parameters.verbosity = 0
    return xllamacpp.Server(parameters)
