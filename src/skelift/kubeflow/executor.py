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
from dataclasses import dataclass, field
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
    """An output: the step writes ``path`` (a file or a folder) and says what the UI shows of it."""

    name: str
    uri: str
    path: Path
    metadata: dict[str, Any] = field(default_factory=dict)


class Task:
    """The inputs and outputs of one step.

    Args:
        text: the ExecutorInput message as JSON.

    Raises:
        InputError: the text is not such a message.
    """

    def __init__(self, text: str) -> None:
        try:
            message = json.loads(text)
            inputs, outputs = message.get("inputs", {}), message["outputs"]
            self.parameters: dict[str, Any] = inputs.get("parameterValues", {})
            self._inputs = {
                name: value["artifacts"][0] for name, value in inputs.get("artifacts", {}).items()
            }
            self._output_file = Path(outputs["outputFile"])
            self._parameter_files = {
                name: Path(value["outputFile"])
                for name, value in outputs.get("parameters", {}).items()
            }
            outputs = {
                name: value["artifacts"][0] for name, value in outputs.get("artifacts", {}).items()
            }
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise InputError(f"--executor-input: not an ExecutorInput of KFP ({error!r})") from None
        self._carried = os.environ.get(CARRIED)
        self.outputs = {name: self._output(name, about) for name, about in outputs.items()}

    def input(self, name: str) -> Path:
        """The file or folder of an input artifact, on this machine."""
        about = self._inputs[name]
        if self._carried and is_remote(about["uri"]):
            return fetch(about["uri"], Path(mkdtemp(prefix=f"{name}-")))
        return _local(about)

    def input_uri(self, name: str) -> str:
        """Where an input artifact lies, for people."""
        return str(self._inputs[name]["uri"])

    def log(self, name: str, values: Mapping[str, Any]) -> None:
        """Metadata of an output: of ``Metrics`` they are the numbers that the UI shows."""
        self.outputs[name].metadata.update(values)

    def set_parameter(self, name: str, value: Any) -> None:
        """Write an output parameter: text as it is, everything else as JSON."""
        with atomic_file(self._parameter_files[name]) as unfinished:
            unfinished.write_text(value if isinstance(value, str) else json.dumps(value))

    def finish(self) -> None:
        """Hand everything over. A step that failed has not come here, and hands over nothing."""
        for output in self.outputs.values():
            if self._carried and output.path.exists():
                upload(output.path, output.uri)
        artifacts = {
            output.name: {
                "artifacts": [{"name": output.name, "uri": output.uri, "metadata": output.metadata}]
            }
            for output in self.outputs.values()
        }
        write_json(self._output_file, {"artifacts": artifacts})

    def _output(self, name: str, about: Mapping[str, Any]) -> Artifact:
        metadata = dict(about.get("metadata", {}))
        if not self._carried:
            path = _local(about)
            path.parent.mkdir(parents=True, exist_ok=True)
            return Artifact(name, about["uri"], path, metadata)
        # A name of its own each time: iterations of a loop share one URI in kfp.local.
        uri = f"{self._carried.rstrip('/')}/{Path(about['uri']).parent.name}/{uuid.uuid4()}/{name}"
        return Artifact(name, uri, Path(mkdtemp(prefix=f"{name}-")) / name, metadata)


def _local(about: Mapping[str, Any]) -> Path:
    if about.get("customPath"):
        return Path(about["customPath"])
    uri = str(about["uri"])
    for scheme, mount in _MOUNTS.items():
        if uri.startswith(scheme):
            return Path(mount + uri.removeprefix(scheme))
    return Path(uri)
