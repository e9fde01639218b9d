"""A test double of Kubeflow Pipelines' v2beta1 API: the few endpoints that kfp.Client calls.

Every request and every answer is validated against the upstream swagger definitions (trimmed, see
schemas/PROVENANCE.md), unknown fields forbidden. A submitted pipeline is executed by kfp.local, in
a process of its own: each task is a process of this machine, no container is made.
"""

import json
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from jsonschema import Draft202012Validator

SWAGGER = json.loads(
    (Path(__file__).parent / "schemas" / "kfp_api_v2beta1.swagger.json").read_text()
)
NOW = "2030-01-01T00:00:00Z"


def strict(schema: Any) -> Any:
    """The schema with unknown fields forbidden, wherever it names its fields."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        closed["additionalProperties"] = False
    return closed


DEFINITIONS = strict(SWAGGER["definitions"])


def complaints(schema: Any, content: Any) -> list[str]:
    """What is wrong with a body; empty when it is valid."""
    validator = Draft202012Validator(strict(schema) | {"definitions": DEFINITIONS})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(content)]


class KfpApiTestDouble:
    """The state behind the endpoints, and what was asked.

    Args:
        folder: where submitted pipelines and their artifacts lie.

    Attributes:
        token: the bearer token that requests must carry, if any.
        executes: whether submitted pipelines are executed; else they stay pending.
        asked: method and path of each request.
        broken: what was wrong with requests and answers.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token: str | None = None
        self.executes = True
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.experiments: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.broken: list[str] = []
        self.threads: list[threading.Thread] = []

    def answer(
        self, method: str, path: str, query: dict[str, str], body: Any
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON of a request."""
        self.asked.append((method, path))
        found = self._operation(method, path)
        if found is None:
            return 404, {"message": f"{method} {path}: no such endpoint"}
        template, operation, values = found
        wrong = self._wrong(operation, query, body)
        if wrong:
            self.broken += wrong
            return 400, {"message": "; ".join(wrong)}
        name = f"{method}_{re.sub(r'[^a-z]+', '_', template.removeprefix('/apis/v2beta1/'))}"
        handler = getattr(self, name.strip("_"), None)
        if handler is None:
            return 501, {"message": f"{method} {template}: the test double has no such endpoint"}
        status, content = handler(*values, query=query, body=body)
        if status == 200:
            schema = operation["responses"]["200"]["schema"]
            self.broken += [f"answer to {path}: {line}" for line in complaints(schema, content)]
        return status, content

    def _operation(self, method: str, path: str) -> tuple[str, Any, list[str]] | None:
        for template, operations in SWAGGER["paths"].items():
            pattern = re.sub(r"\{[^}]+\}", "([^/:]+)", template)
            match = re.fullmatch(pattern, path)
            if match and method in operations:
                return template, operations[method], list(match.groups())
        return None

    def _wrong(self, operation: Any, query: dict[str, str], body: Any) -> list[str]:
        parameters = operation.get("parameters", [])
        known = {p["name"] for p in parameters if p["in"] == "query"}
        wrong = [f"unknown query parameter {name}" for name in set(query) - known]
        for parameter in parameters:
            if parameter["in"] == "body":
                wrong += complaints(parameter["schema"], body)
        return wrong

    def get_healthz(self, **_: Any) -> tuple[int, dict[str, Any]]:
        return 200, {"multi_user": False}

    def get_pipelines(self, query: dict[str, str], **_: Any) -> tuple[int, dict[str, Any]]:
        return 200, _listed("pipelines", self.pipelines, query)

    def post_pipelines_upload(
        self, query: dict[str, str], body: bytes, **_: Any
    ) -> tuple[int, dict[str, Any]]:
        pipeline = {
            "pipeline_id": _new_id(),
            "display_name": query["name"],
            "created_at": NOW,
        }
        self.pipelines[pipeline["pipeline_id"]] = pipeline
        # As the genuine server does: the first version bears the pipeline's name.
        self._add_version(pipeline["pipeline_id"], query["name"], body)
        return 200, pipeline

    def get_pipelines_pipeline_id_versions(
        self, pipeline_id: str, query: dict[str, str], **_: Any
    ) -> tuple[int, dict[str, Any]]:
        own = {k: v for k, v in self.versions.items() if v["pipeline_id"] == pipeline_id}
        return 200, _listed("pipeline_versions", own, query)

    def post_pipelines_upload_version(
        self, query: dict[str, str], body: bytes, **_: Any
    ) -> tuple[int, dict[str, Any]]:
        if query["pipelineid"] not in self.pipelines:
            return 404, {"message": "no such pipeline"}
        names = [v["display_name"] for v in self.versions.values()]
        if query["name"] in names:
            return 409, {"message": f"version {query['name']} already exists"}
        return 200, self._add_version(query["pipelineid"], query["name"], body)

    def get_experiments(self, query: dict[str, str], **_: Any) -> tuple[int, dict[str, Any]]:
        return 200, _listed("experiments", self.experiments, query)

    def post_experiments(self, body: dict[str, Any], **_: Any) -> tuple[int, dict[str, Any]]:
        experiment = body | {"experiment_id": _new_id(), "created_at": NOW}
        self.experiments[experiment["experiment_id"]] = experiment
        return 200, experiment

    def post_runs(self, body: dict[str, Any], **_: Any) -> tuple[int, dict[str, Any]]:
        if body["experiment_id"] not in self.experiments:
            return 404, {"message": "no such experiment"}
        reference = body.get("pipeline_version_reference")
        if reference:
            version = self.versions.get(reference["pipeline_version_id"])
            if version is None or version["pipeline_id"] != reference["pipeline_id"]:
                return 404, {"message": "no such pipeline version"}
            spec = version["pipeline_spec"]
        else:
            spec = body["pipeline_spec"]
        run = body | {"run_id": _new_id(), "state": "PENDING", "created_at": NOW}
        self.runs[run["run_id"]] = run
        parameters = body.get("runtime_config", {}).get("parameters", {})
        if self.executes:
            thread = threading.Thread(target=self._execute, args=(run, spec, parameters))
            self.threads.append(thread)
            thread.start()
        return 200, dict(run)

    def get_runs_run_id(self, run_id: str, **_: Any) -> tuple[int, dict[str, Any]]:
        if run_id not in self.runs:
            return 404, {"message": "no such run"}
        return 200, dict(self.runs[run_id])

    def _add_version(self, pipeline_id: str, name: str, package: bytes) -> dict[str, Any]:
        documents = list(yaml.safe_load_all(package))
        spec: dict[str, Any] = {"pipeline_spec": documents[0]}
        if len(documents) > 1:
            spec["platform_spec"] = documents[1]
        version = {
            "pipeline_id": pipeline_id,
            "pipeline_version_id": _new_id(),
            "display_name": name,
            "created_at": NOW,
            "pipeline_spec": spec,
        }
        self.versions[version["pipeline_version_id"]] = version
        return version

    def _execute(
        self, run: dict[str, Any], spec: dict[str, Any], parameters: dict[str, Any]
    ) -> None:
        """Run the pipeline with kfp.local in a process of its own."""
        folder = self.folder / run["run_id"]
        folder.mkdir(parents=True)
        pipeline = spec.get("pipeline_spec", spec)
        (folder / "pipeline.yaml").write_text(yaml.safe_dump(pipeline))
        (folder / "parameters.json").write_text(json.dumps(parameters))
        run["state"] = "RUNNING"
        with (folder / "log").open("w") as log:
            program = Path(__file__).with_name("kfp_run_locally.py")
            done = subprocess.run(
                [sys.executable, str(program), str(folder)], stdout=log, stderr=subprocess.STDOUT
            )
        log_text = (folder / "log").read_text()
        finished = re.findall(
            r"Task '([^']+)' finished with status (SUCCESS|FAILURE)",
            re.sub(r"\x1b\[\d+m", "", log_text),
        )
        states = {"SUCCESS": "SUCCEEDED", "FAILURE": "FAILED"}
        run["run_details"] = {
            "task_details": [
                {"display_name": name, "state": states[status]} for name, status in finished
            ]
        }
        run["finished_at"] = NOW
        if done.returncode:
            run["error"] = {"code": 13, "message": log_text.strip().splitlines()[-1]}
        run["state"] = "FAILED" if done.returncode else "SUCCEEDED"


def _listed(key: str, items: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
    """Items that fulfil the filter: predicates of equality, all that kfp.Client sends."""
    predicates = json.loads(query.get("filter") or "{}").get("predicates", [])
    for predicate in predicates:
        assert predicate["operation"] in ("EQUALS", 1)
    chosen = [
        item
        for item in items.values()
        if all(item[p["key"]] == p["stringValue"] for p in predicates)
    ]
    return {key: chosen, "total_size": len(chosen)} if chosen else {}


def _new_id() -> str:
    return str(uuid.uuid4())


class _Handler(BaseHTTPRequestHandler):
    double: KfpApiTestDouble

    def do_GET(self) -> None:
        self._reply("get", None)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/form-data"):
            self._reply("post", _uploaded(kind, content))
        else:
            self._reply("post", json.loads(content))

    def _reply(self, method: str, body: Any) -> None:
        url = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        token = self.double.token
        if token and self.headers.get("Authorization") != f"Bearer {token}":
            status, content = 401, {"message": "no valid token"}
        else:
            status, content = self.double.answer(method, url.path, query, body)
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def _uploaded(kind: str, content: bytes) -> bytes:
    """The file of a multipart form."""
    message = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + content)
    for part in message.walk():
        assert isinstance(part, Message)
        if part.get_param("name", header="Content-Disposition") == "uploadfile":
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            return payload
    raise AssertionError("no uploadfile in the form")


@contextmanager
def serve(double: KfpApiTestDouble) -> Iterator[str]:
    """Serve on a free loopback port; yields the URL, and waits for the runs in the end."""
    handler = type("Handler", (_Handler,), {"double": double})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        for run in double.threads:
            run.join()
        server.shutdown()
        thread.join()
        server.server_close()
