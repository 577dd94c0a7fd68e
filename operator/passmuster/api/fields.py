"""What fields of several kinds have in common: shapes of ids, ARNs, times and durations, and rules about values.

Used by the modules of the kinds. A shape is at once the constraint in the custom resource's schema and the check in
Python; a `Constraint` is at once the CEL expression that the API server evaluates and the predicate that the manifest
loader evaluates, so that a manifest is refused for the same reason, in the same words, with and without a cluster.

::

    Declared   what people and the operator ask for (spec): unknown fields are refused
    Observed   what the operator saw (status): unknown fields are ignored, so that an old operator reads a newer status
    Slot       a place whose schema comes from the catalogues of checks and remediations
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError

from passmuster.api import durations

RULES = "x-kubernetes-validations"
SLOT = "x-passmuster-slot"


@dataclass(frozen=True, slots=True)
class Constraint:
    """A rule about a value: `rule` in CEL for the API server, `holds` in Python for the manifest loader.

    `message` says the fix. `at` names the field (camelCase) that is to blame where that is not the value itself, and
    `required` that its absence is what is wrong. A rule about a change has no `holds`: a manifest has no past.
    """

    rule: str
    message: str
    holds: Callable[[Any], bool] | None = None
    at: str = ""
    required: bool = False

    def in_schema(self) -> dict[str, str]:
        """The entry of x-kubernetes-validations."""
        entry = {"rule": self.rule, "message": self.message}
        if self.at:
            entry["fieldPath"] = f".{self.at}"
        if self.required:
            entry["reason"] = "FieldValueRequired"
        return entry

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return _with(handler(schema), {RULES: [self.in_schema()]})


class Slot(StrEnum):
    """A place whose schema and valid values come from the catalogues of checks and remediations."""

    CHECK = "check"
    OPTIONAL_CHECK = "optional-check"
    ATTESTABLE_CHECK = "attestable-check"
    ATTESTATION = "attestation"
    PARAMETERS = "parameters"
    FLOORS = "floors"
    INPUTS = "inputs"

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return _with(handler(schema), {SLOT: self.value})


def _with(schema: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """The schema with more keywords; rules are added to the ones that are there."""
    return {**schema, **more, **({RULES: [*schema.get(RULES, []), *more[RULES]]} if RULES in more else {})}


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    constraints: ClassVar[tuple[Constraint, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        rendered = handler.resolve_ref_schema(handler(schema))
        if cls.constraints:
            rendered[RULES] = [constraint.in_schema() for constraint in cls.constraints]
        return rendered

    def body(self) -> dict[str, Any]:
        """The part as the API server takes it: camelCase, JSON values, without what is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Declared(_Part):
    """A part of a spec."""

    model_config = ConfigDict(extra="forbid")


class Observed(_Part):
    """A part of a status."""

    model_config = ConfigDict(extra="ignore")


def list_type(kind: str, *keys: str) -> dict[str, Any]:
    """How server-side apply merges a list: atomic, set, or map by these keys."""
    return {"x-kubernetes-list-type": kind, **({"x-kubernetes-list-map-keys": list(keys)} if keys else {})}


SET = list_type("set")
ATOMIC = list_type("atomic")


def _misshapen(what: str) -> PydanticCustomError:
    return PydanticCustomError("shape", "{what}", {"what": what})


def _shaped(pattern: str, hint: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise _misshapen(f"{value!r} {hint}")
        return value

    return AfterValidator(check)


_ACCOUNT_ID = r"^[0-9]{12}$"
_ROLE_ARN = r"^arn:aws(-cn|-us-gov)?:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,512}$"
_REGION = r"^[a-z]{2}(-[a-z]{2,12}){1,3}-[0-9]{1,2}$"
_NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
_NAMESPACE = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_ID = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
_DIGEST = r"^sha256:[0-9a-f]{64}$"
_BUCKET = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
_KEY_PREFIX = r"^[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*$"
_KMS_KEY = r"^arn:aws(-cn|-us-gov)?:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]{1,64}$"
_FOLDER = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$"
_SHA256 = r"^[0-9a-f]{64}$"
_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$"
_TIME_ZONE = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$"

AccountId = Annotated[
    str,
    Field(max_length=12, json_schema_extra={"pattern": _ACCOUNT_ID}),
    _shaped(_ACCOUNT_ID, "is not an AWS account id: twelve digits, in quotes"),
]
RoleArn = Annotated[
    str,
    Field(max_length=600, json_schema_extra={"pattern": _ROLE_ARN}),
    _shaped(
        _ROLE_ARN, "is not the ARN of an IAM role, for example arn:aws:iam::123456789012:role/passmuster-inspection"
    ),
]
Region = Annotated[
    str,
    Field(max_length=32, json_schema_extra={"pattern": _REGION}),
    _shaped(_REGION, "is not an AWS region, for example eu-central-1"),
]
ObjectName = Annotated[
    str,
    Field(max_length=253, json_schema_extra={"pattern": _NAME}),
    _shaped(_NAME, "is not a Kubernetes name: lower-case letters, digits, hyphens and dots"),
]
NamespaceName = Annotated[
    str,
    Field(max_length=63, json_schema_extra={"pattern": _NAMESPACE}),
    _shaped(_NAMESPACE, "is not a Kubernetes namespace: lower-case letters, digits and hyphens"),
]
Digest = Annotated[
    str,
    Field(max_length=71, json_schema_extra={"pattern": _DIGEST}),
    _shaped(_DIGEST, "is not a digest: sha256: and 64 hexadecimal digits"),
]
BucketName = Annotated[
    str,
    Field(min_length=3, max_length=63, json_schema_extra={"pattern": _BUCKET}),
    _shaped(_BUCKET, "is not the name of a bucket: 3 to 63 lower-case letters, digits, hyphens and dots"),
]
KeyPrefix = Annotated[
    str,
    Field(min_length=1, max_length=512, json_schema_extra={"pattern": _KEY_PREFIX}),
    _shaped(_KEY_PREFIX, "is not a prefix of keys, for example readiness/shop, without slashes around it"),
]
KeyArn = Annotated[
    str,
    Field(max_length=256, json_schema_extra={"pattern": _KMS_KEY}),
    _shaped(_KMS_KEY, "is not the ARN of a KMS key, for example arn:aws:kms:eu-central-1:123456789012:key/1234abcd"),
]
Folder = Annotated[
    str,
    Field(min_length=1, max_length=256, json_schema_extra={"pattern": _FOLDER}),
    _shaped(_FOLDER, "is not a folder below another: no slash in front, no .., for example shop/evidence"),
]
Sha256 = Annotated[
    str,
    Field(max_length=64, json_schema_extra={"pattern": _SHA256}),
    _shaped(_SHA256, "is not a SHA-256 digest: 64 hexadecimal digits, as sha256sum prints them"),
]


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


TimeZone = Annotated[
    str,
    Field(max_length=64, json_schema_extra={"pattern": _TIME_ZONE}),
    _shaped(_TIME_ZONE, "is not a time zone, for example Europe/Berlin"),
    Constraint(
        rule="timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0",
        message="there is no such time zone: use an IANA name such as Europe/Berlin",
        holds=_is_zone,
    ),
]
"""Of a zone that does not exist the API server cannot tell the hour, and refuses it with the message."""

Id = Annotated[
    str,
    Field(max_length=63, json_schema_extra={"pattern": _ID}),
    _shaped(_ID, "is not an id: lower-case words joined by hyphens"),
]
"""The id of a check or of a remediation, where it need not be one that exists today."""

CheckId = Annotated[str, Field(max_length=63), Slot.CHECK]
"""The id of a check that exists."""

OptionalCheckId = Annotated[str, Field(max_length=63), Slot.OPTIONAL_CHECK]
"""The id of a check that is judged only when asked for."""

AttestableCheckId = Annotated[str, Field(max_length=63), Slot.ATTESTABLE_CHECK]
"""The id of a check that people may answer where AWS cannot."""

Percent = Annotated[float, Field(ge=0, le=100)]
Dollars = Annotated[float, Field(ge=0, le=1_000_000_000)]
Count = Annotated[int, Field(ge=0, le=2_147_483_647)]

NEVER_OBSERVED = -1
"""The observedGeneration of an object that the operator has not looked at yet."""

ObservedGeneration = Annotated[
    int | None,
    Field(
        ge=NEVER_OBSERVED,
        le=2_147_483_647,
        description="The metadata.generation that this status speaks of; -1 before the first look at the object.",
    ),
]
"""Which generation a status speaks of."""


def _cut(longest: int) -> BeforeValidator:
    """Cuts a longer text with an ellipsis, so that no status is refused for its length."""
    return BeforeValidator(lambda v: f"{v[: longest - 1]}…" if isinstance(v, str) and len(v) > longest else v)


Words = Annotated[str, _cut(512), Field(max_length=512)]
"""A short phrase for people; what is longer is cut."""

Sentence = Annotated[str, _cut(4096), Field(max_length=4096)]
"""A sentence for people; what is longer is cut."""

Identifier = Annotated[str, _cut(2048), Field(max_length=2048)]
"""An ARN or another id that AWS made."""


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise _misshapen(f"{value!r} is not a duration: write for example 1h30m")
    try:
        return durations.parse(value)
    except ValueError as error:
        raise _misshapen(str(error)) from None


Duration = Annotated[
    timedelta,
    PlainValidator(_duration),
    PlainSerializer(durations.text, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": durations.SHORTEST,
            "maxLength": durations.LONGEST,
            "pattern": durations.PATTERN,
        }
    ),
]
"""Hours, minutes and seconds in Go's notation, for example 1h30m."""


def at_least(shortest: timedelta, message: str) -> Constraint:
    """A duration is not shorter than this. The pattern refuses what is no duration; the guard keeps CEL out of it."""
    written = durations.text(shortest)
    return Constraint(
        rule=f"!self.matches('{durations.PATTERN}') || self == '' || duration(self) >= duration('{written}')",
        message=message,
        holds=lambda duration: duration >= shortest,
    )


def _elapsed(value: Any) -> float:
    try:
        return float(value.removesuffix("s") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        raise _misshapen(f"{value!r} is not a number of seconds") from None


Elapsed = Annotated[
    float,
    PlainValidator(_elapsed),
    PlainSerializer(lambda seconds: f"{seconds:.1f}s", return_type=str),
    WithJsonSchema({"type": "string", "maxLength": 24, "pattern": r"^[0-9]{1,12}(\.[0-9]{1,3})?s$"}),
]
"""Seconds that something took, written with one decimal, for example 4.2s."""

Time = Annotated[
    AwareDatetime,
    AfterValidator(lambda moment: moment.astimezone(UTC).replace(microsecond=0)),
    PlainSerializer(lambda moment: written(moment), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment in UTC, whole seconds, as Kubernetes writes its own."""


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(microsecond=0)
    try:
        if re.fullmatch(_MOMENT, value):
            return datetime.fromisoformat(value).astimezone(UTC).replace(microsecond=0)
    except (TypeError, ValueError, OverflowError):
        pass
    raise _misshapen(f"{value!r} is not a moment with its time zone, for example '2027-03-31T00:00:00Z'")


Moment = Annotated[
    datetime,
    PlainValidator(_moment),
    PlainSerializer(lambda moment: written(moment), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment that people write, as the API server reads it: date, time and zone."""


def written(moment: datetime) -> str:
    """A moment as a status holds it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unchanged(message: str, *, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> Constraint:
    """These fields (camelCase) stay as they were made; what is not named here may change."""
    fixed = [f"self.{name} == oldSelf.{name}" for name in required]
    fixed += [
        f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})"
        for name in optional
    ]
    return Constraint(rule=" && ".join(fixed), message=message)


class Reference(Declared):
    """Another object, by its name."""

    name: ObjectName = Field(description="Name of the object.")


class Comparison(StrEnum):
    """How a label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class LabelRequirement(Declared):
    """One condition on one label."""

    constraints: ClassVar = (
        Constraint(
            rule="self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0"
            " : !has(self.values) || size(self.values) == 0",
            message="In and NotIn need values, Exists and DoesNotExist take none",
            holds=lambda self: bool(self.values) == (self.operator in (Comparison.IN, Comparison.NOT_IN)),
            at="values",
        ),
    )

    key: Annotated[str, Field(min_length=1, max_length=317)] = Field(description="Key of the label.")
    operator: Comparison = Field(description="How the label is compared with the values.")
    values: Annotated[list[Annotated[str, Field(max_length=63)]], Field(max_length=100)] = Field(
        default=[],
        description="Values to compare with; only for In and NotIn.",
        json_schema_extra=ATOMIC,
    )

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet the condition."""
        match self.operator:
            case Comparison.IN:
                return labels.get(self.key) in self.values
            case Comparison.NOT_IN:
                return labels.get(self.key) not in self.values
            case Comparison.EXISTS:
                return self.key in labels
            case Comparison.DOES_NOT_EXIST:
                return self.key not in labels


class LabelSelector(Declared):
    """Objects by their labels, as Kubernetes means it: all conditions hold, and without any everything is meant."""

    match_labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=50)] = Field(
        default={}, description="Labels and the values they must have."
    )
    match_expressions: Annotated[list[LabelRequirement], Field(max_length=20)] = Field(
        default=[], description="Further conditions on labels; all must hold.", json_schema_extra=ATOMIC
    )

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is meant."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.holds(labels) for requirement in self.match_expressions
        )
