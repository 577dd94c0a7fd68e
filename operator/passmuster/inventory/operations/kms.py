"""Names of keys: which keys are AWS's own."""

from __future__ import annotations

from passmuster.inventory.call import Call
from passmuster.inventory.snapshot import View

ALIASES = Call("kms", "ListAliases", items="Aliases", keep=("AliasName", "TargetKeyId"))

_OWN = "alias/aws/"


def aws_managed_keys(view: View) -> frozenset[str]:
    """The ids of the keys that AWS made for its services in the view's regions."""
    return frozenset(
        row["TargetKeyId"]
        for row in view.rows(ALIASES)
        if row["AliasName"].startswith(_OWN) and row.get("TargetKeyId") is not None
    )


def names_key(text: str) -> bool:
    """Whether it is the ARN, alias or id of a key; words with underscores stand for keys that AWS owns."""
    return ":" in text or "/" in text or "_" not in text


def names_own_alias(key: str) -> bool:
    """Whether a key is named by an alias of AWS's own, alone or in an ARN."""
    return key.rpartition(":")[2].startswith(_OWN)
