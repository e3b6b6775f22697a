"""What is said to a vendor's endpoint and what it has to answer.

    POST URL
    Content-Type: application/json
    Authorization: Bearer KEY                     (where --key-env names a key)

    {"ids": ["5f0c...", "e1b7..."], "images": ["iVBORw0KGgo...", "iVBORw0KGgo..."]}

    200 OK
    {"predictions": [{"id": "e1b7...", "class": "cat"},
                     {"id": "5f0c...", "probabilities": {"airplane": 0.02, "automobile": 0.01, ...}}]}

`images` are PNG files, RGB, in base64. Every id is answered once, in any order; ids say nothing about the
place of an image in the data set. A class is a name or an index, probabilities are by class name or a list
in the order of the classes; all images are answered in the same way.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.datasets.base import Images
from harness.errors import DataError
from results.audit.answers import Answers, shown
from results.audit.images import AskedImages
from results.audit.json_file import add_answer
from results.predictions import PredictionSet

_REST_BYTES = 2**21
_NUMBER_BYTES = 64
"""A float64 has 24 characters at most; indented JSON puts spaces before it."""


def image_id(nonce: str, position: int, again: bool) -> str:
    """What an image is called in a request.

    Args:
        nonce: of the audit: ids of another audit are others.
        position: of the image in the test set.
        again: whether the image is sent a second time, under another id.
    """
    return hashlib.sha256(f"{nonce}/{int(again)}/{position}".encode()).hexdigest()[:16]


def request_body(images: Images, ids: Sequence[str]) -> bytes:
    """The JSON text of a request.

    Args:
        images: uint8 [B, 3, H, W], RGB.
        ids: one for each image.
    """
    encoded = [base64.b64encode(_png(image)).decode("ascii") for image in images]
    return json.dumps({"ids": list(ids), "images": encoded}).encode("ascii")


def max_reply_bytes(num_images: int, class_names: Sequence[str]) -> int:
    """How large a reply may be: every class by name for every image, and 2 MiB for all else."""
    return _REST_BYTES + num_images * sum(_NUMBER_BYTES + len(json.dumps(name)) for name in class_names)


def read_reply(reply: Any, source: str, ids: Sequence[str], asked: AskedImages) -> PredictionSet:
    """The answers of one reply, in the order of `ids`.

    Args:
        reply: the value of its JSON text.
        source: what to call it in an error.
        ids: that were sent.
        asked: the images that were sent.

    Raises:
        DataError: it is of another form, or an answer is missing, unclear, impossible or there twice.
    """
    if not isinstance(reply, dict) or not isinstance(reply.get("predictions"), list):
        raise DataError(f'{source}: answers {shown(reply)}, not {{"predictions": [...]}}')
    predictions = reply["predictions"]
    if len(predictions) != len(ids):
        raise DataError(f"{source}: {len(predictions):,} answers for {len(ids):,} images")
    answers = Answers("", asked, _Ids(ids))
    for number, answer in enumerate(predictions):
        where = f"{source}: prediction {number}"
        if not isinstance(answer, dict) or answer.get("id") is None:
            raise DataError(f"{where}: has no 'id': without it nobody can tell which image it is about")
        rest = {name: value for name, value in answer.items() if name in _FIELDS}
        add_answer(answers, where, answer["id"], rest)
    return answers.finish(source)


_FIELDS = ("class", "probabilities")


class _Ids:
    """The images of one request by their ids."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._positions = {name: position for position, name in enumerate(ids)}

    def position(self, key: object, where: str) -> int:
        position = self._positions.get(key) if isinstance(key, str) else None
        if position is None:
            raise DataError(f"{where}: {shown(key)} is no id of this request")
        return position

    def of(self, position: int) -> str:
        return f"number {position}"


def _png(image: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(buffer, "PNG")
    return buffer.getvalue()
