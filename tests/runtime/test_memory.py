"""What a server keeps of its answers is bounded."""

import subprocess
import sys

SCRIPT = """
import os, threading
from ckf_demo.runtime.memory import PRIMITIVES, keep_flat, settle
keep_flat()
keep_flat()
assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == str(PRIMITIVES)
assert [t.name for t in threading.enumerate()].count("memory") == 1
settle()
import gc
assert gc.get_freeze_count() > 0
"""


def test_bounds_are_set_once_and_what_is_loaded_is_left_alone():
    # in a process of its own, since it changes the allocator for good
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_owners_own_bound_of_products_stays():
    script = SCRIPT.replace("str(PRIMITIVES)", "'9'").replace(
        "keep_flat()\n", "os.environ['ONEDNN_PRIMITIVE_CACHE_CAPACITY'] = '9'; keep_flat()\n", 1
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
