"""Connects to an API server: a kubeconfig and context if named, else the pod's service account, else the default
kubeconfig. Used by the operator and by commands that read or approve objects."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError
from yaml import YAMLError

from passmuster.model.errors import Unavailable

MERGE = "application/merge-patch+json"


def connect(kubeconfig: Path | None = None, context: str | None = None) -> Any:
    """An ApiClient. Raises Unavailable with what to do when nothing says where the API server is."""
    settings = client.Configuration()
    try:
        if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=settings)
        else:
            config.load_kube_config(
                config_file=str(kubeconfig) if kubeconfig else None, context=context, client_configuration=settings
            )
    except (ConfigException, OSError, YAMLError, UnicodeDecodeError, TypeError) as error:
        missing = kubeconfig is not None and not kubeconfig.exists()
        why = f"{kubeconfig} does not exist" if missing else _first_line(error)
        raise Unavailable(
            f"no API server: {why}. Name a kubeconfig with --kubeconfig or KUBECONFIG, or start one with "
            "`passmuster sandbox up`"
        ) from error
    settings.retries = 2
    settings.connection_pool_maxsize = 32
    return client.ApiClient(settings)


@contextmanager
def answering() -> Iterator[None]:
    """Raises Unavailable with what to do where the API server gives no answer; for commands, which try once."""
    try:
        yield
    except HTTPError as error:
        raise Unavailable(
            f"the API server did not answer ({type(error).__name__}): see that the cluster runs, or name another with "
            "--kubeconfig or --context"
        ) from error


def _first_line(error: Exception) -> str:
    if isinstance(error, (YAMLError, UnicodeDecodeError)):
        return "the kubeconfig is not YAML"
    if isinstance(error, TypeError):  # the library takes any YAML for a kubeconfig
        return "the kubeconfig does not have the fields of one"
    return str(error).partition("\n")[0].rstrip(".")


def request(
    api: Any,
    method: str,
    path: str,
    *,
    body: Any = None,
    query: Sequence[tuple[str, str]] = (),
    accept: str = "application/json",
    content_type: str = "application/json",
    timeout: tuple[float, float] = (5, 30),
) -> Any:
    """One request of the API server, for what the typed clients do not offer; the parsed answer.

    Raises ApiException with the status and body of a refusal, and urllib3's HTTPError when there is no answer.
    """
    headers = {"Accept": accept, **({"Content-Type": content_type} if body is not None else {})}
    serialized = api.param_serialize(
        method, path, query_params=list(query), header_params=headers, body=body, auth_settings=["BearerToken"]
    )
    answer = api.call_api(*serialized, _request_timeout=timeout)
    answer.read()
    text = (answer.data or b"").decode()
    if not 200 <= answer.status <= 299:
        raise ApiException(status=answer.status, reason=answer.reason, body=text)
    return json.loads(text)


def login(kubeconfig: Path | None = None, context: str | None = None) -> dict[str, Any]:
    """The same connection in kopf's terms, read anew, because service account tokens are rotated."""
    settings = connect(kubeconfig, context).configuration
    bearer = (settings.get_api_key_with_prefix("BearerToken", alias="authorization") or "").removeprefix("Bearer ")
    return {
        "server": settings.host,
        "ca_path": settings.ssl_ca_cert,
        "insecure": not settings.verify_ssl,
        "certificate_path": settings.cert_file,
        "private_key_path": settings.key_file,
        "scheme": "Bearer" if bearer else None,
        "token": bearer or None,
    }
