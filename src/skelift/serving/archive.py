"""The .mar: a model with all that TorchServe needs beside the installed package. No pickle."""

import json
import tempfile
import zipfile
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from skelift.errors import InputError
from skelift.files import atomic_file, read_json
from skelift.inference.predictor import GRAPH
from skelift.inference.runtimes import NAMES, RuntimeName
from skelift.models.io import CARD, WEIGHTS, load_card
from skelift.serving.export import export_onnx
from skelift.serving.settings import DEFAULT_NAME, model_config
from skelift.skeleton import Skeleton

HANDLER = "skelift_handler.py"
MANIFEST = "MAR-INF/MANIFEST.json"
NAME_ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # equal models make equal archives


def package(
    model: Path,
    out: Path,
    *,
    name: str = DEFAULT_NAME,
    version: str = "1.0",
    runtime: RuntimeName = "onnx",
    scores: Path | None = None,
) -> Path:
    """Write ``out/NAME.mar``.

    Args:
        model: folder written by ``skelift train``.
        out: folder for the archive.
        name: of the model at the endpoint.
        version: of the model at the endpoint.
        runtime: what the handler runs: ``onnx`` (the faster on a CPU) or ``torch``.
        scores: ``metrics.json`` of ``skelift evaluate``, for the model card.

    Returns:
        The archive.

    Raises:
        InputError: the folder is not a model, the scores cannot be read, or a name is not usable.
    """
    for what, text in (("--name", name), ("--version", version)):
        if not text or set(text) - NAME_ALPHABET:
            raise InputError(f"{what} {text!r}: use letters, digits, dot, dash and underscore")
    if runtime not in NAMES:
        raise InputError(f"--runtime {runtime}: choose one of {', '.join(NAMES)}")
    card, skeleton = load_card(model)
    measured = read_json(scores, "skelift evaluate") if scores else None
    texts = {
        MANIFEST: _manifest(name, version),
        HANDLER: (files("skelift.serving") / HANDLER).read_text(),
        "model-config.yaml": model_config(runtime),
        "labels.json": json.dumps(_labels(skeleton), indent=2),
        "LICENSE": _licence(),
        "MODEL_CARD.md": model_card(card, version, measured),
        CARD: json.dumps(card, indent=2),
    }
    with tempfile.TemporaryDirectory() as folder:
        graph = export_onnx(model, Path(folder) / GRAPH)
        members = {path: text.encode() for path, text in texts.items()}
        members[WEIGHTS] = (model / WEIGHTS).read_bytes()
        members[GRAPH] = graph.read_bytes()
        archive = out / f"{name}.mar"
        with atomic_file(archive) as unfinished:
            _zip(unfinished, members)
    return archive


def model_card(card: dict[str, Any], version: str, scores: dict[str, Any] | None) -> str:
    """What the model was trained on, how good it is and what it cannot do, as Markdown."""
    data, skeleton = card["data"], card["skeleton"]
    rendered = " (rendered; no images of people)" if data["synthetic"] else ""
    template = Template((files("skelift.serving") / "model_card.md").read_text(encoding="utf-8"))
    return template.substitute(
        name=card["name"],
        version=version,
        skeleton=skeleton["name"],
        joints=len(skeleton["joints"]),
        skelift_version=card["skelift_version"],
        data=data["name"] + rendered,
        provenance=data["provenance"],
        licence=data["licence"],
        steps=card.get("steps", "not recorded"),
        scores=_score_table(scores) if scores else "Not given when this archive was made.",
    )


def _score_table(scores: dict[str, Any]) -> str:
    try:
        data = scores["data"]
        lines = [
            f"On {data['test_images']} {'rendered ' if data['synthetic'] else ''}test images of "
            f"{data['name']}, by `skelift evaluate`:",
            "",
            "| Model | P-MPJPE mm | MPJPE mm | PCK 150 % | 2D px |",
            "| --- | --- | --- | --- | --- |",
        ]
        for name, row in scores["rows"].items():
            keys = ("p_mpjpe_mm", "mpjpe_mm", "pck_150", "error_2d_px")
            figures = (row["overall"][key] for key in keys)
            cells = " | ".join("-" if f is None else f"{f:.1f}" for f in figures)
            lines.append(f"| {name} | {cells} |")
    except (KeyError, TypeError) as error:
        raise InputError(
            f"--scores: not a metrics.json of `skelift evaluate` ({error} is missing)"
        ) from None
    return "\n".join(lines)


def _manifest(name: str, version: str) -> str:
    return json.dumps(
        {
            "createdOn": "01/01/1980 00:00:00",
            "runtime": "python",
            "model": {
                "modelName": name,
                "modelVersion": version,
                "handler": HANDLER,
                "serializedFile": WEIGHTS,
                "configFile": "model-config.yaml",
            },
            "archiverVersion": "0.12.0",
        },
        indent=2,
    )


def _labels(skeleton: Skeleton) -> dict[str, str]:
    return {str(number): joint for number, joint in enumerate(skeleton.joints)}


def _licence() -> str:
    text = distribution("skelift").read_text("licenses/LICENSE")
    assert text, "the package is installed with its licence"
    return text


def _zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(members.items()):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
