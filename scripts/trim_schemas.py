"""Make tests/schemas from the upstream files: ``python scripts/trim_schemas.py FOLDER``.

FOLDER holds the CRDs of Kubeflow Trainer and KServe, and Kubeflow Pipelines' v2beta1 swagger file,
under their upstream names. Descriptions and the parts that no manifest of the project has are left
out. What is left out is unknown to the tests, which refuse unknown fields: a manifest that starts
to use such a part needs it kept here.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

SCHEMAS = Path(__file__).parents[1] / "tests" / "schemas"
PREDICTOR = (
    *("workerSpec", "containers", "initContainers", "ephemeralContainers", "volumes", "affinity"),
    *("huggingface", "lightgbm", "onnx", "paddle", "pmml", "pytorch", "sklearn", "tensorflow"),
    *("triton", "xgboost"),
)
CRDS = {
    "trainjobs.trainer.kubeflow.org": [],
    "trainingruntimes.trainer.kubeflow.org": [],
    "servingruntimes.serving.kserve.io": ["spec.workerSpec"],
    "inferenceservices.serving.kserve.io": [
        "spec.canary",
        "spec.explainer",
        "spec.transformer",
        *(f"spec.predictor.{part}" for part in PREDICTOR),
    ],
}
SWAGGER = "kfp_api_v2beta1.swagger.json"
PATHS = ("/healthz", "/experiments", "/pipelines", "/runs")


def without_descriptions(node: Any) -> Any:
    """A schema without its prose; a property that is called description stays."""
    if isinstance(node, dict):
        return {
            key: without_descriptions(value)
            for key, value in node.items()
            if not (key in ("description", "title") and isinstance(value, str))
        }
    return [without_descriptions(item) for item in node] if isinstance(node, list) else node


def drop(schema: dict[str, Any], path: str) -> None:
    """Remove a property by its dotted path."""
    *parents, last = path.split(".")
    for parent in parents:
        schema = schema["properties"][parent]
    schema["properties"].pop(last, None)


def trim_crd(file: Path, parts: list[str]) -> dict[str, Any]:
    """The schema of a CRD's stored version."""
    crd = yaml.safe_load(file.read_text())["spec"]
    (version,) = (v for v in crd["versions"] if v["storage"])
    schema = without_descriptions(version["schema"]["openAPIV3Schema"])
    for part in ("status", *parts):
        drop(schema, part)
    return {"group": crd["group"], "version": version["name"], "kind": crd["names"]["kind"]} | {
        "schema": schema
    }


def trim_swagger(file: Path) -> dict[str, Any]:
    """The paths that kfp.Client calls, and all definitions."""
    whole = without_descriptions(json.loads(file.read_text()))
    paths = {
        path: content
        for path, content in whole["paths"].items()
        if path.removeprefix("/apis/v2beta1").startswith(PATHS)
    }
    return {"info": whole["info"], "paths": paths, "definitions": whole["definitions"]}


def main(folder: Path) -> None:
    """Write every schema."""
    trimmed = {name: trim_crd(folder / f"{name}.yaml", parts) for name, parts in CRDS.items()}
    trimmed[SWAGGER.removesuffix(".json")] = trim_swagger(folder / SWAGGER)
    for name, content in trimmed.items():
        text = json.dumps(content, separators=(",", ":"), sort_keys=True)
        (SCHEMAS / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
