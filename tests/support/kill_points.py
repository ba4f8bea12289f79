"""Kills every command with SIGKILL at many points, and looks at what is left and what comes next.

    export PYTHONPATH=tests
    python tests/support/kill_points.py                          all points, as a table
    python tests/support/kill_points.py --write docs/tables/faults.md   the same, into the table
    python tests/support/kill_points.py --few                    the part of `make test`

A point is a step that touches the disk or the machine: a file opened for writing, renamed, removed,
a folder made, a wait until bytes are on the disk, a call into DuckDB or into a library that writes
from C, an optimiser step, a process started, a port taken. A first run counts them; each further
run is killed by its n-th. Some runs are ended by the kernel in the middle of a file instead: beyond
a limit of bytes it sends SIGXFSZ, which nothing catches.

Children are forked from this process, which has imported all modules and done nothing else: it has
one thread, no file open and no random number drawn (asserted), so that a child is what a new
interpreter is after its imports. The data are made up and the backbone is tiny; its GGUF reader
alone is replaced, since there is no such file.
"""

import argparse
import hashlib
import importlib
import json
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

os.environ |= {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "HF_HUB_OFFLINE"), "1"),
    "GRADIO_ANALYTICS_ENABLED": "False",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file

from ckf_demo import cli
from ckf_demo.backbone import loading
from ckf_demo.backbone.loading import BackboneConfig
from ckf_demo.config import RunConfig
from ckf_demo.data import store
from ckf_demo.model import manifest as manifests
from ckf_demo.runtime import downloads
from ckf_demo.training import loop, stage
from support.kill_steps import Points
from support.small_data import write_recbole_tables
from support.synthetic import made_up
from support.tiny import tiny_config, tiny_llama, tiny_tokenizer, write_config
from support.waiting import has_ended, wait_until
from support.wheels import write_wheel

NAME = "tiny"
READY = 300.0  # seconds until a page must be there
VOLATILE = {"minutes", "seconds", "megabytes", "chosen"}
"""What differs between two runs that do the same: measured times, and what was chosen by them."""


@dataclass
class Outcome:
    """What one killed run left, and what the next one made of it."""

    command: str
    point: str
    in_flight: str
    found: str
    next_run: str
    recovered: bool


# A workplace: a cache, a folder to work in, and what commands are given


def stand_in_for_gguf() -> None:
    """Let the real conversion of a backbone read a tiny model where it would read GGUF."""
    loading.PINNED = {BackboneConfig().name: ("tinyllm", "tinyllm/tiny.gguf")}
    # wide enough for whole 4-bit blocks, as bitsandbytes wants them where a CPU knows bf16
    backbone = partial(tiny_llama, hidden_size=64)
    makers = {
        "AutoModelForCausalLM": backbone,
        "AutoConfig": lambda: backbone().config,
        "AutoTokenizer": tiny_tokenizer,
    }
    for name, make in makers.items():
        real = getattr(loading, name).from_pretrained

        def either(path, gguf_file=None, *, make=make, real=real, **options):
            return make() if gguf_file else real(path, **options)

        setattr(loading, name, SimpleNamespace(from_pretrained=either))


class Workplace:
    """Folders from which each run starts as the last one did.

    ``root/start`` is copied to ``root/run`` for each; there, ``cache`` is the user's cache and
    ``work`` where commands run.
    """

    def __init__(self, root: Path):
        self.root, self.start, self.run = root, root / "start", root / "run"
        self.work, self.cache = self.run / "work", self.run / "cache"
        os.environ["XDG_CACHE_HOME"] = str(self.cache)
        os.environ["PIP_NO_INDEX"], os.environ["PIP_FIND_LINKS"] = "1", str(root / "index")
        write_recbole_tables(root / "old", made_up(50, 60, 1400, seed=1))
        new = write_recbole_tables(root / "new", made_up(50, 60, 1500))
        members = {
            f"recbole/dataset_example/ml-100k/{p.name}": p.read_bytes() for p in new.iterdir()
        }
        pins = write_wheel(root / "index", "recbole", members)
        pins += write_wheel(root / "index", "tinyllm", {"tinyllm/tiny.gguf": b"tiny"})
        downloads.PINS = root / "pins"
        downloads.PINS.write_text(pins)
        stand_in_for_gguf()
        loop.SAVE_EVERY = stage.SAVE_EVERY = 2
        (self.start / "cache").mkdir(parents=True)
        (self.start / "work").mkdir()
        for name, seed in (("old", 1), ("new", 0)):
            write_config(self.start / "work", short_training(seed), f"{name}.toml")

    def fresh(self, start: Path | None = None) -> None:
        """Begin again from a kept state."""
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(start or self.start, self.run)

    def keep(self, name: str) -> Path:
        """Keep the present state as one to begin from."""
        return Path(shutil.copytree(self.run, self.root / name))

    def after(self, start: Path, *arguments: str, name: str) -> Path:
        """Keep the state after a command that nothing kills."""
        self.fresh(start)
        done = child(self, [*arguments], watch=False)
        assert done.code == 0, done.said
        return self.keep(name)

    def content(self) -> dict[str, str]:
        """What stands in each file, by its path: digests of the content, not of the bytes."""
        return {
            path.relative_to(self.run).as_posix(): digest(path)
            for path in sorted(self.run.rglob("*"))
            if path.is_file() and not path.name.endswith(".lock")
        }

    def leftovers(self) -> list[str]:
        """What only a running process should have."""
        return sorted(
            path.relative_to(self.run).as_posix()
            for path in self.run.rglob("*")
            if path.name.endswith((".partial", ".wal", ".tmp")) or path.name == "previous"
        )


def short_training(seed: int) -> RunConfig:
    """A short training with all stages."""
    return tiny_config(
        BackboneConfig().name,
        name=NAME,
        data={"dataset": "ml-100k"},
        train={
            **{"seed": seed, "wording_steps": 3, "wording_size": 2, "ranking_steps": 3},
            **{"steps": 10, "validate_every": 4, "calibration_rows": 40, "choices": 3},
        },
    )


def digest(path: Path) -> str:
    """SHA-256 of what a file says, whatever its bytes: archives hold dates, databases order."""

    def of(value: object) -> str:
        return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()

    def stable(value: object) -> object:
        if isinstance(value, dict):
            return {k: stable(v) for k, v in value.items() if k not in VOLATILE}
        return [stable(v) for v in value] if isinstance(value, list | tuple) else value

    def array(values: object) -> str:
        return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()

    if path.suffix == ".npz":
        with np.load(path) as archive:
            return of({k: array(archive[k]) for k in archive.files})
    if path.suffix == ".safetensors":
        return of({k: array(v.float().numpy()) for k, v in load_file(path).items()})
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        content.pop("seal", None)
        return of(stable(content))
    if path.suffix == ".duckdb":
        with store.InteractionStore(path) as opened:
            opened.check()
            tables = {t.name: t.n_rows for t in opened.schema()}
            return of([tables, opened.hash, opened.items().to_json(), opened.users().to_json()])
    if path.suffix == ".parquet":
        return of(pq.read_table(path).to_pylist())
    if path.suffix == ".pt":
        state = torch.load(path, weights_only=True)
        weights = [array(w.numpy()) for kind in state["weights"] for w in kind]
        return of([weights, state["at"][:3], state["log"], state["ended"]])
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Children


@dataclass
class Ended:
    """How a child ended: ``code`` None when a signal did it; its steps, and what it said."""

    code: int | None
    steps: list[str]
    said: str


def child(
    place: Workplace,
    arguments: list[str],
    *,
    kill_at: int | None = None,
    bytes_at_most: int | None = None,
    watch: bool = True,
    until: Callable[[int, Path], None] | None = None,
) -> Ended:
    """Run a command in a forked child; ``until`` is called meanwhile with its id and its log."""
    reader, writer = os.pipe()
    log = place.root / "said.txt"
    # the child before this one may have said that it is ready
    log.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        code = 70
        try:
            os.chdir(place.work)
            said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1)
            os.dup2(said, 2)
            sys.argv = ["ckf", *arguments]
            if bytes_at_most is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_at_most, bytes_at_most))
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if watch:
                Points(kill_at, writer).install()
            cli.main(arguments)
        except SystemExit as error:
            code = int(error.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(writer)
    if until is not None:
        try:
            until(pid, log)
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            raise
    with os.fdopen(reader) as pipe:
        steps = [line.split("\t", 1)[1].strip() for line in pipe if "\t" in line]
    _, status = os.waitpid(pid, 0)
    code = None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return Ended(code, steps, log.read_text())


@dataclass
class Command:
    """A command to kill.

    ``outputs`` are the files that it replaces, relative to the run; ``again`` is the next run where
    that is another one.
    """

    name: str
    arguments: list[str]
    outputs: tuple[str, ...]
    start: Path
    again: list[str] | None = None
    points: int = 8
    halves: tuple[int, ...] = ()


def spread(n: int, wanted: int) -> list[int]:
    """So many of 1 … n, evenly, the first and the last among them."""
    return sorted({round(x) for x in np.linspace(1, n, min(n, wanted))})


def shown(outcome: Outcome) -> Outcome:
    """The outcome, of which a dot is printed, and all of it where it is a bad one."""
    print("." if outcome.recovered else f"\n{outcome}", end="", file=sys.stderr, flush=True)
    return outcome


def walk(place: Workplace, command: Command) -> list[Outcome]:
    """Kill a command at its points; look at what is left, and run it again."""
    place.fresh(command.start)
    before = place.content()
    whole = child(place, command.arguments)
    assert whole.code == 0, whole.said
    after = place.content()
    assert not place.leftovers(), place.leftovers()
    outcomes = []
    kills = [(n, None) for n in spread(len(whole.steps), command.points)]
    for n, half in [*kills, *((None, size) for size in command.halves)]:
        place.fresh(command.start)
        killed = child(place, command.arguments, kill_at=n, bytes_at_most=half, watch=half is None)
        assert killed.code is None, f"not killed: {killed.said}"
        found = ", ".join(
            f"{Path(name).name}: {state(place, name, before, after)}" for name in command.outputs
        )
        again = child(place, command.again or command.arguments, watch=False)
        next_run = "the same as never killed"
        if command.again is not None and again.code == 2:
            # nothing had begun that could be resumed, and the one line says to start without
            assert "start without --resume" in again.said, again.said
            again = child(place, command.arguments, watch=False)
            next_run = f"`--resume` is refused, nothing had begun; without it: {next_run}"
        ended = place.content()
        different = sorted(k for k in after.keys() | ended.keys() if after.get(k) != ended.get(k))
        recovered = again.code == 0 and not different and not place.leftovers()
        if not recovered:
            next_run = f"exit {again.code}; differ: {different[:4]}; "
            next_run += f"left: {place.leftovers()[:4]}; "
            next_run += " | ".join(again.said.strip().splitlines()[-2:])
        outcome = Outcome(
            command.name,
            f"{n} of {len(whole.steps)}" if half is None else f"byte {half:,} of a file",
            killed.steps[-1] if half is None else "SIGXFSZ in the middle of a write",
            found,
            next_run,
            recovered and "neither" not in found,
        )
        outcomes.append(shown(outcome))
    return outcomes


def state(place: Workplace, name: str, before: dict[str, str], after: dict[str, str]) -> str:
    """Whether an output is the old one, the new one, or another whole one (a checkpoint's)."""

    def part(content: dict[str, str]) -> dict[str, str]:
        return {k: v for k, v in content.items() if k == name or k.startswith(f"{name}/")}

    path = place.run / name
    if not path.exists():
        return "neither: missing" if part(before) else "old (none)"
    try:
        manifest = manifests.read_manifest(path) if path.is_dir() else None
        if manifest is not None:
            manifests.verify_files(path, manifest)
        files = [file for file in (path, *path.rglob("*")) if file.is_file()]
        present = {file.relative_to(place.run).as_posix(): digest(file) for file in files}
    except Exception as error:
        return f"neither: {error!r}"
    if present in (part(before), part(after)):
        return "old" if present == part(before) else "new"
    if manifest is None:
        return "neither"
    stages = "".join(f", {stage}" for stage in manifest.get("stages", {}))
    return f"whole (step {manifest['training']['steps']}{stages})"


def serve_arguments() -> list[str]:
    """The command of a server at a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return ["serve", "--port", str(port), "--checkpoint", f"checkpoints/{NAME}"]


def is_free(arguments: list[str]) -> bool:
    try:
        socket.create_server(("127.0.0.1", int(arguments[2]))).close()
    except OSError:
        return False
    return True


def once_ready(action: Callable[[int], object]) -> Callable[[int, Path], None]:
    """Call ``action`` with the id of a server that answers, and kill the server."""

    def until(pid: int, log: Path) -> None:
        wait_until(
            lambda: (
                "Ready:" in (log.read_text() if log.exists() else "")
                or os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            ),
            READY,
        )
        action(pid)
        os.kill(pid, signal.SIGKILL)

    return until


def walk_serve(place: Workplace, start: Path, points: int) -> list[Outcome]:
    """Kill a server while it starts, and while it answers a query in a process of its own."""
    place.fresh(start)
    whole = child(place, serve_arguments(), until=once_ready(lambda pid: None))
    after = place.content()
    outcomes = []
    for n in spread(len(whole.steps), points):
        place.fresh(start)
        arguments = serve_arguments()
        killed = child(place, arguments, kill_at=n)
        port = is_free(arguments)
        kept = {k: v for k, v in place.content().items() if ".partial" not in k}
        found = "whole" if all(after.get(k) == v for k, v in kept.items()) else "neither"
        child(place, arguments, watch=False, until=once_ready(lambda pid: None))
        good = place.content() == after and not place.leftovers()
        outcome = Outcome(
            "serve",
            f"{n} of {len(whole.steps)}",
            killed.steps[-1],
            f"caches: {found}; port {'free' if port else 'taken'}",
            "the page is there, on the same port" if good else f"left: {place.leftovers()}",
            good and port and found == "whole",
        )
        outcomes.append(shown(outcome))
    return [*outcomes, kill_while_a_query_runs(place, serve_arguments())]


def kill_while_a_query_runs(place: Workplace, arguments: list[str]) -> Outcome:
    slow = "SELECT count(*) FROM range(100000000) a, range(100000000) b"
    reader, writer = os.pipe()

    def ask(pid: int) -> None:
        from gradio_client import Client

        client = Client(f"http://127.0.0.1:{arguments[2]}", verbose=False)
        client.submit(slow, api_name="/query")
        queries = wait_until(psutil.Process(pid).children, READY)
        time.sleep(0.3)
        os.write(writer, json.dumps([query.pid for query in queries]).encode())

    # the client has threads: it must not live in the process that is forked from
    place.fresh(place.root / "trained")
    observer = os.fork()
    if observer == 0:
        try:
            child(place, arguments, watch=False, until=once_ready(ask))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        queries = json.loads(pipe.read() or "[]")
    os.waitpid(observer, 0)
    with suppress(AssertionError):
        wait_until(lambda: all(map(has_ended, queries)), 2)
    gone = bool(queries) and all(map(has_ended, queries))
    return Outcome(
        "serve",
        "after it was ready",
        "a query in a process of its own",
        f"{len(queries)} query process {'ended' if gone else 'left behind'}; port "
        f"{'free' if is_free(arguments) else 'taken'}",
        "nothing to mend",
        gone and is_free(arguments),
    )


def everything(root: Path, few: bool = False) -> list[Outcome]:
    """All outcomes, or those of the part that every test run has."""
    if not few:
        for module in ("evaluation.run", "recommender", "serving.batch_scoring", "ui.app"):
            importlib.import_module(f"ckf_demo.{module}")
    assert threading.active_count() == 1, threading.enumerate()
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    # pyarrow's allocator has a thread that gives memory back, and its own way with forks
    assert len([name for name in names if name != "jemalloc_bg_thd"]) == 1, names
    pa.set_cpu_count(1)
    place = Workplace(root)
    folder = tuple(f"cache/ckf-demo/data/ml-100k.{kind}" for kind in ("duckdb", "npz"))
    prepared = place.after(place.start, "prepare", name="prepared")
    over = Command(
        "prepare (over other data)",
        ["prepare", "--data", str(root / "new")],
        folder,
        place.after(prepared, "prepare", "--data", str(root / "old"), name="other"),
        points=3 if few else 10,
        halves=(300_000,),
    )
    if few:
        return walk(place, over)
    start = place.after(prepared, "train", "--config", "old.toml", name="trained")
    (start / "work" / "results.json").write_text("{}\n")
    (start / "work" / "users.txt").write_text("".join(f"{i + 1}\n" for i in range(40)))
    train, checkpoint = ["train", "--config", "new.toml"], f"checkpoints/{NAME}"
    measure = ["evaluate", "--checkpoint", checkpoint, "--limit", "30", "--sample", "0"]
    measure += ["--explanations", "2", "--no-without-tokens", "--json", "results.json"]
    measure += ["--predictions", "predictions.parquet"]
    rank = ["score", "--checkpoint", checkpoint, "--users", "users.txt"]
    rank += ["--k", "3", "--out", "top.parquet"]
    # how weights are held is measured once and moves scores a little: the same for all runs
    measured = place.after(start, *rank, name="measured")
    (measured / "work" / "top.parquet").unlink()
    trained, files = (f"work/{checkpoint}",), ("work/results.json", "work/predictions.parquet")
    backbone = f"cache/ckf-demo/backbones/{BackboneConfig().name}/model.safetensors"
    commands = [
        Command("prepare (nothing there)", ["prepare"], (*folder, backbone), place.start),
        over,
        Command(
            "train, then --resume",
            train,
            trained,
            start,
            [*train, "--resume"],
            points=16,
            halves=(5_000, 60_000),
        ),
        Command("train, then anew", train, trained, start, points=4),
        Command("evaluate", measure, files, start, points=6, halves=(700,)),
        Command("score", rank, ("work/top.parquet",), measured, halves=(1_000,)),
    ]
    outcomes = [outcome for command in commands for outcome in walk(place, command)]
    return [*outcomes, *walk_serve(place, start, points=4)]


def table(outcomes: list[Outcome]) -> str:
    """The outcomes as a table in Markdown."""
    head = "command", "killed at step", "in flight", "state found", "next run", ""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for o in outcomes:
        cells = o.command, o.point, f"`{o.in_flight}`", o.found, o.next_run
        lines.append(f"| {' | '.join(cells)} | {'ok' if o.recovered else '**no**'} |")
    good = sum(o.recovered for o in outcomes)
    return "\n".join([*lines, "", f"{good} of {len(outcomes)} ended in the old or the new state."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--few", action="store_true", help="the part of every test run")
    parser.add_argument("--json", type=Path, help="write the outcomes here")
    parser.add_argument("--write", type=Path, help="put the table into this document")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ckf-kills-") as root:
        outcomes = everything(Path(root), given.few)
    text = table(outcomes)
    print(f"\n{text}")
    if given.json:
        given.json.write_text(json.dumps([asdict(o) for o in outcomes], indent=1) + "\n")
    if given.write:
        start, end = "<!-- kill points -->", "<!-- end of kill points -->"
        before, _, rest = given.write.read_text(encoding="utf-8").partition(start)
        after = rest.partition(end)[2]
        given.write.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")
    sys.exit(not all(o.recovered for o in outcomes))


if __name__ == "__main__":
    main()
