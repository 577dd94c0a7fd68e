"""Resource types of running things: documents, parameters, backups, resilience policies."""

import json
from typing import Any

from passmuster.sandbox.emulation.stacks.kinds import Api, Kind, Simple, Step, Tagging, Work
from passmuster.sandbox.emulation.stacks.model import Properties

_BACKUP_TAGS = Tagging(
    put=Api("tag_resource", {"ResourceArn": "@arn", "Tags": "@tags"}),
    take=Api("untag_resource", {"ResourceArn": "@arn", "TagKeyList": "@keys"}),
)


class Document(Simple):
    """AWS::SSM::Document; Ref is the name. A new version becomes the default, as UpdateMethod NewVersion does."""

    def create(self, work: Work, properties: Properties) -> str:
        return super().create(work, _written(properties))

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        ssm = work.client("ssm")
        if old["Content"] != new["Content"]:
            given = _written(new)
            answer = ssm.update_document(
                Name=work.physical_id,
                Content=given["Content"],
                DocumentFormat=given["DocumentFormat"],
                DocumentVersion="$LATEST",
            )
            version = answer["DocumentDescription"]["DocumentVersion"]
            ssm.update_document_default_version(Name=work.physical_id, DocumentVersion=version)
        self.retag(work, old, new)


def _written(properties: Properties) -> Properties:
    content = properties["Content"]
    text = content if isinstance(content, str) else json.dumps(content)
    return {"DocumentFormat": "JSON", **properties, "Content": text}


class Parameter(Simple):
    """AWS::SSM::Parameter; Ref is the name."""

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        del old
        client = work.client("ssm")
        client.put_parameter(**self._params(client, "put_parameter", new, strict=set()), Overwrite=True)


class BackupPlan(Simple):
    """AWS::Backup::BackupPlan; Ref is the id."""

    def create(self, work: Work, properties: Properties) -> str:
        return super().create(work, {**properties, "BackupPlan": _plan(properties["BackupPlan"])})

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        super().update(
            work, {**old, "BackupPlan": _plan(old["BackupPlan"])}, {**new, "BackupPlan": _plan(new["BackupPlan"])}
        )


def _plan(given: Properties) -> dict[str, Any]:
    """A plan as the API names its members: the template's names differ in places."""
    rules = [
        {{"TargetBackupVault": "TargetBackupVaultName"}.get(name, name): value for name, value in rule.items()}
        for rule in given.get("BackupPlanRule", [])
    ]
    plan = {name: value for name, value in given.items() if name != "BackupPlanRule"}
    return {**plan, "Rules": rules}


class BackupSelection(Simple):
    """AWS::Backup::BackupSelection; Ref is the selection and its plan."""

    def create(self, work: Work, properties: Properties) -> str:
        selection = super().create(work, properties)
        return work.made(f"{selection}|{properties['BackupPlanId']}")


class TestingSelection(Kind):
    """AWS::Backup::RestoreTestingSelection; Ref is the plan and the selection."""

    type_name = "AWS::Backup::RestoreTestingSelection"
    name_property = "RestoreTestingSelectionName"
    _NUMBER = "ValidationWindowHours"

    def create(self, work: Work, properties: Properties) -> str:
        plan, name = str(properties["RestoreTestingPlanName"]), str(properties["RestoreTestingSelectionName"])
        selection = {key: value for key, value in properties.items() if key != "RestoreTestingPlanName"}
        if self._NUMBER in selection:
            selection[self._NUMBER] = int(selection[self._NUMBER])
        work.client("backup").create_restore_testing_selection(
            RestoreTestingPlanName=plan, RestoreTestingSelection=selection
        )
        return work.made(f"{plan}|{name}")

    def _named(self, work: Work) -> dict[str, str]:
        plan, name = work.physical_id.split("|")
        return {"RestoreTestingPlanName": plan, "RestoreTestingSelectionName": name}

    def read(self, work: Work) -> Any:
        client = work.client("backup")
        try:
            return client.get_restore_testing_selection(**self._named(work))["RestoreTestingSelection"]
        except client.exceptions.ResourceNotFoundException:
            return None

    def delete(self, work: Work, properties: Properties) -> None:
        del properties
        if self.read(work) is not None:
            work.client("backup").delete_restore_testing_selection(**self._named(work))


class TagPolicy(Simple):
    """AWS::Organizations::Policy, attached to its targets; Ref is the id."""

    def create(self, work: Work, properties: Properties) -> str:
        given = {"Description": "", **properties, "Content": _text(properties["Content"])}
        policy = super().create(work, given)
        for target in properties.get("TargetIds", []):
            work.client("organizations").attach_policy(PolicyId=policy, TargetId=target)
        return policy

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        organizations = work.client("organizations")
        before, after = set(old.get("TargetIds", [])), set(new.get("TargetIds", []))
        for target in sorted(before - after):
            organizations.detach_policy(PolicyId=work.physical_id, TargetId=target)
        for target in sorted(after - before):
            organizations.attach_policy(PolicyId=work.physical_id, TargetId=target)
        organizations.update_policy(
            PolicyId=work.physical_id,
            Name=new["Name"],
            Description=str(new.get("Description", "")),
            Content=_text(new["Content"]),
        )

    def delete(self, work: Work, properties: Properties) -> None:
        if self.read(work) is None:
            return
        for target in properties.get("TargetIds", []):
            work.client("organizations").detach_policy(PolicyId=work.physical_id, TargetId=target)
        super().delete(work, properties)


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content)


KINDS: tuple[Kind, ...] = (
    TagPolicy(
        type_name="AWS::Organizations::Policy",
        service="organizations",
        create_op="create_policy",
        made="Policy.PolicySummary.Id",
        by={"PolicyId": "@"},
        read_api=Api("describe_policy", {"PolicyId": "@"}, "Policy.PolicySummary"),
        delete_op="delete_policy",
        apart=("TargetIds",),
        attribute_paths={"Id": "@", "Arn": "Arn"},
    ),
    Simple(
        type_name="AWS::FIS::ExperimentTemplate",
        service="fis",
        create_op="create_experiment_template",
        made="experimentTemplate.id",
        by={"id": "@"},
        read_api=Api("get_experiment_template", {"id": "@"}, "experimentTemplate"),
        update_op="update_experiment_template",
        delete_op="delete_experiment_template",
        tagging=Tagging(param="tags"),
        attribute_paths={"Id": "@"},
    ),
    Simple(
        type_name="AWS::Backup::RestoreTestingPlan",
        service="backup",
        create_op="create_restore_testing_plan",
        made="RestoreTestingPlanName",
        by={"RestoreTestingPlanName": "@"},
        read_api=Api("get_restore_testing_plan", {"RestoreTestingPlanName": "@"}, "RestoreTestingPlan"),
        update_op="update_restore_testing_plan",
        delete_op="delete_restore_testing_plan",
        within="RestoreTestingPlan",
        name_property="RestoreTestingPlanName",
        attribute_paths={"RestoreTestingPlanArn": "RestoreTestingPlanArn"},
    ),
    TestingSelection(),
    Document(
        type_name="AWS::SSM::Document",
        service="ssm",
        create_op="create_document",
        made="@name",
        by={"Name": "@"},
        read_api=Api("describe_document", {"Name": "@"}, "Document"),
        delete_op="delete_document",
        name_property="Name",
        apart=("UpdateMethod",),
        tagging=Tagging(
            param="Tags",
            put=Api("add_tags_to_resource", {"ResourceType": "Document", "ResourceId": "@", "Tags": "@tags"}),
            take=Api("remove_tags_from_resource", {"ResourceType": "Document", "ResourceId": "@", "TagKeys": "@keys"}),
        ),
    ),
    Parameter(
        type_name="AWS::SSM::Parameter",
        service="ssm",
        create_op="put_parameter",
        made="@name",
        by={"Name": "@"},
        read_api=Api("get_parameter", {"Name": "@"}, "Parameter"),
        delete_op="delete_parameter",
        name_property="Name",
        tagging=Tagging(param="Tags"),
        attribute_paths={"Type": "Type", "Value": "Value"},
    ),
    Simple(
        type_name="AWS::Backup::BackupVault",
        service="backup",
        create_op="create_backup_vault",
        made="@name",
        by={"BackupVaultName": "@"},
        read_api=Api("describe_backup_vault", {"BackupVaultName": "@"}),
        delete_op="delete_backup_vault",
        name_property="BackupVaultName",
        name_limit=50,
        steps=(
            Step(
                "LockConfiguration",
                lambda backup, vault, lock: backup.put_backup_vault_lock_configuration(
                    BackupVaultName=vault, **{name: int(days) for name, days in lock.items()}
                ),
                lambda backup, vault: backup.delete_backup_vault_lock_configuration(BackupVaultName=vault),
            ),
        ),
        tag_property="BackupVaultTags",
        tagging=Tagging(param="BackupVaultTags"),
        attribute_paths={"BackupVaultName": "@", "BackupVaultArn": "BackupVaultArn"},
    ),
    BackupPlan(
        type_name="AWS::Backup::BackupPlan",
        service="backup",
        create_op="create_backup_plan",
        made="BackupPlanId",
        by={"BackupPlanId": "@"},
        read_api=Api("get_backup_plan", {"BackupPlanId": "@"}, "(!DeletionDate && @) || `null`"),
        update_op="update_backup_plan",
        delete_op="delete_backup_plan",
        tag_property="BackupPlanTags",
        tagging=Tagging(param="BackupPlanTags"),
        attribute_paths={"BackupPlanId": "@", "BackupPlanArn": "BackupPlanArn", "VersionId": "VersionId"},
    ),
    BackupSelection(
        type_name="AWS::Backup::BackupSelection",
        service="backup",
        create_op="create_backup_selection",
        made="SelectionId",
        by={"SelectionId": "@1", "BackupPlanId": "@2"},
        read_api=Api("get_backup_selection", {"SelectionId": "@1", "BackupPlanId": "@2"}),
        delete_op="delete_backup_selection",
        attribute_paths={"SelectionId": "@1", "BackupPlanId": "@2", "Id": "@"},
    ),
    Simple(
        type_name="AWS::ResilienceHub::ResiliencyPolicy",
        service="resiliencehub",
        create_op="create_resiliency_policy",
        made="policy.policyArn",
        by={"policyArn": "@"},
        read_api=Api("describe_resiliency_policy", {"policyArn": "@"}, "policy"),
        update_op="update_resiliency_policy",
        delete_op="delete_resiliency_policy",
        tagging=Tagging(param="tags"),
        attribute_paths={"PolicyArn": "@"},
    ),
)
