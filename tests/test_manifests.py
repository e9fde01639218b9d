"""The manifests of k8s/: against the schemas, against each other, and against the package."""

import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator
from manifests import OVERLAYS, ROOT, dangling, manifests, of_kind, pods, title

from skelift import __version__
from skelift.cli import _parser
from skelift.config import compose
from skelift.serving.server import DRAIN_SECONDS, STOP_SECONDS, check_host
from skelift.sweep.katib import experiment
from skelift.sweep.space import trial_values

KUBERNETES = "1.31"
SCHEMAS = [
    json.loads(file.read_text()) for file in (Path(__file__).parent / "schemas").glob("*.json")
]
SERVING = ("Deployment", "ServingRuntime")
CUSTOM = {
    (crd["kind"], f"{crd['group']}/{crd['version']}"): crd["schema"]
    for crd in SCHEMAS
    if "kind" in crd
}


def closed(fields: dict[str, Any], required: str = "") -> dict[str, Any]:
    return {
        "type": "object",
        "properties": fields,
        "required": required.split(),
        "additionalProperties": False,
    }


def some(item: Any) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1}


TEXT, COUNT = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 1}
NUMBER = {"type": "string", "pattern": r"^-?\d+(\.\d+)?(e-?\d+)?$"}
SETTINGS = closed(
    {
        "algorithmName": {"enum": ["tpe", "random", "bayesianoptimization", "medianstop"]},
        "algorithmSettings": some(closed({"name": TEXT, "value": TEXT}, "name value")),
    },
    "algorithmName",
)
# Katib's CRD has no schema; this is experiment_types.go (v1beta1) as far as the manifest uses it.
EXPERIMENT = closed(
    {
        "apiVersion": {"const": "kubeflow.org/v1beta1"},
        "kind": {"const": "Experiment"},
        "metadata": {"type": "object"},
        "spec": closed(
            {
                "objective": closed(
                    {
                        "type": {"enum": ["minimize", "maximize"]},
                        "goal": {"type": "number"},
                        "objectiveMetricName": TEXT,
                        "additionalMetricNames": some(TEXT),
                        "metricStrategies": some(
                            closed(
                                {"name": TEXT, "value": {"enum": ["min", "max", "latest"]}},
                                "name value",
                            )
                        ),
                    },
                    "type objectiveMetricName",
                ),
                "algorithm": SETTINGS,
                "earlyStopping": SETTINGS,
                "parallelTrialCount": COUNT,
                "maxTrialCount": COUNT,
                "maxFailedTrialCount": COUNT,
                "resumePolicy": {"enum": ["Never", "LongRunning", "FromVolume"]},
                "metricsCollectorSpec": closed(
                    {"collector": closed({"kind": {"enum": ["StdOut", "File"]}}, "kind")},
                    "collector",
                ),
                "parameters": some(
                    closed(
                        {
                            "name": TEXT,
                            "parameterType": {"enum": ["double", "int", "discrete", "categorical"]},
                            "feasibleSpace": {
                                "oneOf": [
                                    closed(
                                        {
                                            "min": NUMBER,
                                            "max": NUMBER,
                                            "step": NUMBER,
                                            "distribution": {"enum": ["uniform", "logUniform"]},
                                        },
                                        "min max",
                                    ),
                                    closed({"list": some(TEXT)}, "list"),
                                ]
                            },
                        },
                        "name parameterType feasibleSpace",
                    )
                ),
                "trialTemplate": closed(
                    {
                        "retain": {"type": "boolean"},
                        "primaryContainerName": TEXT,
                        "trialParameters": some(
                            closed(
                                {"name": TEXT, "description": TEXT, "reference": TEXT},
                                "name reference",
                            )
                        ),
                        "trialSpec": {"type": "object"},
                    },
                    "primaryContainerName trialParameters trialSpec",
                ),
            },
            "objective algorithm parameters trialTemplate maxTrialCount",
        ),
    },
    "apiVersion kind metadata spec",
)


def strict(schema: Any) -> Any:
    """A CRD's schema with unknown fields forbidden, as the API server's strict mode has it."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(value) for key, value in schema.items()}
    names_fields = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    is_open = schema.get("x-kubernetes-preserve-unknown-fields", False)
    if names_fields and not is_open and "additionalProperties" not in schema:
        result["additionalProperties"] = False
    return result


def complaints(manifest: dict[str, Any]) -> list[str]:
    """What the API server would refuse; empty when the manifest is valid."""
    schema = CUSTOM.get((manifest["kind"], manifest["apiVersion"]))
    if manifest["kind"] == "Experiment":
        schema = EXPERIMENT
        job = manifest["spec"]["trialTemplate"]["trialSpec"]
        inner = complaints(job | {"metadata": {"name": "trial"}})
    else:
        inner = []
    if schema is None:
        try:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            return [f"{error.path}: {error.message}"]
        return []
    errors = Draft202012Validator(strict(schema)).iter_errors(manifest)
    return inner + [f"{error.json_path}: {error.message}" for error in errors]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_are_valid_with_no_unknown_field(overlay: str) -> None:
    for manifest in manifests(overlay):
        assert not complaints(manifest), title(manifest)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Deployment", "spec.template.spec.restartPolcy"),
        ("NetworkPolicy", "spec.podSelectr"),
        ("TrainJob", "spec.trainer.numNode"),
        ("TrainingRuntime", "spec.template.spec.failurePolicy.maxRestart"),
        ("Experiment", "spec.maxTrials"),
        ("Experiment", "spec.trialTemplate.trialSpec.spec.backofLimit"),
        ("ServingRuntime", "spec.protocolVersion"),
        ("InferenceService", "spec.predictor.model.storageURI"),
    ],
)
def test_an_unknown_field_is_refused(kind: str, path: str) -> None:
    overlay = "kserve" if kind in ("ServingRuntime", "InferenceService") else "gpu-cluster"
    manifest = of_kind(manifests(overlay), kind)[0]
    node = manifest
    *parents, last = path.split(".")
    for parent in parents:
        node = node[parent]
    node[last] = "1"
    assert complaints(manifest)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_reference_leads_somewhere(overlay: str) -> None:
    assert dangling(manifests(overlay)) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("claimName: skelift-data", "claimName: skelift-date", "no PersistentVolumeClaim"),
        (r"(mountPath: /dev/shm\n *name:) shm", r"\1 smh", "no volume"),
        ("serviceAccountName: skelift-serve", "serviceAccountName: serve", "no ServiceAccount"),
        ("name: skelift-s3", "name: skelift-gcs", "does not make Secret"),
        ("name: skelift-torch$", "name: skelift-jax", "no TrainingRuntime"),
        ("nvidia.com/gpu: 1$", "nvidia.com/gpu: 0.5", "not a whole number"),
        ("targetPort: http", "targetPort: https", "no port"),
        (r"(selector:\n *app.kubernetes.io/name:) skelift-serve", r"\1 s", "selects no pod"),
    ],
)
def test_a_broken_reference_is_found(old: str, new: str, complaint: str) -> None:
    text = yaml.safe_dump_all(manifests("gpu-cluster"))
    # The first occurrence alone: what it named, or was named by, is left behind.
    broken, count = re.subn(old, new, text, count=1, flags=re.MULTILINE)
    assert count == 1
    assert any(complaint in line for line in dangling(list(yaml.safe_load_all(broken))))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_confined(overlay: str) -> None:
    found = list(pods(manifests(overlay)))
    assert found
    for pod in found:
        outer = pod.spec.get("securityContext", {})
        for container in pod.containers:
            own = outer | container["securityContext"]
            assert own["runAsNonRoot"] is True, pod.owner
            assert own["runAsUser"] >= 10000
            assert own["allowPrivilegeEscalation"] is False
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert own["seccompProfile"] == {"type": "RuntimeDefault"}
            writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
            assert "/tmp" in writable  # noqa: S108
    for account in of_kind(manifests(overlay), "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    for role in of_kind(manifests(overlay), "Role"):
        granted = [item for rule in role["rules"] for item in rule["verbs"] + rule["resources"]]
        assert not {"*", "secrets", "update", "patch", "pods/exec"} & set(granted)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_has_bounds_and_this_version(overlay: str) -> None:
    found = manifests(overlay)
    bounds = [c["resources"] for pod in pods(found) for c in pod.containers if c["name"] != "node"]
    bounds += [job["spec"]["trainer"]["resourcesPerNode"] for job in of_kind(found, "TrainJob")]
    for resources in bounds:
        assert {"cpu", "memory"} <= resources["requests"].keys()
        assert {"cpu", "memory"} <= resources["limits"].keys()
    images = re.findall(r"image: (\S+)", yaml.safe_dump_all(found))
    assert all(re.search(rf"skelift:{__version__}-(gpu|serve)$", image) for image in images)
    if overlay != "local":
        assert all(image.startswith("registry.example.org/") for image in images)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_gets_in_or_out_unless_a_policy_says_so(overlay: str) -> None:
    policies = {
        m["metadata"]["name"]: m["spec"] for m in of_kind(manifests(overlay), "NetworkPolicy")
    }
    deny = policies.pop("default-deny")
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    labels = [pod.labels for name in OVERLAYS for pod in pods(manifests(name))]
    for name, policy in policies.items():
        selected = policy["podSelector"].get("matchLabels", {})
        assert any(selected.items() <= own.items() for own in labels), name


def test_katib_searches_the_same_space() -> None:
    committed = (ROOT / "k8s/components/katib/experiment.yaml").read_text()
    assert yaml.safe_load(committed) == experiment(compose()), "stale; run `make manifests`"


def test_what_katib_substitutes_composes() -> None:
    config = compose(["experiment=people"])
    template = experiment(config, ["experiment=people"])["spec"]["trialTemplate"]
    reference = {p["name"]: p["reference"] for p in template["trialParameters"]}
    values = trial_values(config.sweep, 5)
    container = template["trialSpec"]["spec"]["template"]["spec"]["containers"][0]
    assert container["name"] == template["primaryContainerName"]
    arguments = [
        re.sub(r"\$\{trialParameters\.(\w+)\}", lambda m: str(values[reference[m[1]]]), argument)
        for argument in container["args"]
    ]
    tried = compose(arguments)
    assert tried.sweep.trial == 0
    assert tried.loss.silhouette == values["loss.silhouette"]
    assert tried.train.learning_rate == values["train.learning_rate"]
    assert tried.name == "people"


def test_trainjob_runs_the_verb_of_a_laptop() -> None:
    (job,) = of_kind(manifests("gpu-cluster"), "TrainJob")
    (runtime,) = of_kind(manifests("gpu-cluster"), "TrainingRuntime")
    trainer = job["spec"]["trainer"]
    assert trainer["command"][0] == "torchrun"
    assert trainer["command"][-3:] == ["-m", "skelift", "train"]
    config = compose(trainer["args"])
    assert config.train.batch % (trainer["numNodes"] * trainer["numProcPerNode"]) == 0
    # Trainer's torch plug-in looks for a container `node` in a job `node`.
    (node,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    (container,) = node["template"]["spec"]["template"]["spec"]["containers"]
    assert node["name"] == container["name"] == "node"
    mounts = {m["mountPath"]: m for m in container["volumeMounts"]}
    for place in (config.paths.checkpoints, config.paths.model):
        kept = mounts["/" + place.split("/")[1]]
        claims = {
            v["name"]
            for v in node["template"]["spec"]["template"]["spec"]["volumes"]
            if "persistentVolumeClaim" in v
        }
        assert kept["name"] in claims, f"{place} would not outlive its pod"
        assert not kept.get("readOnly")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_serving_runs_the_verb_and_has_time_to_drain(overlay: str) -> None:
    (pod,) = (p for p in pods(manifests(overlay)) if p.owner.split()[0] in SERVING)
    (container,) = pod.containers
    serve = _parser().parse_args([*container["command"][1:], *container["args"]])
    assert serve.verb == "serve"
    check_host(serve.host, serve.tokens)
    assert container["ports"][0]["containerPort"] == serve.port
    mounted = {m["mountPath"] for m in container["volumeMounts"]} | {"/mnt/models"}  # KServe's
    assert str(serve.model.parent) in mounted
    ready = _parser().parse_args(container["readinessProbe"]["exec"]["command"][1:])
    assert ready.verb == "ready"
    assert (ready.port, ready.state) == (serve.port, serve.state)
    owner = next(m for m in manifests(overlay) if m["kind"] in ("Deployment", "InferenceService"))
    spec = owner["spec"].get("predictor") or owner["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] > serve.grace + DRAIN_SECONDS + STOP_SECONDS
    assert owner["spec"].get("replicas") is None  # the autoscaler's
