"""The words by which a vendor's file says what is what."""

from __future__ import annotations

IMAGE_COLUMNS = ("image", "id", "index", "filename", "file", "name", "image_id")
CLASS_COLUMNS = ("class", "prediction", "predicted", "predicted_class", "label")
PROBABILITY_FIELDS = ("probabilities", "probs")
PROBABILITY_PREFIXES = ("", "prob_", "p_")
"""Before the name or the index of a class, in the header of a CSV file."""
