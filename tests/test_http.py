"""A token stays with the origin it was given for, and only the expected answer is taken."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
import pytest

from skelift.cli import main
from skelift.errors import InputError
from skelift.http import check_redirect, check_url, opener, origin, proxy_of, read_token
from skelift.inference.engines import TOKEN as ENDPOINT_TOKEN
from skelift.kubeflow.bucket import fetch, upload
from skelift.kubeflow.submit import TOKEN as KFP_TOKEN
from skelift.serving.probe import Place, ask, is_ready

SECRET = "s3cret-token"  # noqa: S105
PIPELINE = Path(__file__).parents[1] / "pipelines" / "skelift.yaml"
PAGE = b"<!DOCTYPE html><html><body>Log in</body></html>"


@dataclass
class Site:
    """Test double of a web site: answers everything alike, and keeps what it was asked."""

    status: int = 200
    body: bytes = PAGE
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/html"})
    raw: bytes = b""  # instead of an answer
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def sites() -> Iterator[tuple[Site, Site]]:
    """The site that is named, and another one."""
    made = Site(), Site()
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _handler(site)) for site in made]
    for site, server in zip(made, servers, strict=True):
        site.port = server.server_port
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    for server in servers:
        server.shutdown()
        server.server_close()


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            site.asked.append((self.command, self.path, self.headers.get("Authorization")))
            if site.raw:
                self.wfile.write(site.raw)
                self.close_connection = True
                return
            self.send_response(site.status)
            for name, value in {"Content-Length": str(len(site.body)), **site.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(site.body if self.command != "HEAD" else b"")
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._answer)
    return Handler


@pytest.fixture(autouse=True)
def tokens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(ENDPOINT_TOKEN, SECRET)
    monkeypatch.setenv(KFP_TOKEN, SECRET)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "a.png"
    cv2.imwrite(str(file), np.full((32, 32, 3), 90, np.uint8))
    return file


def predict(image: Path, url: str) -> list[str]:
    return ["predict", str(image), "--endpoint", url, "--out", str(image.with_suffix(".json"))]


def submit(image: Path, url: str) -> list[str]:
    return ["submit", "--host", url, "--pipeline", str(PIPELINE)]


COMMANDS = pytest.mark.parametrize("command", [predict, submit])


@COMMANDS
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_leads_a_token_to_another_origin(
    sites: tuple[Site, Site],
    image: Path,
    command: Any,
    status: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named, other = sites
    named.status = status
    named.headers = {"Location": f"http://localhost:{other.port}/authorize"}
    assert main(command(image, named.url)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert f"{named.url}: redirects to http://localhost:{other.port}" in printed.err
    assert SECRET not in printed.err
    assert not other.asked
    assert len(named.asked) == 1
    assert not image.with_suffix(".json").exists()


@COMMANDS
def test_redirect_within_an_origin_is_followed_with_its_token(
    sites: tuple[Site, Site], image: Path, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    named, _ = sites
    named.status, named.headers = 307, {"Location": "/login"}
    assert main(command(image, named.url)) in (1, 2)  # there is no end of it
    assert {token for _, _, token in named.asked} == {f"Bearer {SECRET}"}
    assert {path for _, path, _ in named.asked[1:]} == {"/login"}
    assert len({method for method, _, _ in named.asked}) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "location",
    [
        "https://{0}",
        "http://{1}",
        "//{1}/x",
        "file:///etc/passwd",
        "http://{0}.example",
        "http://[",
    ],
)
def test_only_scheme_host_and_port_together_are_an_origin(
    sites: tuple[Site, Site], image: Path, location: str, capsys: pytest.CaptureFixture[str]
) -> None:
    named, other = sites
    named.status = 302
    hosts = [site.url.removeprefix("http://") for site in sites]
    named.headers = {"Location": location.format(*hosts)}
    assert main(predict(image, named.url)) == 2
    assert "redirects to " in capsys.readouterr().err
    assert not other.asked


def test_origins() -> None:
    assert (
        origin("HTTP://Example.org:80/a?b") == origin("http://example.org") == "http://example.org"
    )
    assert origin("https://[::1]:8443/") == "https://[::1]:8443"
    check_redirect("http://a.org/b", "/c")
    check_redirect("http://a.org/b", "http://a.org:80/c")
    for elsewhere in ("https://a.org/b", "http://a.org:81/", "http://b.a.org/", "//b.org"):
        with pytest.raises(InputError, match=r"http://a\.org: redirects to "):
            check_redirect("http://a.org/b", elsewhere)


def wrong_answers() -> dict[str, dict[str, Any]]:
    """Answers with status 200 of something else."""
    json_kind = {"Content-Type": "application/json"}
    return {
        "a page": {},
        "a page called JSON": {"headers": json_kind},
        "JSON called a page": {"body": b'{"multi_user": false}'},
        "cats": {"headers": json_kind, "body": b'{"cats": 3}'},
        "a list": {"headers": json_kind, "body": b"[]"},
        "a number": {"headers": json_kind, "body": b"3"},
        "half": {"headers": json_kind, "body": b'{"multi_user": fal'},
        "nothing": {"headers": json_kind, "body": b""},
        "bytes": {"headers": json_kind, "body": b"\xff\xfe\x00"},
        "other types": {
            "headers": json_kind,
            "body": b'{"pipelines": "x", "experiments": 3, "run_id": [], "predictions": 7}',
        },
        "other entries": {
            "headers": json_kind,
            "body": b'{"pipelines": [{"a": 1}], "predictions": [{"class": "cat"}]}',
        },
        "cut short": {"headers": json_kind | {"Content-Length": "999"}, "body": b"{"},
    }


@COMMANDS
@pytest.mark.parametrize("wrong", wrong_answers())
def test_what_no_healthy_api_answers_is_one_line(
    sites: tuple[Site, Site],
    image: Path,
    command: Any,
    wrong: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named, _ = sites
    for name, value in wrong_answers()[wrong].items():
        setattr(named, name, value)
    assert main(command(image, named.url)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert named.url in printed.err
    assert "Traceback" not in printed.err
    assert SECRET not in printed.err


@COMMANDS
def test_a_server_that_speaks_no_http_is_named(
    sites: tuple[Site, Site], image: Path, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    named, _ = sites
    named.raw = b"SSH-2.0-OpenSSH_9.2\r\n"
    assert main(command(image, named.url)) == 2
    printed = capsys.readouterr().err
    assert "HTTP; check" in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    "url",
    [
        "localhost",
        "ftp://a.org",
        "http://",
        "http://a:b",
        "http://a:0",
        "http://a b",
        "http://ä.de",
    ],
)
def test_addresses_that_cannot_be_asked(url: str) -> None:
    with pytest.raises(InputError, match=r"--host .*: not an HTTP URL"):
        check_url(url, f"--host {url}")


def test_passwords_and_broken_tokens_are_not_repeated(
    image: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (predict, submit):
        assert main(command(image, f"http://me:{SECRET}@127.0.0.1:9")) == 2
        assert SECRET not in capsys.readouterr().err
    for broken in (f"{SECRET}\nX-Other: 1", f"{SECRET}ü"):
        monkeypatch.setenv(ENDPOINT_TOKEN, broken)
        monkeypatch.setenv(KFP_TOKEN, broken)
        for command in (predict, submit):
            assert main(command(image, "http://127.0.0.1:9")) == 2
            printed = capsys.readouterr().err
            assert "not a token" in printed
            assert SECRET not in printed
    monkeypatch.setenv(ENDPOINT_TOKEN, f" {SECRET}\n")  # as a file has it
    assert read_token(ENDPOINT_TOKEN) == SECRET


@COMMANDS
def test_requests_to_this_machine_pass_no_proxy(
    sites: tuple[Site, Site],
    image: Path,
    command: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named, proxy = sites
    monkeypatch.setenv("http_proxy", proxy.url)
    assert main(command(image, named.url)) == 2
    assert named.asked
    assert not proxy.asked
    assert proxy_of("http://example.org/x") == proxy.url
    monkeypatch.setenv("no_proxy", "example.org")
    assert proxy_of("http://example.org/x") is None


@COMMANDS
def test_requests_elsewhere_go_by_the_proxy_of_the_environment(
    sites: tuple[Site, Site],
    image: Path,
    command: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, proxy = sites
    monkeypatch.setenv("http_proxy", proxy.url)
    assert main(command(image, "http://kubeflow.invalid")) == 2
    assert proxy.asked[0][1].startswith("http://kubeflow.invalid/")


def test_the_probe_of_an_own_server_redirects_nowhere(
    sites: tuple[Site, Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, other = sites
    monkeypatch.setenv("http_proxy", other.url)
    keys = {kind: {"key": SECRET} for kind in ("inference", "management")}
    (tmp_path / "key_file.json").write_text(json.dumps(keys))
    place = Place(tmp_path, named.url, named.url, tokens=True, name="skelift")
    assert not is_ready(place)  # a page
    named.status, named.headers = 302, {"Location": f"http://localhost:{other.port}/"}
    assert not is_ready(place)
    with pytest.raises(InputError, match="redirects to"):
        ask(place, f"{named.url}/models/skelift", "management", method="DELETE")
    assert not other.asked


def test_opener_follows_a_redirect_within_the_origin(sites: tuple[Site, Site]) -> None:
    named, _ = sites
    assert opener(named.url).open(named.url).read() == PAGE


@pytest.fixture
def bucket(sites: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch) -> None:
    named, other = sites
    monkeypatch.setenv("AWS_ENDPOINT_URL", named.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "name")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "word")
    monkeypatch.setenv("AWS_SESSION_TOKEN", SECRET)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("http_proxy", other.url)


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("status", [301, 302, 307])
@pytest.mark.parametrize("region", [{}, {"x-amz-bucket-region": "eu-west-9"}])
def test_credentials_of_a_bucket_are_led_nowhere_else(
    sites: tuple[Site, Site],
    tmp_path: Path,
    status: int,
    region: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    named, other = sites
    named.status, named.headers = status, region | {"Location": f"http://localhost:{other.port}/"}
    for command in (
        ["pull", "s3://b/x", str(tmp_path / "in")],
        ["push", str(PIPELINE.parent), "s3://b/x"],
    ):
        assert main(command) == 2
        printed = capsys.readouterr()
        assert f"{named.url}: redirects to http://localhost:{other.port}/" in printed.err
        assert printed.err.count("\n") == 1
        assert printed.out == ""
    for act in (lambda: fetch("s3://b/x", tmp_path), lambda: upload(PIPELINE, "s3://b/x")):
        with pytest.raises(InputError, match="redirects to"):
            act()
    assert not other.asked  # neither as the target nor as a proxy


@pytest.mark.usefixtures("bucket")
def test_a_page_is_no_bucket(sites: tuple[Site, Site], tmp_path: Path) -> None:
    named, _ = sites
    for act in (lambda: fetch("s3://b/x", tmp_path), lambda: upload(PIPELINE, "s3://b/x")):
        with pytest.raises(InputError, match=f"{named.url}: answers with a page"):
            act()
    named.headers["ETag"] = '"1"'
    named.body = b""  # some servers say so of nothing
    upload(PIPELINE, "s3://b/x")
