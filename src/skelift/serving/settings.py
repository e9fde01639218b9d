"""TorchServe's settings, as measured on two cores; docs/serving.md says what each buys."""

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from skelift.http import LOOPBACK

DEFAULT_NAME = "skelift"
WORKERS = 2
MAX_REQUEST_BYTES = 24 * 2**20  # an image of 10 MiB and a mask, in base64


@dataclass(frozen=True)
class ServerSettings:
    """Where a server listens, and what it allows."""

    host: str = "127.0.0.1"  # of inference and metrics; management stays on loopback
    port: int = 8080  # of inference; management, metrics and gRPC's two take the next four
    tokens: bool = False  # whether requests need one
    updates: bool = False  # whether models may be added while it runs

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
    return _template("model-config.yaml").format(workers=WORKERS, runtime=runtime)


def write_settings(folder: Path, settings: ServerSettings, archive: str) -> Path:
    """Write all that TorchServe reads into ``folder``, and return ``config.properties``.

    ``archive`` is the file name of one in ``folder/model-store``.
    """
    for name in ("metrics.yaml", "log4j2.xml"):
        (folder / name).write_text(_template(name))
    config = folder / "config.properties"
    # Java reads .properties as Latin-1 with escapes.
    config.write_text(
        _template("config.properties").format(
            host=settings.host,
            port=settings.port,
            management=settings.port + 1,
            metrics=settings.port + 2,
            grpc_inference=settings.port + 3,
            grpc_management=settings.port + 4,
            store=_escaped(folder / "model-store"),
            folder=_escaped(folder),
            archive=archive,
            max_request_bytes=MAX_REQUEST_BYTES,
            workers=WORKERS,
            updates=str(settings.updates).lower(),
            no_tokens=str(not settings.tokens).lower(),
        ),
        encoding="ascii",
    )
    return config


def _escaped(path: Path) -> str:
    """A path as the value of a property: letters and digits as they are, UTF-16 escapes else."""
    units = re.findall("....", str(path).encode("utf-16-be").hex())
    letters = (chr(int(unit, 16)) for unit in units)
    return "".join(
        letter if re.fullmatch(r"[\w/.-]", letter, re.ASCII) else f"\\u{unit}"
        for letter, unit in zip(letters, units, strict=True)
    )


def _template(name: str) -> str:
    """A file of this package, with fields in braces where a server's own values go."""
    return (files("skelift.serving") / name).read_text(encoding="utf-8")
