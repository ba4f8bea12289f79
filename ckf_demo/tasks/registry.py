"""Every task by name; a new one is one file and one line here."""

from ckf_demo.tasks import ctr, explanation, ranking, rating
from ckf_demo.tasks.base import Task

TASKS: dict[str, Task] = {
    module.TASK.name: module.TASK for module in (rating, ctr, ranking, explanation)
}


def known_task(name: str) -> str:
    """A task's name as it is; ValueError for one that is not registered."""
    if name not in TASKS:
        raise ValueError(f"no task {name!r}; there are: {', '.join(TASKS)}")
    return name


def task_with_lead(name: str) -> str:
    """A task's name as it is; ValueError for a task that cannot be asked before the item."""
    asked_first = [task.name for task in TASKS.values() if task.lead]
    if name not in asked_first:
        raise ValueError(f"no task {name!r} asks first; those that can: {', '.join(asked_first)}")
    return name
