"""Connects to an API server: a kubeconfig and context if named, else the pod's service account, else the default
kubeconfig. Used by the operator and by commands that read or approve objects."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException

from passmuster.model.errors import Unavailable


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
    except (ConfigException, OSError) as error:
        raise Unavailable(
            f"no API server: {error}. Name a kubeconfig with --kubeconfig or KUBECONFIG, or start one with "
            "`passmuster sandbox up`"
        ) from error
    settings.retries = 2
    settings.connection_pool_maxsize = 32
    return client.ApiClient(settings)
