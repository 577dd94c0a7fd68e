"""Security Hub's standards, the rotation of secrets, keys that are going away, and Macie before it is on.

moto has the hub but no standards, and would run a rotation function in a container. Here a rotation succeeds if the
function exists and lets Secrets Manager invoke it. Served by front.py.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore import xform_name

from passmuster.sandbox.emulation.access import policies
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


def describe_hub_v2(handling: Handling) -> Output:
    """DescribeSecurityHubV2 of an account that has only ever enabled the older product."""
    raise AWSError("ResourceNotFoundException", f"Account {handling.call.account} has not enabled Security Hub", 404)


def get_key_rotation_status(handling: Handling) -> Output:
    """KMS's GetKeyRotationStatus: a key that is to be deleted no longer rotates."""
    answer = handling.moto()
    key = handling.place.client("kms").describe_key(KeyId=handling.params["KeyId"])["KeyMetadata"]
    if key["KeyState"] == "PendingDeletion":
        answer["KeyRotationEnabled"] = False
    return answer


def rotate_secret(handling: Handling) -> Output:
    """Secrets Manager's RotateSecret: sets the schedule and, unless told otherwise, rotates at once."""
    secret = _secret(handling)
    function = str(handling.params.get("RotationLambdaARN", "") or secret.rotation_lambda_arn)
    if not function:
        message = "No Lambda rotation function ARN is associated with this secret."
        raise AWSError("InvalidRequestException", message, 400)
    _refuse_uninvokable(handling, function)
    rules = dict(handling.params.get("RotationRules", {}))
    secret.rotation_requested = secret.rotation_enabled = True
    secret.rotation_lambda_arn = function
    secret.auto_rotate_after_days = int(rules.get("AutomaticallyAfterDays", secret.auto_rotate_after_days or 0))
    if rules:
        _rotation_rules(handling)[secret.arn] = rules
    if handling.params.get("RotateImmediately", True):
        secret.last_rotation_date = int(datetime.now(UTC).timestamp())
    days = secret.auto_rotate_after_days or 30
    secret.next_rotation_date = int((datetime.now(UTC) + timedelta(days=days)).timestamp())
    return {"ARN": secret.arn, "Name": secret.name, "VersionId": secret.default_version_id}


def cancel_rotation(handling: Handling) -> Output:
    secret = _secret(handling)
    secret.rotation_enabled = False
    return {"ARN": secret.arn, "Name": secret.name}


def describe_secret(handling: Handling) -> Output:
    """DescribeSecret with the whole schedule; moto keeps only the days."""
    answer = handling.moto()
    rules = _rotation_rules(handling).get(answer["ARN"])
    return answer | ({"RotationRules": rules} if rules and answer.get("RotationEnabled") else {})


def _rotation_rules(handling: Handling) -> dict[str, Output]:
    return handling.place.state("secret-rotation")


def _secret(handling: Handling) -> Any:
    secrets, wanted = handling.place.backend("secretsmanager").secrets, str(handling.params["SecretId"])
    for secret in secrets.values():
        if wanted in (secret.arn, secret.name):
            return secret
    raise AWSError("ResourceNotFoundException", "Secrets Manager can't find the specified secret.", 400)


def _refuse_uninvokable(handling: Handling, function: str) -> None:
    client = handling.place.client("lambda")
    try:
        policy = json.loads(client.get_policy(FunctionName=function)["Policy"])
    except client.exceptions.ResourceNotFoundException:
        policy = {}
    asked = policies.Question("lambda:InvokeFunction", principals=("secretsmanager.amazonaws.com",))
    if not policies.allows([policy], asked):
        message = "Secrets Manager cannot invoke the specified Lambda function."
        raise AWSError("AccessDeniedException", message, 400)


def get_account_summary(handling: Handling) -> Output:
    """IAM's GetAccountSummary: root has a password, as it has from the first day; moto does not say."""
    answer = handling.moto()
    answer["SummaryMap"].setdefault("AccountPasswordPresent", 1)
    return answer


def get_authorization_details(handling: Handling) -> Output:
    """IAM's GetAccountAuthorizationDetails with the names of managed policies, which moto leaves out."""
    answer = handling.moto()
    for policy in answer.get("Policies", []):
        policy.setdefault("PolicyName", str(policy["Arn"]).rpartition("/")[2])
    return answer


def about_this_account(handling: Handling) -> Output:
    """Inspector's Enable and BatchGetAccountStatus: who names no account means its own, which moto trips over."""
    if handling.params.get("accountIds"):
        return handling.moto()
    given = {**handling.params, "accountIds": [handling.call.account]}
    operation = getattr(handling.place.client("inspector2"), xform_name(handling.call.operation))
    return {name: value for name, value in operation(**given).items() if name != "ResponseMetadata"}


def create_analyzer(handling: Handling) -> Output:
    """Access Analyzer's CreateAnalyzer; one of each type per account and region, as AWS allows."""
    name, kind = str(handling.params["analyzerName"]), str(handling.params["type"])
    if any(known["type"] == kind for known in _analyzers(handling).values()):
        raise AWSError("ServiceQuotaExceededException", f"There is already an analyzer of type {kind}", 402)
    arn = f"arn:aws:access-analyzer:{handling.call.region}:{handling.call.account}:analyzer/{name}"
    _analyzers(handling)[name] = {
        "arn": arn,
        "name": name,
        "type": kind,
        "status": "ACTIVE",
        "createdAt": datetime.now(UTC),
        "tags": handling.params.get("tags", {}),
    }
    return {"arn": arn}


def list_analyzers(handling: Handling) -> Output:
    wanted = handling.params.get("type")
    return {"analyzers": [known for known in _analyzers(handling).values() if wanted in (None, known["type"])]}


def get_analyzer(handling: Handling) -> Output:
    name = str(handling.params["analyzerName"])
    if name not in _analyzers(handling):
        raise AWSError("ResourceNotFoundException", f"Analyzer {name} does not exist", 404)
    return {"analyzer": _analyzers(handling)[name]}


def delete_analyzer(handling: Handling) -> Output:
    get_analyzer(handling)
    del _analyzers(handling)[str(handling.params["analyzerName"])]
    return {}


def _analyzers(handling: Handling) -> dict[str, Output]:
    return handling.place.state("analyzers")


def get_macie_session(handling: Handling) -> Output:
    """Macie's GetMacieSession; moto's Macie is on from the start, and AWS refuses to answer until it is."""
    _refuse_without_macie(handling)
    return handling.moto()


def enable_macie(handling: Handling) -> Output:
    handling.place.state("macie")["on"] = True
    return handling.moto()


def disable_macie(handling: Handling) -> Output:
    _refuse_without_macie(handling)
    del handling.place.state("macie")["on"]
    return handling.moto()


def _refuse_without_macie(handling: Handling) -> None:
    if not handling.place.state("macie").get("on"):
        raise AWSError("AccessDeniedException", "Macie is not enabled", 403)


OPERATIONS: Operations = {
    ("macie2", "GetMacieSession"): get_macie_session,
    ("macie2", "EnableMacie"): enable_macie,
    ("macie2", "DisableMacie"): disable_macie,
    ("inspector2", "Enable"): about_this_account,
    ("inspector2", "BatchGetAccountStatus"): about_this_account,
    ("iam", "GetAccountAuthorizationDetails"): get_authorization_details,
    ("iam", "GetAccountSummary"): get_account_summary,
    ("accessanalyzer", "CreateAnalyzer"): create_analyzer,
    ("accessanalyzer", "ListAnalyzers"): list_analyzers,
    ("accessanalyzer", "GetAnalyzer"): get_analyzer,
    ("accessanalyzer", "DeleteAnalyzer"): delete_analyzer,
    ("secretsmanager", "RotateSecret"): rotate_secret,
    ("secretsmanager", "CancelRotateSecret"): cancel_rotation,
    ("secretsmanager", "DescribeSecret"): describe_secret,
    ("securityhub", "EnableSecurityHub"): enable_security_hub,
    ("securityhub", "DisableSecurityHub"): disable_security_hub,
    ("securityhub", "UpdateSecurityHubConfiguration"): update_hub,
    ("securityhub", "DescribeHub"): describe_hub,
    ("securityhub", "DescribeSecurityHubV2"): describe_hub_v2,
    ("securityhub", "DescribeStandards"): describe_standards,
    ("securityhub", "BatchEnableStandards"): batch_enable_standards,
    ("securityhub", "GetEnabledStandards"): get_enabled_standards,
    ("securityhub", "BatchDisableStandards"): batch_disable_standards,
    ("kms", "GetKeyRotationStatus"): get_key_rotation_status,
}
