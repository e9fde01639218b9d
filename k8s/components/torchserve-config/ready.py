"""Readiness: a worker is READY, and a canary picture gets an answer. A ping proves neither."""

import json
import sys
from pathlib import Path
from urllib.request import Request, urlopen

TIMEOUT = 8  # seconds, each
MODEL = "skelift"

with urlopen(f"http://127.0.0.1:8081/models/{MODEL}", timeout=TIMEOUT) as answer:
    workers = json.load(answer)[0]["workers"]
if not any(worker["status"] == "READY" for worker in workers):
    sys.exit("no worker is READY")
canary = Path(__file__).with_name("canary.png").read_bytes()
request = Request(
    f"http://127.0.0.1:8080/predictions/{MODEL}", canary, {"Content-Type": "image/png"}
)
with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310 - loopback
    json.load(answer)
