"""Every task by name; a new one is one file and one line here."""

from ckf_demo.tasks import ctr, explanation, ranking, rating
from ckf_demo.tasks.base import Task

TASKS: dict[str, Task] = {
    module.TASK.name: module.TASK for module in (rating, ctr, ranking, explanation)
}
