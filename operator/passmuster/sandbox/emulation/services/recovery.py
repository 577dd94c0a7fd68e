"""AWS Backup and Resilience Hub: which resources a plan covers, restore testing, policies that change and go.

moto has vaults and plans, but nothing that says what they protect. Jobs and recovery points are not here: they are
facts that a seed lays as overlays. Served by front.py; deployed by the backup and resilience remediations.
"""

import uuid
from datetime import UTC, datetime
from typing import Any

from passmuster.sandbox.emulation.operation import Handling, Operations, Output, always
from passmuster.sandbox.emulation.wire import AWSError

_PROTECTED = ("Aurora", "DocumentDB", "DynamoDB", "EBS", "EC2", "EFS", "FSx", "Neptune", "RDS", "Redshift", "S3")
_REGION_SETTINGS = {
    "ResourceTypeOptInPreference": dict.fromkeys(_PROTECTED, True),
    "ResourceTypeManagementPreference": {"DynamoDB": True, "EFS": True},
}
"""As in a new account: AWS Backup may protect every type."""


def update_backup_plan(handling: Handling) -> Output:
    plan = _plan(handling)
    given = handling.params["BackupPlan"]
    for rule, before in zip(given["Rules"], plan.backup_plan["Rules"], strict=False):
        rule.setdefault("RuleId", before["RuleId"])
    for rule in given["Rules"]:
        rule.setdefault("RuleId", str(uuid.uuid4()))
    plan.backup_plan = given
    plan.version_id = uuid.uuid4().hex
    return {
        "BackupPlanId": plan.backup_plan_id,
        "BackupPlanArn": plan.backup_plan_arn,
        "CreationDate": datetime.now(UTC),
        "VersionId": plan.version_id,
    }


def delete_backup_plan(handling: Handling) -> Output:
    """DeleteBackupPlan, refused while the plan has selections."""
    plan = _plan(handling)
    if any(selection["BackupPlanId"] == plan.backup_plan_id for selection in _selections(handling).values()):
        message = "Related backup plan selections must be deleted prior to backup plan deletion"
        raise AWSError("InvalidRequestException", message, 400)
    return handling.moto()


def get_backup_plan(handling: Handling) -> Output:
    _plan(handling)
    return handling.moto()


def _plan(handling: Handling) -> Any:
    plans, wanted = handling.place.backend("backup").plans, handling.params["BackupPlanId"]
    if wanted not in plans or plans[wanted].deletion_date is not None:
        raise AWSError("ResourceNotFoundException", f"Cannot find Backup plan with ID {wanted}", 400)
    return plans[wanted]


def create_selection(handling: Handling) -> Output:
    plan = _plan(handling)
    selection = {
        "SelectionId": str(uuid.uuid4()),
        "BackupPlanId": plan.backup_plan_id,
        "CreationDate": datetime.now(UTC),
        "BackupSelection": handling.params["BackupSelection"],
    }
    _selections(handling)[selection["SelectionId"]] = selection
    return {name: selection[name] for name in ("SelectionId", "BackupPlanId", "CreationDate")}


def get_selection(handling: Handling) -> Output:
    selection = _selections(handling).get(str(handling.params["SelectionId"]))
    if selection is None:
        raise AWSError("ResourceNotFoundException", "Cannot find Backup selection", 400)
    return selection


def list_selections(handling: Handling) -> Output:
    plan = _plan(handling).backup_plan_id
    told = [
        {
            "SelectionId": selection["SelectionId"],
            "BackupPlanId": plan,
            "SelectionName": selection["BackupSelection"]["SelectionName"],
            "IamRoleArn": selection["BackupSelection"]["IamRoleArn"],
            "CreationDate": selection["CreationDate"],
        }
        for selection in _selections(handling).values()
        if selection["BackupPlanId"] == plan
    ]
    return {"BackupSelectionsList": told}


def delete_selection(handling: Handling) -> Output:
    get_selection(handling)
    del _selections(handling)[str(handling.params["SelectionId"])]
    return {}


def _selections(handling: Handling) -> dict[str, Output]:
    return handling.place.state("backup-selections")


def create_testing_plan(handling: Handling) -> Output:
    given = handling.params["RestoreTestingPlan"]
    name = str(given["RestoreTestingPlanName"])
    if name in _testing_plans(handling):
        raise AWSError("AlreadyExistsException", f"Restore testing plan {name} already exists", 400)
    arn = f"arn:aws:backup:{handling.call.region}:{handling.call.account}:restore-testing-plan:{name}"
    made = {**given, "RestoreTestingPlanArn": arn, "CreationTime": datetime.now(UTC)}
    _testing_plans(handling)[name] = {"plan": made, "selections": {}}
    return {"RestoreTestingPlanName": name, "RestoreTestingPlanArn": arn, "CreationTime": made["CreationTime"]}


def get_testing_plan(handling: Handling) -> Output:
    return {"RestoreTestingPlan": _testing_plan(handling)["plan"]}


def list_testing_plans(handling: Handling) -> Output:
    hidden = ("RecoveryPointSelection",)
    return {
        "RestoreTestingPlans": [
            {name: value for name, value in entry["plan"].items() if name not in hidden}
            for entry in _testing_plans(handling).values()
        ]
    }


def update_testing_plan(handling: Handling) -> Output:
    plan = _testing_plan(handling)["plan"]
    plan.update(handling.params["RestoreTestingPlan"])
    return {
        "RestoreTestingPlanName": plan["RestoreTestingPlanName"],
        "RestoreTestingPlanArn": plan["RestoreTestingPlanArn"],
        "CreationTime": plan["CreationTime"],
        "UpdateTime": datetime.now(UTC),
    }


def delete_testing_plan(handling: Handling) -> Output:
    entry = _testing_plan(handling)
    if entry["selections"]:
        raise AWSError("InvalidRequestException", "Restore testing plan has selections", 400)
    del _testing_plans(handling)[entry["plan"]["RestoreTestingPlanName"]]
    return {}


def create_testing_selection(handling: Handling) -> Output:
    entry, given = _testing_plan(handling), handling.params["RestoreTestingSelection"]
    name, plan = str(given["RestoreTestingSelectionName"]), entry["plan"]
    made = {**given, "RestoreTestingPlanName": plan["RestoreTestingPlanName"], "CreationTime": datetime.now(UTC)}
    entry["selections"][name] = made
    return {
        "RestoreTestingPlanArn": plan["RestoreTestingPlanArn"],
        "RestoreTestingPlanName": plan["RestoreTestingPlanName"],
        "RestoreTestingSelectionName": name,
        "CreationTime": made["CreationTime"],
    }


def get_testing_selection(handling: Handling) -> Output:
    selections = _testing_plan(handling)["selections"]
    wanted = str(handling.params["RestoreTestingSelectionName"])
    if wanted not in selections:
        raise AWSError("ResourceNotFoundException", f"Restore testing selection {wanted} does not exist", 400)
    return {"RestoreTestingSelection": selections[wanted]}


def list_testing_selections(handling: Handling) -> Output:
    told = ("RestoreTestingPlanName", "RestoreTestingSelectionName", "ProtectedResourceType", "IamRoleArn")
    return {
        "RestoreTestingSelections": [
            {name: selection[name] for name in (*told, "CreationTime") if name in selection}
            for selection in _testing_plan(handling)["selections"].values()
        ]
    }


def delete_testing_selection(handling: Handling) -> Output:
    get_testing_selection(handling)
    del _testing_plan(handling)["selections"][str(handling.params["RestoreTestingSelectionName"])]
    return {}


def _testing_plans(handling: Handling) -> dict[str, dict[str, Any]]:
    return handling.place.state("backup-testing")


def _testing_plan(handling: Handling) -> dict[str, Any]:
    wanted = str(handling.params["RestoreTestingPlanName"])
    if wanted not in _testing_plans(handling):
        raise AWSError("ResourceNotFoundException", f"Restore testing plan {wanted} does not exist", 400)
    return _testing_plans(handling)[wanted]


def update_resiliency_policy(handling: Handling) -> Output:
    policy = _resiliency_policy(handling)
    names = {
        "policyName": "name",
        "policy": "policy",
        "tier": "tier",
        "policyDescription": "policy_description",
    }
    for parameter, attribute in names.items():
        if parameter in handling.params:
            setattr(policy, attribute, handling.params[parameter])
    return {"policy": policy.to_json()}


def delete_resiliency_policy(handling: Handling) -> Output:
    policy = _resiliency_policy(handling)
    handling.place.backend("resiliencehub").policies.pop(policy.arn)
    return {"policyArn": policy.arn}


def _resiliency_policy(handling: Handling) -> Any:
    policies, wanted = handling.place.backend("resiliencehub").policies, str(handling.params["policyArn"])
    if wanted not in policies:
        raise AWSError("ResourceNotFoundException", f"ResiliencyPolicy not found: {wanted}", 404)
    return policies[wanted]


def describe_vault(handling: Handling) -> Output:
    """DescribeBackupVault; a vault that was given no key is encrypted with AWS Backup's own."""
    answer = handling.moto()
    if not answer.get("EncryptionKeyArn"):
        own = uuid.uuid5(uuid.NAMESPACE_DNS, f"aws-backup.{handling.call.region}.{handling.call.account}")
        answer["EncryptionKeyArn"] = f"arn:aws:kms:{handling.call.region}:{handling.call.account}:key/{own}"
    return answer


OPERATIONS: Operations = {
    ("backup", "DescribeBackupVault"): describe_vault,
    ("backup", "GetBackupPlan"): get_backup_plan,
    ("backup", "UpdateBackupPlan"): update_backup_plan,
    ("backup", "DeleteBackupPlan"): delete_backup_plan,
    ("backup", "CreateBackupSelection"): create_selection,
    ("backup", "GetBackupSelection"): get_selection,
    ("backup", "ListBackupSelections"): list_selections,
    ("backup", "DeleteBackupSelection"): delete_selection,
    ("backup", "CreateRestoreTestingPlan"): create_testing_plan,
    ("backup", "GetRestoreTestingPlan"): get_testing_plan,
    ("backup", "ListRestoreTestingPlans"): list_testing_plans,
    ("backup", "UpdateRestoreTestingPlan"): update_testing_plan,
    ("backup", "DeleteRestoreTestingPlan"): delete_testing_plan,
    ("backup", "CreateRestoreTestingSelection"): create_testing_selection,
    ("backup", "GetRestoreTestingSelection"): get_testing_selection,
    ("backup", "ListRestoreTestingSelections"): list_testing_selections,
    ("backup", "DeleteRestoreTestingSelection"): delete_testing_selection,
    ("backup", "DescribeRegionSettings"): always(_REGION_SETTINGS),
    ("resiliencehub", "UpdateResiliencyPolicy"): update_resiliency_policy,
    ("resiliencehub", "DeleteResiliencyPolicy"): delete_resiliency_policy,
}
