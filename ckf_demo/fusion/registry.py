"""Every fusion method by name; a new one is one file and one line here."""

from ckf_demo.errors import UserError
from ckf_demo.fusion.allmrec import ALLMRec
from ckf_demo.fusion.base import FusionMethod
from ckf_demo.fusion.ckf import CKF
from ckf_demo.fusion.collm import CoLLM
from ckf_demo.fusion.cora import CoRA
from ckf_demo.fusion.text import TextOnly

METHODS: dict[str, type[FusionMethod]] = {m.name: m for m in (CKF, CoRA, ALLMRec, CoLLM, TextOnly)}


def get_method(name: str) -> type[FusionMethod]:
    """The class registered under ``name``; UserError when there is none."""
    if name not in METHODS:
        raise UserError(f"Unknown fusion method '{name}'; choose one of {', '.join(METHODS)}.")
    return METHODS[name]
