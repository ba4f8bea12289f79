"""Explaining: tokens a second of the decoding loop against llama.cpp on the same GGUF file.

llama.cpp gets prompts of the same lengths, without adapters and without collaborative tokens, which
it cannot take; it reads the 4-bit weights as they were published. It needs the package in
``requirements-bench.txt``.
"""

import importlib.util
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from ckf_demo.backbone.loading import PINNED
from ckf_demo.lab.bench.generation import NOTHING, PROMPTS, TOKENS, explanation_prompts
from ckf_demo.model.system import System
from ckf_demo.runtime import downloads
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import cache_dir
from ckf_demo.runtime.timing import Row, alternate


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
    gguf, threads = _weights(system.config.backbone.name), torch.get_num_threads()

    def ours(tokens: int) -> None:
        for ids, branch, slots in prompts:
            prefix = system.engine.prefill(ids)
            options = {"stop_ids": NOTHING, "max_tokens": tokens}
            list(system.engine.generate(prefix, branch, slots, **options))

    with _writer(gguf, threads) as theirs:
        seconds = alternate(
            {
                "ours": lambda: ours(TOKENS),
                "ours first": lambda: ours(1),
                "theirs": lambda: theirs(texts, TOKENS),
                "theirs first": lambda: theirs(texts, 1),
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


@contextmanager
def _writer(weights: Path, threads: int) -> Iterator[Callable[[list[list[int]], int], None]]:
    """llama.cpp in a process of its own: in ours its thread pools slow PyTorch's down."""
    context = multiprocessing.get_context("spawn")
    ours, other = context.Pipe()
    process = context.Process(target=_write_on_demand, args=(other, weights, threads), daemon=True)
    process.start()
    other.close()

    def write(texts: list[list[int]], tokens: int) -> None:
        ours.send((texts, tokens))
        written = ours.recv()
        if written != [tokens] * len(texts):
            raise RuntimeError(f"llama.cpp wrote {written} tokens instead of {tokens} each")

    try:
        yield write
    finally:
        ours.close()
        process.join()


def _write_on_demand(connection: Connection, weights: Path, threads: int) -> None:
    """Continue texts by some number of tokens and send back how many were written, until the end
    of the connection."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights)
    parameters.n_ctx = 4096
    parameters.n_parallel = 1
    parameters.n_gpu_layers = 0
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    parameters.verbosity = 0
    server = xllamacpp.Server(parameters)
    options = {"temperature": 0.0, "ignore_eos": True, "cache_prompt": False}
    while True:
        try:
            texts, tokens = connection.recv()
        except EOFError:
            return
        answers = [
            server.handle_completions({"prompt": ids, "max_tokens": tokens, **options})
            for ids in texts
        ]
        connection.send([a["usage"]["completion_tokens"] for a in answers])
