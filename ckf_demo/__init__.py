"""CKF: collaborative knowledge fusion for multi-task recommendation with language models."""

__version__ = "0.1.0"
