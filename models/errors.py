"""The error of this package."""

from __future__ import annotations


class ModelError(ValueError):
    """A model or weights that cannot be had or used: one clear line with what is wrong and what to try."""
