"""TorchServe's side of the endpoint; this file stands in the archive. One class, as it demands."""

import fcntl
import logging
import os
import time
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from typing import Any

import cv2
import torch
from ts.metrics.metric_type_enum import MetricTypes

from skelift import threads
from skelift.errors import RequestError
from skelift.inference.predictor import Predictor
from skelift.serving.service import JSON, Reply, Service, refusal


class SkeliftHandler:
    """Hands TorchServe's batches to the service and its replies back, each with its own status."""

    def initialize(self, context: Any) -> None:
        """Load the model beside this file, with the settings of model-config.yaml."""
        # A second thread costs more than it saves. TorchServe has loaded torch already.
        count = threads.asked() or 1
        torch.set_num_threads(count)
        cv2.setNumThreads(count)
        # TorchServe writes one line per batch at INFO; metrics are log lines and must stay.
        logging.getLogger().setLevel(logging.WARNING)
        logging.getLogger("ts.metrics").setLevel(logging.INFO)
        folder = Path(context.system_properties["model_dir"])
        runtime = context.model_yaml_config["handler"]["runtime"]
        version = context.manifest["model"]["modelVersion"]
        self.service = Service(Predictor(folder, runtime=runtime, threads=count), version)
        # Held while a batch is worked on: who stops the server waits for it.
        busy = os.environ.get("SKELIFT_BUSY_FILE")
        self.busy = os.open(busy, os.O_RDONLY) if busy else None

    def handle(self, data: list[Any], context: Any) -> list[str]:
        """One JSON answer per request."""
        started = time.perf_counter()
        if self.busy is not None:
            fcntl.flock(self.busy, fcntl.LOCK_SH)
        try:
            replies = self.replies(data, context)
            for number, reply in enumerate(replies):
                context.set_response_content_type(number, JSON)
                context.set_response_status(reply.status, HTTPStatus(reply.status).phrase, number)
            self.count(replies, time.perf_counter() - started, context)
            return [reply.body for reply in replies]
        finally:
            if self.busy is not None:
                fcntl.flock(self.busy, fcntl.LOCK_UN)

    def replies(self, data: list[Any], context: Any) -> list[Reply]:
        """Explanations are refused: TorchServe would silently answer with predictions."""
        explained = [context.get_request_header(i, "explain") == "True" for i in range(len(data))]
        refused = refusal(RequestError(501, "no_explanations", "there are none"))
        asked = [parts for parts, explain in zip(data, explained, strict=True) if not explain]
        answers = iter(self.service(asked))
        return [refused if explain else next(answers) for explain in explained]

    def count(self, replies: list[Reply], seconds: float, context: Any) -> None:
        """Emit the time in the worker of each request, in seconds, and its status."""
        latency = context.metrics.get_metric(
            "skelift_request_duration_seconds", MetricTypes.HISTOGRAM
        )
        answered = context.metrics.get_metric("skelift_requests_total", MetricTypes.COUNTER)
        for _ in replies:
            latency.add_or_update(round(seconds, 6), [context.model_name])
        for status, count in Counter(reply.status for reply in replies).items():
            answered.add_or_update(count, [context.model_name, str(status)])
