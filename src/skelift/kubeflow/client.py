"""kfp's client, kept to the origin that was named, and its answers to the API's form.

Imports kfp; only ``skelift.kubeflow.submit`` imports this, when it connects.
"""

import warnings
from http.client import BadStatusLine, IncompleteRead, LineTooLong, RemoteDisconnected
from typing import Any, Self

import kfp
from kfp_server_api.rest import RESTClientObject
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import ProtocolError
from urllib3.util.retry import Retry

from skelift.http import Unexpected, check_redirect, proxy_of, read_object

SECONDS = 30  # for one answer


class _SameOrigin(Retry):
    """Retries of urllib3, which refuse a redirect that leads elsewhere."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Self:
        """See ``Retry``; Unexpected for a redirect to another origin."""
        location = response.get_redirect_location() if response else None
        if location and url:
            check_redirect(url, location)
        return super().increment(method, url, response, *args, **kwargs)


class _Rest(RESTClientObject):  # type: ignore[misc]  # kfp has no types
    """What sends the requests of every API: in time, and with a JSON object as the answer."""

    def request(self, method: str, url: str, **kwargs: Any) -> Any:
        kwargs["_request_timeout"] = kwargs.get("_request_timeout") or SECONDS
        shown = url.partition("?")[0]
        try:
            answer = super().request(method, url, **kwargs)
        except ProtocolError as error:
            cause = error.args[-1]
            if isinstance(cause, IncompleteRead | BadStatusLine | LineTooLong) and not isinstance(
                cause, RemoteDisconnected
            ):
                raise Unexpected(f"{shown}: answers in no whole HTTP; check --host") from None
            raise
        read_object(shown, answer.data, answer.urllib3_response.headers.get("Content-Type"))
        return answer


class Client(kfp.Client):  # type: ignore[misc]  # kfp has no types
    """``kfp.Client`` that has found a healthy API.

    Raises:
        Unexpected: something else answers.
        ApiException, urllib3's HTTPError: see kfp.
    """

    def __init__(self, host: str, token: str, namespace: str | None) -> None:
        with warnings.catch_warnings(action="ignore"):
            super().__init__(
                host=host,
                existing_token=token or None,
                namespace=namespace or "kubeflow",
                proxy=proxy_of(host),
            )
        self.get_kfp_healthz()

    def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
        """Ask once: kfp would ask five times, with a traceback each. The very first request."""
        api = self._healthz_api.api_client
        if not isinstance(api.rest_client, _Rest):
            settings = self._existing_config
            settings.retries = _SameOrigin(
                3, connect=False, read=False, respect_retry_after_header=False
            )
            api.rest_client = _Rest(settings)
        return self._healthz_api.healthz_service_get_healthz(_request_timeout=10)
