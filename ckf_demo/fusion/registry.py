"""Every fusion method by name; a new one is one file and one line here."""

from ckf_demo.collaborative.likes import LikesConfig
from ckf_demo.fusion.allmrec import ALLMRec, ALLMRecConfig
from ckf_demo.fusion.base import FusionMethod
from ckf_demo.fusion.binllm import BinLLM
from ckf_demo.fusion.ckf import CKF, CKFConfig
from ckf_demo.fusion.collm import CoLLM
from ckf_demo.fusion.cora import CoRA, CoRAConfig
from ckf_demo.fusion.icl import InContext
from ckf_demo.fusion.llm_only import LLMOnly
from ckf_demo.fusion.personprompt import PersonPrompt
from ckf_demo.fusion.prompt4nr import Prompt4NR
from ckf_demo.fusion.text import TextOnly
from ckf_demo.runtime.errors import UserError


class FusionConfig(CKFConfig, LikesConfig, ALLMRecConfig, CoRAConfig):
    """The ``[fusion]`` section: the fields of all methods, of which each reads its own."""


METHODS: dict[str, type[FusionMethod]] = {
    method.name: method
    for method in (
        CKF,
        CoRA,
        ALLMRec,
        CoLLM,
        TextOnly,
        BinLLM,
        PersonPrompt,
        Prompt4NR,
        InContext,
        LLMOnly,
    )
}


def get_method(name: str) -> type[FusionMethod]:
    """The class registered under ``name``; UserError when there is none."""
    if name not in METHODS:
        raise UserError(f"Unknown fusion method '{name}'; choose one of {', '.join(METHODS)}.")
    return METHODS[name]
