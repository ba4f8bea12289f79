"""Explaining: tokens a second of the decoding loop against transformers' ``generate``."""

from collections.abc import Iterator

import numpy as np
import torch

from ckf_demo.bench.plain import plain_prompts
from ckf_demo.bench.rounds import Row, alternate
from ckf_demo.evaluation.ablation import sequences_for
from ckf_demo.system import System

PROMPTS = 3
TOKENS = 48


def decode_vs_generate(system: System, rounds: int) -> Iterator[Row]:
    """Both write `TOKENS` tokens behind the same prompts, never stopping earlier.

    What comes before the second token (the prompt) is measured on its own and taken off.
    """
    prompts = [_prompt(system, s) for s in sequences_for(system, PROMPTS)]
    nothing = {-1}  # no token, so that nobody stops early
    written: dict[str, list[list[int]]] = {}

    def write(tokens: int) -> list[list[int]]:
        return [
            list(
                system.engine.generate(
                    system.engine.prefill(ids), branch, slots, stop_ids=nothing, max_tokens=tokens
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
    same = [
        np.mean([x == y for x, y in zip(a, b, strict=True)])
        for a, b in zip(written["engine"], written["plain"], strict=True)
    ]
    yield Row.of("decode_same_tokens_as_generate", np.array(same), "share")


@torch.inference_mode()
def _prompt(system: System, sequence):
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
