"""HTTP with a token: it goes to the origin that was named and to no other. Light to import."""

import json
import os
from http.client import HTTPMessage
from typing import IO, Any
from urllib.parse import urljoin, urlsplit
from urllib.request import (
    HTTPRedirectHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
    getproxies,
    proxy_bypass,
)

from skelift.errors import InputError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PORTS = {"http": 80, "https": 443}
_KEPT = (307, 308)  # redirects that keep method and body


class Unexpected(InputError):
    """An answer that no healthy API of the expected kind gives, a login page say."""


def check_url(url: str, told: str) -> str:
    """The URL, if a token may be sent there; else InputError, which begins with ``told``."""
    try:
        parts = urlsplit(url)
        fit = parts.scheme in _PORTS and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none
        fit = False
    if not fit or not url.isascii() or not url.isprintable() or " " in url:
        raise InputError(f"{told}: not an HTTP URL; write one as http://127.0.0.1:8080")
    if "@" in parts.netloc:
        raise InputError(f"{parts.hostname}: leave user and password out of the URL; set a token")
    return url


def read_token(variable: str) -> str:
    """The token that an environment variable holds, or nothing; InputError if it cannot be one."""
    token = os.environ.get(variable, "").strip()
    if not (token.isascii() and token.isprintable()):
        raise InputError(f"{variable}: not a token; it has a line break or a special character")
    return token


def origin(url: str) -> str:
    """Scheme, host and port of a URL: what a token belongs to."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = parts.port or _PORTS.get(parts.scheme)
    return f"{parts.scheme}://{host}" + ("" if port == _PORTS.get(parts.scheme) else f":{port}")


def check_redirect(asked: str, location: str) -> None:
    """Unexpected, unless a redirect stays at the origin that was asked."""
    try:
        target = origin(urljoin(asked, location))
    except ValueError:
        target = "a broken address"
    if target != origin(asked):
        raise Unexpected(
            f"{origin(asked)}: redirects to {target}, and nothing was sent there; log in, or name "
            "the address that answers itself"
        )


def is_loopback(url: str) -> bool:
    """Whether a URL is of this machine."""
    return urlsplit(url).hostname in LOOPBACK


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for a URL; this machine itself is never behind one."""
    parts = urlsplit(url)
    if is_loopback(url) or proxy_bypass(parts.netloc):
        return None
    return getproxies().get(parts.scheme)


def opener(url: str) -> OpenerDirector:
    """What opens requests to a URL: by the environment's proxy, redirects checked."""
    proxy = proxy_of(url)
    return build_opener(ProxyHandler({urlsplit(url).scheme: proxy} if proxy else {}), _Redirects)


class _Redirects(HTTPRedirectHandler):
    """Follows redirects within an origin, and refuses all others."""

    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> Request | None:
        check_redirect(req.full_url, newurl)
        if code in _KEPT:
            return Request(newurl, req.data, dict(req.headers), method=req.get_method())  # noqa: S310
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> Any:
        # Checked before urllib reads it: urllib has other errors for schemes that it does not know.
        check_redirect(req.full_url, headers.get("Location") or headers.get("URI") or "")
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def read_object(url: str, body: bytes | str, kind: str | None) -> dict[str, Any]:
    """The JSON object of an answer of content type ``kind``; Unexpected if it is none."""
    try:
        content = json.loads(body) if kind is None or "json" in kind.lower() else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        of = f" ({kind.partition(';')[0]})" if kind else ""
        raise Unexpected(
            f"{url}: answers{of} with no JSON object, a login page perhaps; check address and token"
        )
    return content
