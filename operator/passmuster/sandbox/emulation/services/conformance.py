"""Conformance packs of AWS Config, and extensions of CloudFormation that an account has activated.

moto has neither. A pack here makes its rules in moto's Config, complies with all of them at once, and takes them along
when it goes, as AWS does. Served by front.py; deployed by the remediations of compliance and tags.
"""

import hashlib
from datetime import UTC, datetime
from typing import Any

import yaml

from passmuster.sandbox.emulation.operation import Handling, Operations, Output
from passmuster.sandbox.emulation.wire import AWSError


def _packs(handling: Handling) -> dict[str, Output]:
    return handling.place.state("config-packs")


def put_pack(handling: Handling) -> Output:
    """PutConformancePack: a recorder must be there, and every resource of the template must be a rule."""
    params, config = handling.params, handling.place.client("config")
    name = str(params["ConformancePackName"])
    if not config.describe_configuration_recorders()["ConfigurationRecorders"]:
        message = "There is no configuration recorder in this region"
        raise AWSError("NoAvailableConfigurationRecorderException", message, 400)
    resources = (yaml.safe_load(params.get("TemplateBody") or "{}") or {}).get("Resources") or {}
    foreign = [one["Type"] for one in resources.values() if one.get("Type") != "AWS::Config::ConfigRule"]
    if foreign or not resources:
        message = f"The template of the pack may hold rules only, not {', '.join(foreign) or 'nothing'}"
        raise AWSError("ConformancePackTemplateValidationException", message, 400)
    if name in _packs(handling):
        _drop_rules(handling, name)
    identifier = f"conformance-pack-{hashlib.sha256(name.encode()).hexdigest()[:9]}"
    rules = [_rule(one["Properties"], identifier) for one in resources.values()]
    for rule in rules:
        config.put_config_rule(ConfigRule=rule)
    arn = f"arn:aws:config:{handling.call.region}:{handling.call.account}:conformance-pack/{name}/{identifier}"
    kept = ("DeliveryS3Bucket", "DeliveryS3KeyPrefix", "ConformancePackInputParameters")
    _packs(handling)[name] = {
        "ConformancePackName": name,
        "ConformancePackArn": arn,
        "ConformancePackId": identifier,
        **{member: params[member] for member in kept if member in params},
        "rules": [rule["ConfigRuleName"] for rule in rules],
        "requestedAt": datetime.now(UTC),
    }
    return {"ConformancePackArn": arn}


def _rule(properties: dict[str, Any], identifier: str) -> dict[str, Any]:
    return {**properties, "ConfigRuleName": f"{properties['ConfigRuleName']}-{identifier}"}


def _drop_rules(handling: Handling, name: str) -> None:
    for rule in _packs(handling)[name]["rules"]:
        handling.place.client("config").delete_config_rule(ConfigRuleName=rule)


def delete_pack(handling: Handling) -> Output:
    name = str(handling.params["ConformancePackName"])
    _one(handling, name)
    _drop_rules(handling, name)
    del _packs(handling)[name]
    return {}


def _one(handling: Handling, name: str) -> Output:
    if name not in _packs(handling):
        raise AWSError("NoSuchConformancePackException", f"The conformance pack {name} does not exist", 400)
    return _packs(handling)[name]


def _wanted(handling: Handling) -> list[Output]:
    names = handling.params.get("ConformancePackNames")
    return [_one(handling, str(name)) for name in names] if names else list(_packs(handling).values())


def describe_packs(handling: Handling) -> Output:
    details = [
        {name: value for name, value in pack.items() if name not in ("rules", "requestedAt")}
        for pack in _wanted(handling)
    ]
    return {"ConformancePackDetails": details}


def describe_pack_status(handling: Handling) -> Output:
    return {
        "ConformancePackStatusDetails": [
            {
                "ConformancePackName": pack["ConformancePackName"],
                "ConformancePackId": pack["ConformancePackId"],
                "ConformancePackArn": pack["ConformancePackArn"],
                "ConformancePackState": "CREATE_COMPLETE",
                "StackArn": f"{pack['ConformancePackArn']}/stack",
                "LastUpdateRequestedTime": pack["requestedAt"],
            }
            for pack in _wanted(handling)
        ]
    }


def summarize_compliance(handling: Handling) -> Output:
    """GetConformancePackComplianceSummary: everything complies."""
    return {
        "ConformancePackComplianceSummaryList": [
            {"ConformancePackName": pack["ConformancePackName"], "ConformancePackComplianceStatus": "COMPLIANT"}
            for pack in _wanted(handling)
        ]
    }


def _activated(handling: Handling) -> dict[str, Output]:
    return handling.place.state("activated-types")


def activate_type(handling: Handling) -> Output:
    """CloudFormation's ActivateType, of a hook under an alias."""
    params = handling.params
    alias = str(params.get("TypeNameAlias") or params["TypeName"])
    if alias in _activated(handling):
        raise AWSError("CFNRegistryException", f"The type {alias} is already activated", 400)
    place = f"{handling.call.region}:{handling.call.account}"
    arn = f"arn:aws:cloudformation:{place}:type/hook/{alias.replace('::', '-')}"
    _activated(handling)[alias] = {"Type": params.get("Type", "HOOK"), "TypeName": alias, "TypeArn": arn}
    return {"Arn": arn}


def _hook(handling: Handling) -> Output:
    named = {handling.params.get(name) for name in ("TypeArn", "Arn", "TypeName", "TypeNameAlias")}
    found = [one for one in _activated(handling).values() if one["TypeArn"] in named or one["TypeName"] in named]
    if not found:
        raise AWSError("TypeNotFoundException", "The type cannot be found", 404)
    return found[0]


def set_type_configuration(handling: Handling) -> Output:
    hook = _hook(handling)
    hook["configuration"] = str(handling.params["Configuration"])
    return {"ConfigurationArn": f"{hook['TypeArn']}/configuration/default"}


def describe_type(handling: Handling) -> Output:
    hook = _hook(handling)
    return {
        "Arn": hook["TypeArn"],
        "Type": hook["Type"],
        "TypeName": hook["TypeName"],
        "IsActivated": True,
        "Visibility": "PRIVATE",
        "ConfigurationSchema": hook.get("configuration", "{}"),
    }


def deactivate_type(handling: Handling) -> Output:
    del _activated(handling)[_hook(handling)["TypeName"]]
    return {}


def list_types(handling: Handling) -> Output:
    """ListTypes of what the account itself activated."""
    wanted = handling.params.get("Type")
    told = [one for one in _activated(handling).values() if wanted in (None, one["Type"])]
    shown = [{name: value for name, value in one.items() if name != "configuration"} for one in told]
    return {"TypeSummaries": shown if handling.params.get("Visibility") == "PRIVATE" else []}


OPERATIONS: Operations = {
    ("config", "PutConformancePack"): put_pack,
    ("config", "DeleteConformancePack"): delete_pack,
    ("config", "DescribeConformancePacks"): describe_packs,
    ("config", "DescribeConformancePackStatus"): describe_pack_status,
    ("config", "GetConformancePackComplianceSummary"): summarize_compliance,
    ("cloudformation", "ActivateType"): activate_type,
    ("cloudformation", "SetTypeConfiguration"): set_type_configuration,
    ("cloudformation", "DescribeType"): describe_type,
    ("cloudformation", "DeactivateType"): deactivate_type,
    ("cloudformation", "ListTypes"): list_types,
}
