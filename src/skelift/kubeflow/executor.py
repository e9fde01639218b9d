"""What Kubeflow Pipelines hands to a step (ExecutorInput) and takes back from it (ExecutorOutput).

A container component gets both through the placeholder ``{{$}}``; the image needs no kfp.

On a cluster KFP's launcher carries artifacts between the bucket and the pod. kfp.local has no
launcher: there ``SKELIFT_ARTIFACTS=s3://...`` makes the step itself put its outputs into a bucket,
and later steps fetch them from there.
"""

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from skelift.errors import InputError
from skelift.files import atomic_file, write_json
from skelift.kubeflow.bucket import fetch, is_remote, upload

CARRIED = "SKELIFT_ARTIFACTS"
# Where KFP's launcher puts what lies in a bucket (kfp.dsl.Artifact.path).
_MOUNTS = {"gs://": "/gcs/", "minio://": "/minio/", "s3://": "/s3/"}


@dataclass
class Artifact:
    """An output: the step writes ``path``, a file or a folder; the UI shows ``metadata``."""

    uri: str
    path: Path
    metadata: dict[str, Any]


class Task:
    """The inputs and outputs of one step, from an ExecutorInput message as JSON (``text``)."""

    def __init__(self, text: str) -> None:
        try:
            message = json.loads(text)
            inputs, outputs = message.get("inputs", {}), message["outputs"]
            self.parameters: dict[str, Any] = inputs.get("parameterValues", {})
            self._inputs, made = _artifacts(inputs), _artifacts(outputs)
            self._output_file = Path(outputs["outputFile"])
            self._parameters_out = outputs.get("parameters", {})
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise InputError(f"--executor-input: not an ExecutorInput of KFP ({error!r})") from None
        self._carried = os.environ.get(CARRIED)
        self._fetched: dict[str, Path] = {}
        self.outputs = {name: self._output(name, about) for name, about in made.items()}

    def input(self, name: str) -> Path:
        """The file or folder of an input artifact, on this machine."""
        about = self._inputs[name]
        if not (self._carried and is_remote(about["uri"])):
            return _local(about)
        if name not in self._fetched:
            self._fetched[name] = fetch(about["uri"], Path(mkdtemp(prefix=f"{name}-")))
        return self._fetched[name]

    def input_uri(self, name: str) -> str:
        """Where an input artifact lies, for people."""
        return str(self._inputs[name]["uri"])

    def log(self, name: str, values: Mapping[str, Any]) -> None:
        """Metadata of an output: of ``Metrics`` they are the numbers that the UI shows."""
        self.outputs[name].metadata.update(values)

    def set_parameter(self, name: str, value: Any) -> None:
        """Write an output parameter: text as it is, everything else as JSON."""
        with atomic_file(Path(self._parameters_out[name]["outputFile"])) as unfinished:
            unfinished.write_text(value if isinstance(value, str) else json.dumps(value))

    def finish(self) -> None:
        """Hand everything over. A step that failed has not come here, and hands over nothing."""
        for output in self.outputs.values():
            if self._carried and output.path.exists():
                upload(output.path, output.uri)
        artifacts = {
            name: {"artifacts": [{"name": name, "uri": output.uri, "metadata": output.metadata}]}
            for name, output in self.outputs.items()
        }
        write_json(self._output_file, {"artifacts": artifacts})

    def _output(self, name: str, about: Mapping[str, Any]) -> Artifact:
        metadata = dict(about.get("metadata", {}))
        if not self._carried:
            path = _local(about)
            path.parent.mkdir(parents=True, exist_ok=True)
            return Artifact(about["uri"], path, metadata)
        # A name of its own each time: iterations of a loop share one URI in kfp.local.
        uri = f"{self._carried.rstrip('/')}/{Path(about['uri']).parent.name}/{uuid.uuid4()}/{name}"
        return Artifact(uri, Path(mkdtemp(prefix=f"{name}-")) / name, metadata)


def _artifacts(message: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: value["artifacts"][0] for name, value in message.get("artifacts", {}).items()}


def _local(about: Mapping[str, Any]) -> Path:
    if about.get("customPath"):
        return Path(about["customPath"])
    uri = str(about["uri"])
    for scheme, mount in _MOUNTS.items():
        if uri.startswith(scheme):
            return Path(mount + uri.removeprefix(scheme))
    return Path(uri)
