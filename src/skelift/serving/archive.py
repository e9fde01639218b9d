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
from skelift.inference.runtimes import RuntimeName
from skelift.models.io import CARD, WEIGHTS, load_card
from skelift.serving.export import export_onnx
from skelift.serving.manifest import MANIFEST, NAME
from skelift.serving.settings import DEFAULT_NAME, model_config

HANDLER = "skelift_handler.py"
CONFIG = "model-config.yaml"


def package(
    model: Path,
    out: Path,
    *,
    name: str = DEFAULT_NAME,
    version: str = "1.0",
    runtime: RuntimeName = "onnx",
    scores: Path | None = None,
) -> Path:
    """Write ``out/NAME.mar`` and return its path.

    Args:
        model: folder written by ``skelift train``.
        out: folder for the archive.
        name: of the model at the endpoint.
        version: of the model at the endpoint.
        runtime: what the handler runs: ``onnx`` (the faster on a CPU) or ``torch``.
        scores: ``metrics.json`` of ``skelift evaluate``, for the model card.

    Raises:
        InputError: the folder is not a model, the scores cannot be read, or a name is not usable.
    """
    for what, text in (("--name", name), ("--version", version)):
        if not NAME.fullmatch(text):
            raise InputError(f"{what} {text!r}: use letters, digits, dot, dash and underscore")
    card, _ = load_card(model)
    measured = read_json(scores, "skelift evaluate") if scores else None
    with tempfile.TemporaryDirectory() as folder:
        graph = export_onnx(model, Path(folder) / GRAPH).read_bytes()
    members: dict[str, str | bytes] = {
        MANIFEST: json.dumps(_manifest(name, version), indent=2),
        HANDLER: (files("skelift.serving") / HANDLER).read_text(),
        CONFIG: model_config(runtime),
        "LICENSE": _licence(),
        "MODEL_CARD.md": model_card(card, version, measured),
        CARD: json.dumps(card, indent=2),
        WEIGHTS: (model / WEIGHTS).read_bytes(),
        GRAPH: graph,
    }
    archive = out / f"{name}.mar"
    with atomic_file(archive) as unfinished, zipfile.ZipFile(unfinished, "w") as opened:
        for path, content in sorted(members.items()):
            info = zipfile.ZipInfo(path)  # dated 1980: equal models make equal archives
            info.external_attr = 0o644 << 16
            opened.writestr(info, content, zipfile.ZIP_DEFLATED)
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


def _manifest(name: str, version: str) -> dict[str, Any]:
    return {
        "createdOn": "01/01/1980 00:00:00",
        "runtime": "python",
        "model": {
            "modelName": name,
            "modelVersion": version,
            "handler": HANDLER,
            "serializedFile": WEIGHTS,
            "configFile": CONFIG,
        },
        "archiverVersion": "0.12.0",
    }


def _licence() -> str:
    text = distribution("skelift").read_text("licenses/LICENSE")
    assert text, "the package is installed with its licence"
    return text
