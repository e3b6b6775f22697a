"""What one group of runs is worth, as plain values for `json.dumps`; what is missing is null."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from results.references import load_references
from results.value.crossing import Crossing
from results.value.sensitivity import Sensitivity
from results.value.summary import Value, Weighing
from results.value.views import View


def value_as_json(value: Value) -> dict[str, Any]:
    """All views of one group, with the cells by their ids."""
    peers = value.peers
    counted = load_references()["gpipe"].counted
    assert counted is not None
    return {
        "dataset": peers.dataset,
        "league": peers.league,
        "data_fingerprint": peers.data_fingerprint,
        "official": peers.is_official,
        "num_test_images": peers.num_test_images,
        "price_per_hour": value.price_per_hour,
        "cells": _cells(value),
        "views": [_view(view, value) for view in value.views],
        "gpipe_counted": {**counted.model_dump(), "least_train_pflop": counted.least_train_pflop},
        "power_law": {"reason": value.law} if isinstance(value.law, str) else asdict(value.law),
        "weighing": _weighing(value.weighing, peers.texts("cell_id")),
    }


def _cells(value: Value) -> list[dict[str, Any]]:
    peers, shares = value.peers, value.shares
    columns: dict[str, Any] = {
        "cell_id": peers.texts("cell_id"),
        "model": peers.texts("model"),
        "augmentation": peers.texts("augmentation"),
        "precision": peers.texts("precision"),
        "device": peers.texts("device"),
        "num_seeds": peers.num_seeds,
        "test_error_percent": peers.errors_percent,
        "clears_vendor_bar": peers.clears_bar,
        "net_score": value.net_scores,
    }
    if shares is not None:
        columns |= {
            "share_of_gpipe_accuracy_percent": shares.accuracy,
            "share_of_gpipe_params_percent": shares.params,
            "share_of_gpipe_forward_flops_percent": shares.forward_flops,
            "share_of_gpipe_train_flops_per_image_percent": shares.train_flops,
            "share_of_gpipe_train_compute_at_most_percent": shares.least_train_compute,
        }
    lists = [_plain(column) for column in columns.values()]
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*lists, strict=True)]
    for place, crossing in value.crossings.items():
        rows[place]["passes_bar"] = (
            asdict(crossing) if isinstance(crossing, Crossing) else {"reason": crossing}
        )
    return rows


def _view(view: View, value: Value) -> dict[str, Any]:
    cell_ids = value.peers.table.texts("cell_id")[view.rows]
    return {
        "key": view.key,
        "title": view.title,
        "unit": view.unit,
        "column": view.column,
        "device": view.device or None,
        "reason": view.reason,
        "cell_ids": _plain(cell_ids),
        "costs": _plain(view.costs),
        "test_errors_percent": _plain(view.errors_percent),
        "front": _plain(view.front),
        "claims": [
            {
                "key": claim.reference.key,
                "cost": claim.cost,
                "error_percent": claim.error_percent,
                "how": claim.how,
            }
            for claim in view.claims
        ],
    }


def _weighing(weighing: Weighing, cell_ids: Any) -> dict[str, Any]:
    found, ids = weighing.sensitivity, cell_ids[weighing.candidates].tolist()
    shown: dict[str, Any] = {
        "candidates": ids,
        "left_out": weighing.left_out,
        "num_errors_counted_as_half_an_image": weighing.num_floored,
    }
    if not isinstance(found, Sensitivity):
        return {**shown, "reason": found}
    return {
        **shown,
        "criteria": list(found.criteria),
        "weights": _plain(found.weights),
        "scores": _plain(found.scores),
        "winner": ids[found.winner],
        "runner_up": None if found.runner_up is None else ids[found.runner_up],
        "margin_factor": found.margin_factor,
        "changes": [
            {**asdict(change), "new_winner": None if change.new_winner is None else ids[change.new_winner]}
            for change in found.changes
        ],
        "win_percent": _plain(found.win_percent),
        "num_samples": found.num_samples,
    }


def _plain(values: Any) -> list[Any]:
    """A list of a column; what is not a finite number is null."""
    return [
        None if isinstance(value, float) and not math.isfinite(value) else value
        for value in np.asarray(values).tolist()
    ]
