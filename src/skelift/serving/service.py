"""Requests to answers, whatever server carries them: each request of a batch stands alone."""

import json
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skelift.errors import RequestError, RunError
from skelift.inference.cropping import PreparedImage
from skelift.inference.predictor import Predictor
from skelift.serving.bodies import Asked, Parts, parse, v2_answer

JSON = "application/json"
LONGEST_ANSWER = 2**20  # bytes; a server's own limit may kill its worker
PHRASES = {
    200: "OK",
    400: "Bad Request",
    413: "Payload Too Large",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
    501: "Not Implemented",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """An HTTP answer.

    Attributes:
        status: 200, 4xx or 5xx.
        body: JSON.
        seconds: from the batch's arrival here until the reply was ready.
    """

    status: int
    body: str
    seconds: float

    @property
    def phrase(self) -> str:
        """The status in words."""
        return PHRASES.get(self.status, "Error")


@dataclass
class _Open:
    """A request under way: what it asks for and its prepared images, or its error."""

    asked: Asked | None = None
    prepared: list[PreparedImage] | None = None
    fault: RequestError | None = None
    decode_ms: float = 0.0


class Service:
    """Answers batches of requests with one predictor.

    Args:
        predictor: a model, ready.
        version: of the model, as the server knows it; the card's own where it is empty.
    """

    def __init__(self, predictor: Predictor, version: str = "") -> None:
        self.predictor = predictor
        self._version = version

    def __call__(self, requests: Sequence[Parts]) -> list[Reply]:
        """One reply per request. A request that cannot be answered does not touch the others.

        Args:
            requests: see ``parse``.
        """
        started = time.perf_counter()
        opened = [self._open(parts) for parts in requests]
        images = [p for each in opened for p in each.prepared or ()]
        forward = time.perf_counter()
        poses = iter(self.predictor.predict(images) if images else ())
        forward_ms = 1000 * (time.perf_counter() - forward)
        replies = []
        for each in opened:
            own = [next(poses) for _ in each.prepared or ()]
            status, body = self._close(each, own, forward_ms)
            replies.append(Reply(status, body, time.perf_counter() - started))
        return replies

    def refuse(self, fault: RequestError) -> Reply:
        """The answer to a request that is not even read."""
        return Reply(fault.status, error_body(fault), 0.0)

    def _open(self, parts: Parts) -> _Open:
        started = time.perf_counter()
        opened = _Open()
        try:
            asked = opened.asked = parse(parts)
            prepared = []
            for number, query in enumerate(asked.queries):
                try:
                    prepared.append(self.predictor.prepare_query(query))
                except RequestError as fault:
                    raise _located(fault, number, len(asked.queries)) from None
            opened.prepared = prepared
        except RequestError as fault:
            opened.fault = fault
        except Exception:
            logger.exception("request failed")
            opened.fault = RequestError(500, "internal", "the request failed; the log says why")
        opened.decode_ms = 1000 * (time.perf_counter() - started)
        return opened

    def _close(self, opened: _Open, poses: list[Any], forward_ms: float) -> tuple[int, str]:
        if opened.fault or not opened.asked:
            fault = opened.fault or RequestError(500, "internal", "the request failed")
            return fault.status, error_body(fault)
        asked = opened.asked
        names = [query.name or str(number) for number, query in enumerate(asked.queries)]
        try:
            answer = self.predictor.answer(list(zip(names, poses, strict=True)))
            if self._version:
                answer["model"] |= {"version": self._version}
            answer["id"] = asked.id or str(uuid.uuid4())
            answer["timing_ms"] = {
                "decode": round(opened.decode_ms, 2),
                "forward": round(forward_ms, 2),
            }
            whole = v2_answer(answer) if asked.form == "v2" else answer
            body = json.dumps(whole, allow_nan=False, separators=(",", ":"))
        except RunError:
            fault = RequestError(500, "not_finite", "the model gives no finite pose for it")
            return fault.status, error_body(fault)
        if len(body) > LONGEST_ANSWER:
            fault = RequestError(413, "answer_too_long", "the answer is too long; ask for less")
            return fault.status, error_body(fault)
        return 200, body


def error_body(fault: RequestError) -> str:
    """The JSON form of a fault."""
    error = {"code": fault.status, "type": fault.kind, "message": str(fault)}
    return json.dumps({"error": error})


def _located(fault: RequestError, number: int, count: int) -> RequestError:
    if count == 1:
        return fault
    return RequestError(fault.status, fault.kind, f"image {number}: {fault}")
