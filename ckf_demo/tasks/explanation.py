"""Explanation: why would it suit them, or not? One to three sentences from verified facts."""

from ckf_demo.tasks.base import Task

TASK = Task("explanation", "Why", "\nWhy:")
MAX_TOKENS = 90
