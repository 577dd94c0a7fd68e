"""Policies in the language of IAM, as several services send them: their statements, and members that may be lists.

Read by the checks that judge what a policy allows or denies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote


def decoded(document: Any) -> Any:
    """A document as boto3 decodes it, or from percent-encoded JSON, as IAM sends it; None if that cannot be read."""
    if not isinstance(document, str):
        return document
    try:
        return json.loads(unquote(document))
    except ValueError:
        return None


def statements(document: Any) -> list[Any]:
    """The statements of a decoded document; none of what is no document."""
    return listed(document.get("Statement")) if isinstance(document, Mapping) else []


def listed(value: Any) -> list[Any]:
    """A member as a list, whether it is one value, several, or not there."""
    return list(value) if isinstance(value, list) else [value] if value else []
