"""Kubernetes manifests for tests: rendered overlays, their pods, and what names what."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
OVERLAYS = sorted(path.name for path in (ROOT / "k8s" / "overlays").iterdir())
DOCUMENTED = (ROOT / "docs" / "kubeflow.md").read_text()
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """A pod that a manifest asks for."""

    owner: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


@cache
def rendered(overlay: str) -> str:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed: nothing renders the overlays")
    command = ["kubectl", "kustomize", str(ROOT / "k8s" / "overlays" / overlay)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def manifests(overlay: str) -> list[Manifest]:
    return list(yaml.safe_load_all(rendered(overlay)))


def of_kind(found: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in found if manifest["kind"] == kind]


def title(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def pods(found: list[Manifest]) -> Iterator[Pod]:
    for manifest in found:
        spec = manifest.get("spec", {})
        templates = []
        if manifest["kind"] == "Deployment":
            templates = [spec["template"]]
        elif manifest["kind"] == "TrainingRuntime":
            jobs = spec["template"]["spec"]["replicatedJobs"]
            templates = [job["template"]["spec"]["template"] for job in jobs]
        elif manifest["kind"] == "Experiment":
            templates = [spec["trialTemplate"]["trialSpec"]["spec"]["template"]]
        elif manifest["kind"] == "ServingRuntime":
            templates = [{"spec": spec}]
        for template in templates:
            labels = template.get("metadata", {}).get("labels", {})
            yield Pod(title(manifest), labels, template["spec"])


def dangling(found: list[Manifest]) -> list[str]:
    """What names something that is not there, or cannot be."""
    names = {(m["kind"], m["metadata"]["name"]) for m in found}
    every_pod = list(pods(found))
    wrong = []

    def need(owner: str, kind: str, name: str) -> None:
        if (kind, name) not in names:
            wrong.append(f"{owner}: no {kind} {name}")

    for pod in every_pod:
        wrong += _dangling_in(pod)
        for kind, name in _named_by(pod):
            if kind == "Secret":
                if f"create secret generic {name}" not in DOCUMENTED:
                    wrong.append(f"{pod.owner}: docs/kubeflow.md does not make Secret {name}")
            else:
                need(pod.owner, kind, name)
    for manifest in found:
        owner, spec = title(manifest), manifest.get("spec", {})
        if manifest["kind"] == "RoleBinding":
            need(owner, manifest["roleRef"]["kind"], manifest["roleRef"]["name"])
            for subject in manifest["subjects"]:
                need(owner, subject["kind"], subject["name"])
                if subject.get("namespace") != manifest["metadata"]["namespace"]:
                    wrong.append(f"{owner}: {subject['name']} is of another namespace")
        elif manifest["kind"] == "HorizontalPodAutoscaler":
            need(owner, spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
        elif manifest["kind"] == "TrainJob":
            need(owner, spec["runtimeRef"]["kind"], spec["runtimeRef"]["name"])
        elif manifest["kind"] == "InferenceService":
            model = spec["predictor"]["model"]
            need(owner, "ServingRuntime", model["runtime"])
            need(owner, "ServiceAccount", spec["predictor"]["serviceAccountName"])
            claim = re.match(r"pvc://([^/]+)/", model["storageUri"])
            if claim:
                need(owner, "PersistentVolumeClaim", claim[1])
        wrong += _selects_nothing(manifest, every_pod)
        wrong += [f"{owner}: {line}" for line in _odd_gpus(manifest)]
    return wrong


def _dangling_in(pod: Pod) -> list[str]:
    volumes = {volume["name"] for volume in pod.spec.get("volumes", [])}
    mounted = {m["name"] for c in pod.containers for m in c.get("volumeMounts", [])}
    return [f"{pod.owner}: no volume {name}" for name in sorted(mounted - volumes)] + [
        f"{pod.owner}: volume {name} is not mounted" for name in sorted(volumes - mounted)
    ]


def _named_by(pod: Pod) -> Iterator[tuple[str, str]]:
    if pod.spec.get("serviceAccountName"):
        yield "ServiceAccount", pod.spec["serviceAccountName"]
    for volume in pod.spec.get("volumes", []):
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
    for container in pod.containers:
        for source in container.get("envFrom", []):
            if "secretRef" in source:
                yield "Secret", source["secretRef"]["name"]
            if "configMapRef" in source:
                yield "ConfigMap", source["configMapRef"]["name"]
        for variable in container.get("env", []):
            key = variable.get("valueFrom", {}).get("secretKeyRef")
            if key:
                yield "Secret", key["name"]


def _selects_nothing(manifest: Manifest, every_pod: list[Pod]) -> list[str]:
    spec, owner = manifest.get("spec", {}), title(manifest)
    if manifest["kind"] == "Service":
        selector = spec["selector"]
    elif manifest["kind"] in ("Deployment", "PodDisruptionBudget"):
        selector = spec["selector"]["matchLabels"]
    else:
        return []
    chosen = [pod for pod in every_pod if selector.items() <= pod.labels.items()]
    if not chosen:
        return [f"{owner}: selects no pod"]
    ports = {p["name"] for pod in chosen for c in pod.containers for p in c.get("ports", [])}
    wanted = {port["targetPort"] for port in spec.get("ports", [])}
    return [f"{owner}: no port {name}" for name in sorted(wanted - ports)]


def _odd_gpus(node: Any) -> Iterator[str]:
    """GPUs come whole, and Kubernetes takes no request of them without an equal limit."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key.endswith("/gpu") and not re.fullmatch(r"[1-9]\d*", str(value)):
                yield f"{key}: {value} is not a whole number"
            yield from _odd_gpus(value)
    elif isinstance(node, list):
        for item in node:
            yield from _odd_gpus(item)
