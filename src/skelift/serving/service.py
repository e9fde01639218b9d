"""Requests to answers, whatever server carries them: each request of a batch stands alone."""

import json
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from skelift.errors import RequestError, RunError
from skelift.inference.cropping import PreparedImage
from skelift.inference.predictor import Prediction, Predictor
from skelift.serving.bodies import Asked, Parts, located, parse, v2_answer

JSON = "application/json"
LONGEST_ANSWER = 2**20  # bytes; a server's own limit may kill its worker

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int  # 200, 4xx or 5xx
    body: str  # JSON
    seconds: float = 0.0  # from the batch's arrival here until the reply was ready


@dataclass
class _Open:
    """A request under way."""

    asked: Asked
    prepared: list[PreparedImage]
    decode_ms: float


class Service:
    """Answers batches of requests with one predictor.

    ``version`` is the model's, as the server knows it; the card's own where it is empty.
    """

    def __init__(self, predictor: Predictor, version: str = "") -> None:
        self.predictor = predictor
        self._version = version

    def __call__(self, requests: Sequence[Parts]) -> list[Reply]:
        """One reply per request; one that cannot be answered does not touch the others."""
        started = time.perf_counter()
        opened = [self._open(parts) for parts in requests]
        images = [p for each in opened if isinstance(each, _Open) for p in each.prepared]
        forward = time.perf_counter()
        poses = iter(self.predictor.predict(images) if images else ())
        forward_ms = 1000 * (time.perf_counter() - forward)
        replies = []
        for each in opened:
            if isinstance(each, RequestError):
                reply = refusal(each)
            else:
                own = list(islice(poses, len(each.prepared)))
                reply = self._close(each, own, forward_ms)
            replies.append(replace(reply, seconds=time.perf_counter() - started))
        return replies

    def _open(self, parts: Parts) -> _Open | RequestError:
        started = time.perf_counter()
        try:
            asked = parse(parts)
            prepared = []
            for number, query in enumerate(asked.queries):
                with located(number, len(asked.queries)):
                    prepared.append(self.predictor.prepare_query(query))
        except RequestError as fault:
            return fault
        except Exception:
            logger.exception("request failed")
            return RequestError(500, "internal", "the request failed; the log says why")
        return _Open(asked, prepared, 1000 * (time.perf_counter() - started))

    def _close(self, opened: _Open, poses: list[Prediction], forward_ms: float) -> Reply:
        asked = opened.asked
        names = [query.name or str(number) for number, query in enumerate(asked.queries)]
        try:
            answer = self.predictor.answer(list(zip(names, poses, strict=True)))
        except RunError:
            return refusal(RequestError(500, "not_finite", "the model gives no finite pose for it"))
        if self._version:
            answer["model"] |= {"version": self._version}
        answer["id"] = asked.id or str(uuid.uuid4())
        times = {"decode": opened.decode_ms, "forward": forward_ms}
        answer["timing_ms"] = {name: round(ms, 2) for name, ms in times.items()}
        whole = v2_answer(answer) if asked.form == "v2" else answer
        body = json.dumps(whole, allow_nan=False, separators=(",", ":"))
        if len(body) > LONGEST_ANSWER:
            return refusal(
                RequestError(413, "answer_too_long", "the answer is too long; ask for less")
            )
        return Reply(200, body)


def refusal(fault: RequestError) -> Reply:
    """The answer to a request that cannot be answered."""
    error = {"code": fault.status, "type": fault.kind, "message": str(fault)}
    return Reply(fault.status, json.dumps({"error": error}))
