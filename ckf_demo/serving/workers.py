"""Workers of ``ckf score --engine ray``: a loaded checkpoint in each, on one machine or a cluster.

Ray restarts a worker that dies and gives it its batch again. A batch has no side effects, so
computing it twice is harmless.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ckf_demo.runtime.errors import UserError

THREADS = 2
"""Threads of a worker, each on a core of its own."""

RESTARTS = 10
"""How often a worker is restarted."""

RETRIES = 2
"""How often a batch is repeated after its worker died."""

Ranked = tuple[int, int, list[dict[str, object]]]


class Workers:
    """A pool of loaded workers, until it is closed.

    Workers load before `ranked` is called, so that its time is that of ranking. ``ranker`` is a
    class that is called with checkpoint and quantization, and has ``rank(users, k)``. ``count`` is
    by default as many as the cores allow; UserError when there are fewer cores than asked for.
    """

    def __init__(
        self,
        ranker: type,
        checkpoint: Path,
        quantization: str | None,
        count: int | None = None,
        threads: int | None = None,
    ) -> None:
        import ray
        from ray.util import ActorPool

        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        try:
            cores = int(ray.cluster_resources().get("CPU", 1))
            threads = threads or min(cores, THREADS)
            self.count = count or max(1, cores // threads)
            if self.count * threads > cores:
                raise UserError(
                    f"{self.count} workers of {threads} threads need {self.count * threads} cores; "
                    f"there are {cores}. Give fewer --workers or --threads."
                )
            actor = ray.remote(num_cpus=threads, max_restarts=RESTARTS, max_task_retries=RETRIES)(
                _worker(ranker)
            )
            self._actors = [
                actor.remote(checkpoint.resolve(), quantization, threads) for _ in range(self.count)
            ]
            self.processes: set[int] = set(
                _results(ray.get, [a.ready.remote() for a in self._actors])
            )
            self._pool = ActorPool(self._actors)
        except BaseException:
            ray.shutdown()
            raise

    @property
    def restarts(self) -> int:
        """Number of workers that were restarted and have finished a batch since."""
        return len(self.processes) - self.count

    def ranked(
        self, batches: Sequence[tuple[int, list]], k: int
    ) -> Iterator[tuple[int, list[dict[str, object]]]]:
        """Number and rows of each batch, in the order in which they are done.

        UserError when a worker raises one, or a batch kills its worker repeatedly.
        """
        results = self._pool.map_unordered(
            lambda actor, batch: actor.batch.remote(batch[0], batch[1], k), list(batches)
        )
        while True:
            try:
                number, process, rows = _results(next, results)
            except StopIteration:
                return
            self.processes.add(process)
            yield number, rows

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()


def _worker(ranker: type) -> type:
    """The class of actors that hold a ranker."""

    class Worker:
        def __init__(self, checkpoint: Path, quantization: str | None, threads: int) -> None:
            import torch

            torch.set_num_threads(threads)
            self.ranker = ranker(checkpoint, quantization)

        def ready(self) -> int:
            return os.getpid()

        def batch(self, number: int, users: list, k: int) -> Ranked:
            return number, os.getpid(), self.ranker.rank(users, k)

    return Worker


def _results(get: Callable, waited_for: object):
    """The result of ``get``, with failures of a worker as messages for the user."""
    from ray.exceptions import RayActorError, RayTaskError

    try:
        return get(waited_for)
    except RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(str(error.cause)) from error
        raise
    except RayActorError as error:
        raise UserError(
            f"A worker died, was started again {RETRIES} times and died again. It may lack memory: "
            "give fewer --workers. Lists that were finished are kept; run the same command again."
        ) from error
