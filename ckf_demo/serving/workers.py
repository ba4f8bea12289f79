"""Workers of ``ckf score --engine ray``: a loaded checkpoint in each, on one machine or a cluster.

A worker that dies is started again by Ray and given its batch once more. A batch has no effect but
what it returns, so doing it twice harms nothing.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ckf_demo.runtime.errors import UserError

THREADS = 2
"""Threads, and so cores, of a worker."""

RESTARTS = 10
"""How often one worker is started again; a second failure in a row is rarely chance."""

RETRIES = 2
"""How often one batch is done again after its worker died."""

Ranked = tuple[int, int, list[dict[str, object]]]


class Workers:
    """A pool of workers that are up, until it is closed.

    Loading takes place before `ranked` is called, so that what is timed there is ranking.
    """

    def __init__(
        self,
        ranker: type,
        checkpoint: Path,
        quantization: str | None,
        count: int | None = None,
        threads: int | None = None,
    ) -> None:
        """Start ``count`` workers of ``threads`` threads each, as many as there are cores for.

        Parameters
        ----------
        ranker
            A class whose instances, made of checkpoint and quantization, have
            ``rank(users, k)``.

        Raises
        ------
        UserError
            When the machine or cluster has fewer cores than asked for.
        """
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
        """How many workers were started again and have finished a batch since."""
        return len(self.processes) - self.count

    def ranked(
        self, batches: Sequence[tuple[int, list[str]]], k: int
    ) -> Iterator[tuple[int, list[dict[str, object]]]]:
        """Number and rows of each batch, as they are done.

        Raises
        ------
        UserError
            What a worker says, or that a batch killed its worker again and again.
        """
        found = self._pool.map_unordered(
            lambda actor, batch: actor.batch.remote(batch[0], batch[1], k), list(batches)
        )
        while True:
            try:
                number, process, rows = _results(next, found)
            except StopIteration:
                return
            self.processes.add(process)
            yield number, rows

    def close(self) -> None:
        import ray

        ray.shutdown()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _worker(ranker: type) -> type:
    """The actor around a ranker."""

    class Worker:
        def __init__(self, checkpoint: Path, quantization: str | None, threads: int) -> None:
            import torch

            torch.set_num_threads(threads)
            self.ranker = ranker(checkpoint, quantization)

        def ready(self) -> int:
            return os.getpid()

        def batch(self, number: int, users: list[str], k: int) -> Ranked:
            return number, os.getpid(), self.ranker.rank(users, k)

    return Worker


def _results(get: Callable, waited_for: object):
    """What ``get`` gives, with a worker's troubles as messages for the user."""
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
