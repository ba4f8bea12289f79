"""A language model and a tokenizer small enough to be made in a test, and systems over them.

Weights are random and far from zero, so that attention is not flat and adapters matter.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ckf_demo.backbone.engine import Engine
from ckf_demo.backbone.loading import backbone_hash, load_backbone
from ckf_demo.backbone.multilora import LoraConfig, MultiLora
from ckf_demo.collaborative.base import Knowledge
from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.config import RunConfig
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.store import InteractionStore, write_store
from ckf_demo.fusion.base import FusionMethod
from ckf_demo.inference.predictor import Predictor
from ckf_demo.model.system import System
from ckf_demo.recommender import Recommender
from support.synthetic import made_up

TASKS = ("rating", "ctr", "ranking", "explanation")
FROZEN = {"shared_targets": [], "task_targets": []}
"""A configuration of LoRA without any adapter."""
SHARED = {"rank": 4, "alpha": 8, "task_targets": []}
"""One with an adapter that all tasks share, and none of their own."""
END = "<|end|>"


@cache
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, with " Yes", " No" and an end as further single tokens (263 in all)."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "Y"), ("ĠY", "e"), ("ĠYe", "s"), ("Ġ", "N"), ("ĠN", "o")]
    words = [*alphabet, *(a + b for a, b in merges), END]
    tokenizer = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)


def tiny_llama(
    seed: int = 0, dtype: torch.dtype = torch.float32, hidden_size: int = 32
) -> LlamaForCausalLM:
    """Two layers, four heads over two key-value heads."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tiny_tokenizer()),
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        initializer_range=0.2,
        tie_word_embeddings=True,
        eos_token_id=tiny_tokenizer().eos_token_id,
    )
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.to(dtype).eval().requires_grad_(False)


def stir(lora: MultiLora, seed: int = 1, size: float = 0.3) -> None:
    """Give all adapters random weights that bf16 holds exactly: new ones change nothing."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in lora.adapter_parameters():
        noise = torch.randn(parameter.shape, generator=generator) * size
        parameter.data.copy_(noise.to(torch.bfloat16))


def tiny_engine(config: LoraConfig | None = None, seed: int = 0) -> Engine:
    """A float32 engine with stirred adapters for all tasks."""
    lora = MultiLora(tiny_llama(seed), TASKS, config or LoraConfig()).eval()
    stir(lora)
    return Engine(lora, eight_bit=False)


@contextmanager
def usual_attention(engine: Engine) -> Iterator[None]:
    """transformers' own attention in the place of ours, for references."""
    ours = engine.model.config._attn_implementation
    engine.model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        engine.model.set_attn_implementation(ours)


def save_backbone(folder: Path, seed: int = 0, hidden_size: int = 32) -> Path:
    """A folder that stands for a backbone: its name in a configuration is its path."""
    tiny_llama(seed, torch.bfloat16, hidden_size).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@cache
def tiny_data() -> Prepared:
    return made_up(n_users=50, n_items=60, n=1500)


@cache
def tiny_knowledge() -> CollaborativeKnowledge:
    return CollaborativeKnowledge.fit(tiny_data())


def tiny_config(backbone: str | Path = "tiny", **changes: dict | str) -> RunConfig:
    """A run over the made-up data; ``changes`` replace sections or update ``train``."""
    train = {
        "steps": 12,
        "accumulate": 2,
        "rows": 4,
        "choices": 1,
        "negatives": 3,
        "validate_every": 6,
        "validation_sequences": 4,
        "wording_steps": 0,
        **changes.pop("train", {}),
    }
    sections = {
        "name": "tiny",
        "data": {"dataset": "made-up"},
        "backbone": {"name": str(backbone)},
        "lora": {"rank": 4, "alpha": 8},
        "fusion": {"hidden": 8},
        "prompt": {"window": 12, "block": 4},
    }
    return RunConfig.model_validate({**sections, "train": train, **changes})


def stir_zeros(fusion: FusionMethod) -> None:
    """Change learnt matrices that begin at zero, since these hide what stands before them."""
    with torch.no_grad():
        for parameter in fusion.learnt():
            if parameter.ndim > 1 and not parameter.any():
                parameter.add_(0.1 * torch.randn_like(parameter))


def tiny_system(
    config: RunConfig | None = None,
    data: Prepared | None = None,
    knowledge: Knowledge | None = None,
) -> System:
    """A float32 system in evaluation mode, its adapters stirred and its fusion as initialised."""
    torch.manual_seed(0)
    over = data or tiny_data(), knowledge or tiny_knowledge()
    system = System(config or tiny_config(), *over, tiny_llama(), tiny_tokenizer())
    stir(system.lora, size=0.1)
    system.lora.eval()
    system.fusion.eval()
    return system


def save_checkpoint(
    system: System, backbone: Path, folder: Path, extra: dict | None = None
) -> None:
    """Save a tiny system as one that was trained over a backbone, its fusion at random."""
    stir_zeros(system.fusion)
    system.backbone_hash = backbone_hash(load_backbone(str(backbone), "bf16"))
    system.save(folder, extra=extra)


def save_checkpoints(
    folder: Path, methods: dict[str, tuple[str, ...]], *, fit: bool = False, **options
) -> Path:
    """Checkpoints of tiny systems, by method and their tasks, in the folder that is returned."""
    backbone = save_backbone(folder / "backbone")
    for method, tasks in methods.items():
        system = system_of(method, train={"tasks": tasks}, backbone=backbone)
        if fit:
            system.fusion.fit(tiny_data(), system.knowledge, seed=0)
        save_checkpoint(system, backbone, folder / "checkpoints" / method, **options)
    return folder / "checkpoints"


def lora_of(method: str) -> dict:
    """The adapters that suit a method."""
    shared = ("text", "collm", "binllm", "personprompt", "prompt4nr")
    adapters = {} if method == "ckf" else SHARED if method in shared else FROZEN
    return {"rank": 4, "alpha": 8} | adapters


def system_of(method: str, **changes) -> System:
    """A tiny system of a method, with the adapters that suit it."""
    fusion = {"method": method, "hidden": 8}
    return tiny_system(tiny_config(fusion=fusion, lora=lora_of(method), **changes))


def method_config(place: Path, method: str, *, prompt: dict | None = None, **train) -> RunConfig:
    """A run of a method for ratings and CTR, over the backbone of a workplace."""
    return tiny_config(
        place / "backbone",
        name=f"tiny-{method}",
        fusion={"method": method, "hidden": 8, "update_every": 1},
        lora=lora_of(method),
        prompt=prompt or {"window": 12, "block": 4},
        train={"tasks": ["rating", "ctr"], **train},
    )


def write_config(folder: Path, config: RunConfig, name: str = "config.toml") -> Path:
    """Write the configuration into the folder as TOML."""
    lines = [f'name = "{config.name}"']
    for section, values in config.model_dump(exclude_none=True).items():
        if isinstance(values, dict):
            lines.append(f"[{section}]")
            lines += [f"{k} = {json.dumps(v)}" for k, v in values.items()]
    path = folder / name
    path.write_text("\n".join(lines))
    return path


KNOWN_WORDS = "battles soldiers quiet strong heart calm lonely harbours".split()
"""The vocabulary of the made-up encoder."""


class Encoder:
    """In the place of the sentence encoder: every taste lies along the first direction."""

    @property
    def tokenizer(self) -> "Encoder":
        return self

    def get_vocab(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(KNOWN_WORDS)}

    def encode(self, text: str, normalize_embeddings: bool) -> np.ndarray:
        assert normalize_embeddings
        return np.eye(4, dtype=np.float32)[0]


def give_texts(predictor: Predictor, vectors: np.ndarray) -> None:
    """Use made-up vectors (I, 4) as those of the items' texts, and the made-up encoder."""
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    predictor.text_vectors = predictor.tastes.index.vectors = vectors
    predictor.tastes.index.encoder = Encoder()


@contextmanager
def tiny_recommender(folder: Path, data: Prepared | None = None) -> Iterator[Recommender]:
    """The recommender over `tiny_system`, with a store in the folder and texts as vectors.

    Over other data than the made-up ones, tables are fitted.
    """
    knowledge = None if data is None else CollaborativeKnowledge.fit(data)
    system = tiny_system(data=data, knowledge=knowledge)
    data = system.prepared
    path = folder / "made-up.duckdb"
    write_store(data, path)
    system.calibration = {"ctr": (0.9, -0.1)}
    vectors = np.random.default_rng(0).normal(size=(data.n_items, 4)).astype(np.float32)
    with InteractionStore(path) as store:
        recommender = Recommender(
            Predictor(system, store, {"name": "tiny", "tasks": list(TASKS)}), folder
        )
        give_texts(recommender.predictor, vectors)
        yield recommender


def described(recommender: Recommender, user: str, at: int | None = None) -> dict:
    """What is known of a user before a moment, as of somebody who is in no data set."""
    rows = recommender.history(user, at)
    known = recommender.store.user(user)
    return {
        "history": [{"item": row["item"], "rating": row["rating"]} for row in rows],
        "profile": {field: known[field] for field in ("age", "gender", "occupation")},
    }


def user_with_a_past_and_a_future(data: Prepared) -> str:
    """The user with the most ratings on both sides of the split time, later ones counted twice."""

    def ratings(user: str) -> int:
        before = data.timestamp[data.history.rows_of(data.user_index[user])] < data.split_time
        return min(before.sum(), 2 * (~before).sum())

    return max(data.user_ids, key=ratings)
