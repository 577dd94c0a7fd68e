"""Security Hub's standards and KMS's rotation of keys that are going away.

moto has the hub but no standards. Served by front.py; read by the security-hub and key-rotation checks.
"""

from passmuster.sandbox.emulation.operation import Handling, Operations, Output
from passmuster.sandbox.emulation.wire import AWSError

_STANDARDS = {
    "arn:aws:securityhub:{region}::standards/aws-foundational-security-best-practices/v/1.0.0": (
        "AWS Foundational Security Best Practices v1.0.0",
        True,
    ),
    "arn:aws:securityhub:::ruleset/cis-aws-foundations-benchmark/v/1.2.0": (
        "CIS AWS Foundations Benchmark v1.2.0",
        True,
    ),
    "arn:aws:securityhub:{region}::standards/cis-aws-foundations-benchmark/v/1.4.0": (
        "CIS AWS Foundations Benchmark v1.4.0",
        False,
    ),
    "arn:aws:securityhub:{region}::standards/cis-aws-foundations-benchmark/v/3.0.0": (
        "CIS AWS Foundations Benchmark v3.0.0",
        False,
    ),
    "arn:aws:securityhub:{region}::standards/nist-800-53/v/5.0.0": (
        "NIST Special Publication 800-53 Revision 5",
        False,
    ),
    "arn:aws:securityhub:{region}::standards/pci-dss/v/3.2.1": ("PCI DSS v3.2.1", False),
    "arn:aws:securityhub:{region}::standards/pci-dss/v/4.0.1": ("PCI DSS v4.0.1", False),
}


def enable_security_hub(handling: Handling) -> Output:
    """EnableSecurityHub, with the default standards unless they are refused."""
    answer = handling.moto()
    if handling.params.get("EnableDefaultStandards", True):
        for template, (_, by_default) in _STANDARDS.items():
            if by_default:
                _enable(handling, template.format(region=handling.call.region))
    return answer


def disable_security_hub(handling: Handling) -> Output:
    answer = handling.moto()
    _enabled(handling).clear()
    return answer


def update_hub(handling: Handling) -> Output:
    """UpdateSecurityHubConfiguration."""
    _refuse_without_hub(handling)
    handling.place.state("securityhub-configuration").update(handling.params)
    return {}


def describe_hub(handling: Handling) -> Output:
    answer = handling.moto()
    changed = handling.place.state("securityhub-configuration")
    return answer | {
        name: changed[name] for name in ("AutoEnableControls", "ControlFindingGenerator") if name in changed
    }


def describe_standards(handling: Handling) -> Output:
    told = [
        {"StandardsArn": arn.format(region=handling.call.region), "Name": name, "EnabledByDefault": by_default}
        for arn, (name, by_default) in _STANDARDS.items()
    ]
    return {"Standards": told}


def batch_enable_standards(handling: Handling) -> Output:
    _refuse_without_hub(handling)
    wanted = [str(entry["StandardsArn"]) for entry in handling.params["StandardsSubscriptionRequests"]]
    return {"StandardsSubscriptions": [_enable(handling, arn) for arn in wanted]}


def _enable(handling: Handling, arn: str) -> Output:
    known = [template.format(region=handling.call.region) for template in _STANDARDS]
    if arn not in known:
        raise AWSError("InvalidInputException", f"Invalid StandardsArn: {arn}", 400)
    name = arn.split("standards/")[-1].split("ruleset/")[-1]
    subscription: Output = {
        "StandardsSubscriptionArn": (
            f"arn:aws:securityhub:{handling.call.region}:{handling.call.account}:subscription/{name}"
        ),
        "StandardsArn": arn,
        "StandardsInput": {},
        "StandardsStatus": "READY",
    }
    return _enabled(handling).setdefault(subscription["StandardsSubscriptionArn"], subscription)


def get_enabled_standards(handling: Handling) -> Output:
    _refuse_without_hub(handling)
    wanted = handling.params.get("StandardsSubscriptionArns") or []
    return {"StandardsSubscriptions": [s for arn, s in _enabled(handling).items() if not wanted or arn in wanted]}


def batch_disable_standards(handling: Handling) -> Output:
    gone = [_enabled(handling).pop(str(arn), None) for arn in handling.params["StandardsSubscriptionArns"]]
    return {"StandardsSubscriptions": [{**known, "StandardsStatus": "DELETING"} for known in gone if known]}


def _enabled(handling: Handling) -> dict[str, Output]:
    return handling.place.state("securityhub-standards")


def _refuse_without_hub(handling: Handling) -> None:
    if not handling.place.backend("securityhub").enabled:
        message = f"Account {handling.call.account} is not subscribed to AWS Security Hub"
        raise AWSError("InvalidAccessException", message, 401)


def get_key_rotation_status(handling: Handling) -> Output:
    """KMS's GetKeyRotationStatus: a key that is to be deleted no longer rotates."""
    answer = handling.moto()
    key = handling.place.client("kms").describe_key(KeyId=handling.params["KeyId"])["KeyMetadata"]
    if key["KeyState"] == "PendingDeletion":
        answer["KeyRotationEnabled"] = False
    return answer


OPERATIONS: Operations = {
    ("securityhub", "EnableSecurityHub"): enable_security_hub,
    ("securityhub", "DisableSecurityHub"): disable_security_hub,
    ("securityhub", "UpdateSecurityHubConfiguration"): update_hub,
    ("securityhub", "DescribeHub"): describe_hub,
    ("securityhub", "DescribeStandards"): describe_standards,
    ("securityhub", "BatchEnableStandards"): batch_enable_standards,
    ("securityhub", "GetEnabledStandards"): get_enabled_standards,
    ("securityhub", "BatchDisableStandards"): batch_disable_standards,
    ("kms", "GetKeyRotationStatus"): get_key_rotation_status,
}
