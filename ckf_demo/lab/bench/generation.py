"""Explaining: tokens a second of the decoding loop against transformers' ``generate``."""

from collections.abc import Iterator

import numpy as np
import torch

from ckf_demo.backbone.engine import Branch, Engine
from ckf_demo.lab.ablation import sequences_for
from ckf_demo.lab.bench.plain import plain_prompts
from ckf_demo.model.system import System
from ckf_demo.runtime.timing import Row, alternate
from ckf_demo.training.sequences import PackedSequence

PROMPTS = 3
TOKENS = 48
NOTHING = {-1}
"""No token ends a text, so that neither decoder stops early."""

Prompt = tuple[list[int], Branch, torch.Tensor | None]


def decode_vs_generate(system: System, rounds: int) -> Iterator[Row]:
    """Both write `TOKENS` tokens behind the same prompts, never stopping earlier.

    What comes before the second token (the prompt) is measured on its own and taken off.
    """
    prompts = explanation_prompts(system)
    written: dict[str, list[list[int]]] = {}

    def write(tokens: int) -> list[list[int]]:
        return [
            list(
                system.engine.generate(
                    system.engine.prefill(ids), branch, slots, stop_ids=NOTHING, max_tokens=tokens
                )
            )
            for ids, branch, slots in prompts
        ]

    def plainly(tokens: int) -> list[list[int]]:
        with plain_prompts(system, 1):
            return write(tokens)

    def note(name: str, texts: list[list[int]]) -> None:
        written[name] = texts

    seconds = alternate(
        {
            "engine": lambda: note("engine", write(TOKENS)),
            "engine first": lambda: write(1),
            "plain": lambda: note("plain", plainly(TOKENS)),
            "plain first": lambda: plainly(1),
        },
        rounds,
    )
    engine = seconds["engine"] - seconds["engine first"]
    plain = seconds["plain"] - seconds["plain first"]
    total = PROMPTS * (TOKENS - 1)
    yield Row.of("decode_tokens_per_second", total / engine, "tokens/s")
    yield Row.of("generate_tokens_per_second", total / plain, "tokens/s")
    yield Row.of("decode_vs_generate", plain / engine, "times as fast")
    yield Row.of("decode_same_tokens_as_generate", _same(written, "engine", "plain"), "share")


def folded_adapters(system: System, rounds: int) -> Iterator[Row]:
    """Ways to have adapters in a token: merged into 8-bit weights, into dense ones, or beside.

    How far the texts of the first two agree with those of the third is the price of merging.
    """
    prompts = explanation_prompts(system)
    engines = {
        "int8": Engine(system.lora, eight_bit=True),
        "dense": Engine(system.lora, eight_bit=False),
        "beside": Engine(system.lora),
    }
    engines["beside"].decoder = lambda task: None
    written: dict[str, list[list[int]]] = {}

    def write(name: str, tokens: int) -> list[list[int]]:
        engine = engines[name]
        options = {"stop_ids": NOTHING, "max_tokens": tokens}
        return [list(engine.generate(engine.prefill(i), b, s, **options)) for i, b, s in prompts]

    def whole(name: str) -> None:
        written[name] = write(name, TOKENS)

    ways = {name: lambda name=name: whole(name) for name in engines}
    ways |= {f"{name} first": lambda name=name: write(name, 1) for name in engines}
    seconds = alternate(ways, rounds)
    spent = {name: seconds[name] - seconds[f"{name} first"] for name in engines}
    for name in ("int8", "dense"):
        yield Row.of(
            f"decode_merged_{name}_vs_adapters_beside",
            spent["beside"] / spent[name],
            "times as fast",
        )
        yield Row.of(f"decode_merged_{name}_same_tokens", _same(written, name, "beside"), "share")


def _same(written: dict[str, list[list[int]]], one: str, other: str) -> np.ndarray:
    """Share of places with the same token, per prompt."""
    pairs = zip(written[one], written[other], strict=True)
    return np.array([np.mean([x == y for x, y in zip(a, b, strict=True)]) for a, b in pairs])


def explanation_prompts(system: System) -> list[Prompt]:
    """Prefix tokens, branch and slots of `PROMPTS` explanations."""
    return [_prompt(system, s) for s in sequences_for(system, PROMPTS)]


@torch.inference_mode()
def _prompt(system: System, sequence: PackedSequence) -> Prompt:
    prefix = system.writer.prefix(
        sequence.items[sequence.shown_from :],
        sequence.ratings[sequence.shown_from :],
        sequence.profile,
        sequence.taste,
    )
    question = next(q for q in sequence.questions if q.task == "explanation")
    at = prefix.ends[question.length - sequence.shown_from]
    tokens = system.fusion.uses_tokens
    branch = system.writer.branch(
        "explanation", question.item, at, with_tokens=tokens, facts=question.facts
    )
    slots = None
    if tokens:
        pairs = system.pairs(
            sequence.items,
            sequence.ratings,
            np.array([question.length]),
            np.array([question.item]),
        )
        slots = system.slot(system.fuse(pairs), 0)
    return prefix.ids[:at], branch, slots
