"""TorchServe's settings, as measured on two cores; docs/serving.md says what each buys."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_NAME = "skelift"
WORKERS = 2
LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_REQUEST_BYTES = 24 * 2**20  # an image of 10 MiB and a mask, in base64

MODEL_CONFIG = """\
minWorkers: {workers}
maxWorkers: {workers}
batchSize: 8
maxBatchDelay: 5           # milliseconds; 100, the default, is what a lone client would wait
responseTimeout: 30        # seconds
maxRetryTimeoutInSec: 20   # seconds in which a dead worker is started again
jobQueueSize: 64
handler:
  runtime: {runtime}
"""

CONFIG = """\
inference_address=http://{host}:{port}
management_address=http://127.0.0.1:{management}
metrics_address=http://{host}:{metrics}
grpc_inference_address=127.0.0.1
grpc_management_address=127.0.0.1
grpc_inference_port={grpc_inference}
grpc_management_port={grpc_management}
model_store={store}
load_models={archive}
default_workers_per_model={workers}
job_queue_size=64
number_of_netty_threads=2
default_response_timeout=30
max_request_size={max_request_bytes}
max_response_size=6553500
metrics_mode=prometheus
metrics_config={folder}/metrics.yaml
disable_system_metrics=true
install_py_dep_per_model=false
enable_envvars_config=false
decode_input_request=false
enable_model_api={updates}
# A pattern that nothing matches: archives come from the model store only.
allowed_urls=(?!)
disable_token_authorization={no_tokens}
token_expiration_min={token_minutes}
"""

METRICS = """\
dimensions:
  - &model_name "ModelName"
  - &status "Status"
  - &level "Level"
  - &hostname "Hostname"

ts_metrics:
  counter:
    - name: Requests2XX
      unit: Count
      dimensions: [*level, *hostname]
    - name: Requests4XX
      unit: Count
      dimensions: [*level, *hostname]
    - name: Requests5XX
      unit: Count
      dimensions: [*level, *hostname]
    - name: ts_inference_requests_total
      unit: Count
      dimensions: ["model_name", "model_version", "hostname"]
    - name: ts_inference_latency_microseconds
      unit: Microseconds
      dimensions: ["model_name", "model_version", "hostname"]
    - name: ts_queue_latency_microseconds
      unit: Microseconds
      dimensions: ["model_name", "model_version", "hostname"]

model_metrics:
  counter:
    - name: skelift_requests_total
      unit: Count
      dimensions: [*model_name, *status]
  histogram:
    - name: skelift_request_duration_seconds
      unit: s
      dimensions: [*model_name]
"""

# Quiet: TorchServe's own log has a line or more a request. Workers' warnings and errors pass.
LOGGING = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="error">
  <Appenders>
    <Console name="console" target="SYSTEM_ERR">
      <PatternLayout pattern="%d{ISO8601} %-5p %c{1} %m%n"/>
    </Console>
  </Appenders>
  <Loggers>
    <Logger name="MODEL_LOG" level="info" additivity="false">
      <AppenderRef ref="console"/>
    </Logger>
    <Logger name="MODEL_METRICS" level="off"/>
    <Logger name="TS_METRICS" level="off"/>
    <Logger name="ACCESS_LOG" level="off"/>
    <Root level="warn">
      <AppenderRef ref="console"/>
    </Root>
  </Loggers>
</Configuration>
"""


@dataclass(frozen=True)
class ServerSettings:
    """Where a server listens: ``port`` and the four after it.

    Attributes:
        host: address of inference and metrics; management stays on loopback.
        port: of inference; management, metrics and gRPC's two take the next ones.
        tokens: whether requests need one.
        token_minutes: how long one lasts.
        updates: whether models may be added while it runs.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    tokens: bool = False
    token_minutes: int = 60
    updates: bool = False

    @property
    def inference(self) -> str:
        """URL of predictions, seen from this machine."""
        host = self.host if self.host in LOOPBACK else "127.0.0.1"
        return f"http://{host}:{self.port}"

    @property
    def management(self) -> str:
        """URL of the management API."""
        return f"http://127.0.0.1:{self.port + 1}"

    @property
    def metrics(self) -> str:
        """URL of Prometheus' metrics."""
        return f"http://127.0.0.1:{self.port + 2}/metrics"


def model_config(runtime: str) -> str:
    """The archive's ``model-config.yaml``."""
    return MODEL_CONFIG.format(workers=WORKERS, runtime=runtime)


def write_settings(folder: Path, settings: ServerSettings, archive: str) -> Path:
    """Write all that TorchServe reads into ``folder``.

    Args:
        folder: its ``model-store`` holds the archive.
        settings: where to listen.
        archive: file name of the archive.

    Returns:
        ``config.properties``.
    """
    (folder / "metrics.yaml").write_text(METRICS)
    (folder / "log4j2.xml").write_text(LOGGING)
    config = folder / "config.properties"
    config.write_text(
        CONFIG.format(
            host=settings.host,
            port=settings.port,
            management=settings.port + 1,
            metrics=settings.port + 2,
            grpc_inference=settings.port + 3,
            grpc_management=settings.port + 4,
            store=folder / "model-store",
            folder=folder,
            archive=archive,
            max_request_bytes=MAX_REQUEST_BYTES,
            workers=WORKERS,
            updates=str(settings.updates).lower(),
            no_tokens=str(not settings.tokens).lower(),
            token_minutes=settings.token_minutes,
        )
    )
    return config
