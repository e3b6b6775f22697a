"""Files of predictions as vendors write them, and as nobody should: the tables that the tests go through."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

from results.metrics import Array

NAMES = ("cat", "dog", "<b>ship</b>")
LABELS = np.array([0, 1, 2, 0, 1, 2])
CLASSES = [0, 1, 2, 1, 1, 0]
PROBS: list[list[float]] = [
    [0.8, 0.1, 0.1],
    [0.1, 0.8, 0.1],
    [0, 0, 1],
    [0.2, 0.7, 0.1],
    [0.3, 0.4, 0.3],
    [0.5, 0.25, 0.25],
]
BY_NAME = [dict(zip(NAMES, row, strict=True)) for row in PROBS]
SHUFFLED = [3, 1, 5, 0, 2, 4]


def csv_text(header: str, rows: list[str]) -> str:
    return "\n".join([header, *rows]) + "\n"


def npz_bytes(**arrays: Array | list[Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{name: np.asarray(array) for name, array in arrays.items()})  # type: ignore[arg-type]
    return file.getvalue()


def npy_bytes(array: Any, allow_pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array), allow_pickle=allow_pickle)
    return file.getvalue()


NAMED = [NAMES[index] for index in CLASSES]
CELLS = [",".join(map(str, row)) for row in PROBS]

GOOD: dict[str, tuple[str, bytes | str]] = {
    "names in order": ("a.csv", csv_text("class", NAMED)),
    "indices in order": ("a.csv", csv_text("Prediction", [str(index) for index in CLASSES])),
    "carriage returns": ("a.csv", csv_text("class", NAMED).replace("\n", "\r\n")),
    "a byte order mark": ("a.csv", b"\xef\xbb\xbf" + csv_text("class", NAMED).encode()),
    "no line break at the end": ("a.csv", csv_text("class", NAMED).rstrip()),
    "empty lines at the end": ("a.csv", csv_text("class", NAMED) + "\n  \n,\n\r\n"),
    "quotes and spaces": ("a.CSV", csv_text(' "class" '.strip(), [f'" {name} "' for name in NAMED])),
    "numbers of images": ("a.csv", csv_text("index,class", [f"{i},{NAMED[i]}" for i in SHUFFLED])),
    "file names": (
        "a.csv",
        csv_text("class,filename", [f"{NAMED[i]},test/img_{i:04}.png" for i in SHUFFLED]),
    ),
    "probabilities in order": ("a.csv", csv_text("cat,dog,<b>ship</b>", CELLS)),
    "probabilities by index": ("a.csv", csv_text("0,1,2", CELLS)),
    "columns in another order": (
        "a.csv",
        csv_text(
            "p_dog,id,p_<b>ship</b>,p_cat",
            [f"{PROBS[i][1]},{i},{PROBS[i][2]},{PROBS[i][0]}" for i in SHUFFLED],
        ),
    ),
    "both": ("a.csv", csv_text("class,prob_0,prob_1,prob_2", [f"{NAMED[i]},{CELLS[i]}" for i in range(6)])),
    "JSON indices": ("a.json", json.dumps(CLASSES)),
    "JSON names": ("a.json", json.dumps({"predictions": NAMED})),
    "JSON with a byte order mark": ("a.json", b"\xef\xbb\xbf" + json.dumps(NAMED).encode()),
    "JSON probabilities": ("a.json", json.dumps(PROBS)),
    "JSON objects": ("a.json", json.dumps([{"image": i, "class": NAMED[i]} for i in SHUFFLED])),
    "JSON by name": ("a.json", json.dumps({f"{i}.png": {"probabilities": BY_NAME[i]} for i in SHUFFLED})),
    "JSON objects by name": (
        "a.json",
        json.dumps(
            {"predictions": {str(i): {"probabilities": PROBS[i], "class": CLASSES[i]} for i in SHUFFLED}}
        ),
    ),
    "an array of indices": ("a.npy", npy_bytes(np.array(CLASSES, np.uint8))),
    "an array of names": ("a.npy", npy_bytes(NAMED)),
    "an array of probabilities": ("a.npy", npy_bytes(np.array(PROBS, np.float32))),
    "an array in Fortran order": ("a.npy", npy_bytes(np.asfortranarray(PROBS))),
    "arrays": ("a.npz", npz_bytes(probabilities=PROBS, labels=LABELS)),
    "logits": ("a.npz", npz_bytes(logits=np.log(np.array(PROBS) + 1e-9), probs=PROBS)),
    "arrays by image": ("a.npz", npz_bytes(ids=SHUFFLED, classes=[CLASSES[i] for i in SHUFFLED])),
}


def _rows_with(place: int, row: str) -> str:
    rows = [f"{i},{NAMED[i]}" for i in range(6)]
    rows[place] = row
    return csv_text("image,class", rows)


def _probs_with(row: str) -> str:
    return csv_text("cat,dog,<b>ship</b>", [*CELLS[:2], row, *CELLS[3:]])


BAD: dict[str, tuple[str, bytes | str, str]] = {
    "empty": ("a.csv", "", "a.csv: is empty"),
    "a header alone": ("a.csv", "class\n", "a.csv: 0 answers for 6 test images"),
    "no header": ("a.csv", csv_text("cat", NAMED[1:]), "a.csv:1: the header names no predictions"),
    "semicolons": ("a.csv", csv_text("image;class", ["0;cat"]), "seem to be separated by ';': use commas"),
    "too few": ("a.csv", csv_text("class", NAMED[:5]), "a.csv: 5 answers for 6 test images"),
    "too many": (
        "a.csv",
        csv_text("class", [*NAMED, "cat"]),
        "a.csv:8: one answer more than the 6 test images",
    ),
    "a missing image": (
        "a.csv",
        csv_text("image,class", [f"{i},cat" for i in (0, 1, 2, 4, 5)]),
        "no answer for 1 of 6 test images, the first of them number 3",
    ),
    "an image twice": ("a.csv", _rows_with(4, "2,cat"), "a.csv:6: a second answer for '2': the first is at "),
    "the same number written twice": (
        "a.csv",
        _rows_with(4, "002,cat"),
        "a.csv:6: a second answer for '002'",
    ),
    "images from 1": (
        "a.csv",
        csv_text("image,class", [f"{i + 1},cat" for i in range(6)]),
        "a.csv:7: there is no image 6: the 6 test images are counted from 0; if yours are counted from 1",
    ),
    "images from 1, the last one missing": (
        "a.csv",
        csv_text("image,class", [f"{i + 1},cat" for i in range(5)]),
        "the first of them number 0: images are counted from 0; if yours are counted from 1",
    ),
    "an unknown image": (
        "a.csv",
        _rows_with(2, "kitten,cat"),
        "a.csv:4: it is not clear which image 'kitten' is",
    ),
    "an image with two numbers": (
        "a.csv",
        csv_text("image,class", ["1_0001.png,cat"]),
        "a.csv:2: it is not clear which image '1_0001.png' is",
    ),
    "a fraction as an image": (
        "a.csv",
        _rows_with(0, "0.0,cat"),
        "a.csv:2: it is not clear which image '0.0' is",
    ),
    "a negative image": ("a.csv", _rows_with(0, "-1,cat"), "a.csv:2: it is not clear which image '-1' is"),
    "images in two folders": (
        "a.csv",
        csv_text("image,class", ["a/0.png,cat", "b/1.png,cat"]),
        "a.csv:3: 'b/1.png' differs from the image at ",
    ),
    "no image in a row": ("a.csv", _rows_with(3, ",cat"), "a.csv:5: it is not clear which image '' is"),
    "an unknown class": (
        "a.csv",
        _rows_with(3, "3,dgo"),
        "a.csv:5: unknown class 'dgo': did you mean 'dog'? valid: cat, dog, <b>ship</b>, or 0 to 2",
    ),
    "classes from 1": ("a.csv", csv_text("class", ["1", "2", "3"]), "a.csv:4: unknown class '3'"),
    "no class": ("a.csv", _rows_with(3, "3,"), "a.csv:5: unknown class ''"),
    "names after indices": (
        "a.csv",
        csv_text("class", ["0", "cat"]),
        "a.csv:3: classes are names here, but indices at ",
    ),
    "a formula as a class": (
        "a.csv",
        _rows_with(0, "0,=HYPERLINK(A1)"),
        "a.csv:2: unknown class '=HYPERLINK(A1)'",
    ),
    "a formula as an image": (
        "a.csv",
        _rows_with(0, "=1-1,cat"),
        "a.csv:2: it is not clear which image '=1-1' is",
    ),
    "a formula as a probability": ("a.csv", _probs_with("=1,0,0"), "a.csv:4: '=1' is not a number"),
    "control characters": ("a.csv", _rows_with(0, "0,\x1b[31mred"), "a.csv:2: unknown class '?[31mred'"),
    "a NaN": (
        "a.csv",
        _probs_with("nan,0.5,0.5"),
        "a.csv:4: the probability of 'cat' is nan, not from 0 to 1",
    ),
    "an infinity": (
        "a.csv",
        _probs_with("0,inf,0"),
        "a.csv:4: the probability of 'dog' is inf, not from 0 to 1",
    ),
    "a negative probability": (
        "a.csv",
        _probs_with("-0.1,0.6,0.5"),
        "a.csv:4: the probability of 'cat' is -0.1",
    ),
    "percent": ("a.csv", _probs_with("80,10,10"), "a.csv:4: the probability of 'cat' is 80, not from 0 to 1"),
    "a sum above 1": ("a.csv", _probs_with("0.5,0.5,0.5"), "a.csv:4: the probabilities sum to 1.5, not to 1"),
    "a decimal comma": ("a.csv", _probs_with('"0,8",0.1,0.1'), "a.csv:4: '0,8' is not a number"),
    "an underscore": ("a.csv", _probs_with("0_1,0.5,0.4"), "a.csv:4: '0_1' is not a number"),
    "an empty probability": ("a.csv", _probs_with(",0.5,0.5"), "a.csv:4: '' is not a number"),
    "a cell too many": ("a.csv", _probs_with("0,0,1,0"), "a.csv:4: 4 cells, but the header has 3"),
    "a class without a column": (
        "a.csv",
        csv_text("cat,dog", ["1,0"]),
        "a.csv:1: there is no column for class '<b>ship</b>'",
    ),
    "a misspelt column": (
        "a.csv",
        csv_text("cat,dgo,<b>ship</b>", CELLS),
        "a.csv:1: unknown class 'dgo': did you mean 'dog'?",
    ),
    "endless columns": ("a.csv", "class" + ",x" * 10_000, "a.csv:1: the header has 10,001 columns"),
    "a column twice": (
        "a.csv",
        csv_text("class,class", ["cat,dog"]),
        "a.csv:1: two columns are called 'class'",
    ),
    "two classes": (
        "a.csv",
        csv_text("label,prediction", ["cat,dog"]),
        "a.csv:1: both 'label' and 'prediction' could be the predicted class",
    ),
    "two images": (
        "a.csv",
        csv_text("id,image,class", ["0,1,cat"]),
        "a.csv:1: both 'id' and 'image' could be the image",
    ),
    "another class than the likeliest": (
        "a.csv",
        csv_text("class,0,1,2", ["dog,0.8,0.1,0.1"]),
        "a.csv:2: says 'dog', but its largest probability is that of 'cat'",
    ),
    "an empty line inside": (
        "a.csv",
        csv_text("class", ["cat", "", "dog"]),
        "a.csv:3: the line is empty, though rows follow",
    ),
    "a quote without an end": (
        "a.csv",
        csv_text("class", ["cat", '"dog', *NAMED]),
        "is no CSV: unexpected end of data",
    ),
    "text after a quote": ("a.csv", csv_text("class", ['"cat"x']), "a.csv:2: is no CSV: "),
    "UTF-16": (
        "a.csv",
        csv_text("class", NAMED).encode("utf-16"),
        "a.csv:1: the text is UTF-16 or UTF-32: save the file as UTF-8",
    ),
    "mixed encodings": ("a.csv", b"class\ncat\nd\xf6g\n", "a.csv:3: byte 0xf6 is not UTF-8"),
    "a zero byte": ("a.csv", b"class\ncat\x00\n", "a.csv:2: holds a zero byte"),
    "JSON cut off": ("a.json", "[\n0,\n1", "a.json:3: is no JSON"),
    "JSON of a number": ("a.json", "7", "a.json: holds '7' alone: give a list"),
    "JSON of nothing": ("a.json", "[]", "a.json: 0 answers for 6 test images"),
    "JSON with a NaN": ("a.json", "[[NaN, 0.5, 0.5]]", "a.json: holds NaN, which is not a number"),
    "JSON with a name twice": ("a.json", '{"0": 1, "0": 2}', "a.json: '0' is there twice in one object"),
    "JSON nested deeply": ("a.json", "[" * 100_000, "a.json: is nested too deeply"),
    "JSON with endless digits": ("a.json", "[" + "9" * 5000 + "]", "a.json: "),
    "JSON with a huge number": (
        "a.json",
        "[[1e999, 0, 0]]",
        "a.json: item 0: the probability of 'cat' is inf",
    ),
    "JSON with an endless integer": (
        "a.json",
        "[[1" + "0" * 400 + ", 0, 0]]",
        "a.json: item 0: the probability of 'cat' is inf",
    ),
    "JSON with fractions": (
        "a.json",
        "[0.0, 1.0]",
        "a.json: item 0: '0.0' is neither the name nor the index of a class",
    ),
    "JSON with a truth": (
        "a.json",
        "[0, true]",
        "a.json: item 1: 'True' is neither the name nor the index of a class",
    ),
    "JSON with null": ("a.json", "[null]", "a.json: item 0: neither a class nor probabilities"),
    "JSON text as probabilities": (
        "a.json",
        '[["0.5", 0.5, 0]]',
        "a.json: item 0: '0.5' is not a probability",
    ),
    "JSON too short a row": ("a.json", "[[0.5, 0.5]]", "a.json: item 0: 2 probabilities for 3 classes"),
    "JSON of other probabilities": (
        "a.json",
        '[{"probs": 0.9, "class": 1}]',
        "a.json: item 0: its probabilities are '0.9'",
    ),
    "JSON of both kinds": (
        "a.json",
        "[0, [1, 0, 0]]",
        "a.json: item 1: probabilities here, but classes for the images before",
    ),
    "JSON with and without images": (
        "a.json",
        '[{"id": 0, "class": 0}, {"class": 0}]',
        "a.json: item 1: some answers name their image and some do not",
    ),
    "JSON with two images": ("a.json", '{"0": {"id": 1, "class": 0}}', "names its image a second time"),
    "JSON in UTF-16": ("a.json", json.dumps(CLASSES).encode("utf-16"), "a.json:1: the text is UTF-16"),
    "JSON in Latin-1": ("a.json", '[\n"ö"]'.encode("latin-1"), "a.json:2: byte 0xf6 is not UTF-8"),
    "no array": ("a.npy", b"not numpy at all", "a.npy: is no array"),
    "an empty array file": ("a.npy", b"", "a.npy: is no array"),
    "an array cut off": ("a.npy", npy_bytes(PROBS)[:-8], "a.npy: is damaged: 136 bytes for 144"),
    "an array with a NaN": (
        "a.npy",
        npy_bytes([[np.nan, 0.5, 0.5], *PROBS[1:]]),
        "a.npy: row 0: the probability of 'cat' is nan",
    ),
    "an array of logits": (
        "a.npy",
        npy_bytes(10 * np.array(PROBS)),
        "a.npy: row 0: the probability of 'cat' is 8",
    ),
    "an array of another length": (
        "a.npy",
        npy_bytes(CLASSES[:5]),
        "a.npy: classes has the shape (5,), not (6,)",
    ),
    "an array of another width": (
        "a.npy",
        npy_bytes(np.full((6, 2), 0.5)),
        "a.npy: probs has the shape (6, 2), not (6, 3)",
    ),
    "an array of bytes": (
        "a.npy",
        npy_bytes(np.array([b"cat"] * 6)),
        "a.npy: classes holds |S3: expected integers or text",
    ),
    "an array of fractions": ("a.npy", npy_bytes(np.array(CLASSES, float)), "a.npy: classes holds float64"),
    "an array of whole probabilities": (
        "a.npy",
        npy_bytes(np.eye(6, 3, dtype=int)),
        "a.npy: probs holds int64: expected floats",
    ),
    "dates": (
        "a.npy",
        npy_bytes(np.zeros(6, "M8[s]")),
        "a.npy: holds datetime64[s]: give integers, floats or text",
    ),
    "texts of no length": (
        "a.npy",
        npy_bytes(CLASSES).replace(b"'<i8'", b"'<U0'"),
        "a.npy: is no list and no matrix of values: <U0 (6,)",
    ),
    "a cube": ("a.npy", npy_bytes(np.zeros((6, 3, 1))), "no matrix of values: float64 (6, 3, 1)"),
    "a length that is a truth": (
        "a.npy",
        npy_bytes([0]).replace(b"(1,), }   ", b"(True,), }"),
        "a.npy: is no list and no matrix of values: int64 (True,)",
    ),
    "a length beside which another is endless": (
        "a.npy",
        npy_bytes(np.zeros((0, 3))).replace(
            b"(0, 3), }" + b" " * 20, b"(0, 10000000000000000000000)," + b"}"
        ),
        "a.npy: is no list and no matrix of values: float64 (0, 1000",
    ),
    "no archive": ("a.npz", b"PK\x03\x04 no more", "a.npz: is no .npz file"),
    "an archive without predictions": (
        "a.npz",
        npz_bytes(x=[1]),
        "a.npz: holds neither probs nor logits nor classes, but x",
    ),
    "two of a kind": (
        "a.npz",
        npz_bytes(probs=PROBS, probabilities=PROBS),
        "a.npz: holds both 'probs' and 'probabilities'",
    ),
    "other labels": (
        "a.npz",
        npz_bytes(probs=PROBS, labels=LABELS[::-1]),
        "a.npz: its labels are not those of six",
    ),
    "probabilities of other logits": (
        "a.npz",
        npz_bytes(probs=PROBS, logits=np.array(PROBS)),
        "a.npz: row 0: its probs are not the softmax",
    ),
    "infinite logits": (
        "a.npz",
        npz_bytes(logits=np.full((6, 3), np.inf)),
        "a.npz: row 0: a logit is not finite",
    ),
    "other classes than the logits": (
        "a.npz",
        npz_bytes(logits=np.array(PROBS), classes=[2, *CLASSES[1:]]),
        "a.npz: row 0: says '<b>ship</b>'",
    ),
    "keys twice": (
        "a.npz",
        npz_bytes(ids=[0, 0, 1, 2, 3, 4], classes=CLASSES),
        "a.npz: row 1: a second answer for '0'",
    ),
}
