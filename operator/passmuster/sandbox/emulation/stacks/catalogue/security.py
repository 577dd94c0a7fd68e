"""Resource types of security and audit: keys, secrets, trails, detectors, recorders, web ACLs."""

import json
from typing import Any

from botocore.exceptions import ClientError

from passmuster.sandbox.emulation.stacks.kinds import Api, Kind, Simple, Step, Tagging, Work
from passmuster.sandbox.emulation.stacks.model import Properties
from passmuster.sandbox.emulation.wire import AWSError

_ARN_TAGS = Tagging(
    param="Tags",
    put=Api("tag_resource", {"ResourceARN": "@arn", "Tags": "@tags"}),
    take=Api("untag_resource", {"ResourceARN": "@arn", "TagKeys": "@keys"}),
)


def _flag(value: Any) -> bool:
    return str(value).lower() == "true"


class Trail(Simple):
    """AWS::CloudTrail::Trail: made, given its selectors, and set logging. Ref is the name."""

    def create(self, work: Work, properties: Properties) -> str:
        _refuse_both(properties)
        name = super().create(work, properties)
        if any(properties.get(kind) for kind in _SELECTORS):
            self._select(work, properties)
        self._log(work, properties)
        return name

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        _refuse_both(new)
        super().update(work, old, new)
        if any(old.get(kind) != new.get(kind) for kind in _SELECTORS):
            self._select(work, new)
        if "KMSKeyId" in old and "KMSKeyId" not in new:
            work.client("cloudtrail").update_trail(Name=work.physical_id, KmsKeyId="")
        self._log(work, new)

    def _select(self, work: Work, properties: Properties) -> None:
        """Selectors of one kind replace those of the other."""
        trail, advanced = work.client("cloudtrail"), properties.get("AdvancedEventSelectors")
        if advanced:
            trail.put_event_selectors(TrailName=work.physical_id, AdvancedEventSelectors=list(advanced))
        else:
            _put_basic(trail, work.physical_id, properties.get("EventSelectors") or _FIRST_SELECTORS)

    def _log(self, work: Work, properties: Properties) -> None:
        client = work.client("cloudtrail")
        switch = client.start_logging if _flag(properties["IsLogging"]) else client.stop_logging
        switch(Name=work.physical_id)


_SELECTORS = ("EventSelectors", "AdvancedEventSelectors")
_FIRST_SELECTORS = ({"ReadWriteType": "All", "ExcludeManagementEventSources": []},)
"""What a trail selects that was never told anything else."""


def _refuse_both(properties: Properties) -> None:
    if all(properties.get(kind) for kind in _SELECTORS):
        message = "Either EventSelectors or AdvancedEventSelectors can be given, but not both"
        raise AWSError("InvalidEventSelectorsException", message, 400)


def _put_basic(trail: Any, name: str, value: Any) -> None:
    selectors = [
        {
            **selector,
            "DataResources": [
                {"Type": resource["Type"], "Values": list(resource.get("Values", []))}
                for resource in selector.get("DataResources", [])
            ],
            "IncludeManagementEvents": _flag(selector.get("IncludeManagementEvents", True)),
        }
        for selector in value
    ]
    trail.put_event_selectors(TrailName=name, EventSelectors=selectors)


class Key(Simple):
    """AWS::KMS::Key; deletion schedules it, as AWS never deletes a key at once. Ref is the key id."""

    def read(self, work: Work) -> Any:
        found = super().read(work)
        return None if found is None or found["KeyState"] == "PendingDeletion" else found

    def delete(self, work: Work, properties: Properties) -> None:
        if self.read(work) is not None:
            days = int(properties.get("PendingWindowInDays", 30))
            work.client("kms").schedule_key_deletion(KeyId=work.physical_id, PendingWindowInDays=days)


class RotationSchedule(Kind):
    """AWS::SecretsManager::RotationSchedule on an existing function; Ref is the secret."""

    type_name = "AWS::SecretsManager::RotationSchedule"

    def create(self, work: Work, properties: Properties) -> str:
        work.made(str(properties["SecretId"]))
        self.update(work, {}, properties)
        return work.physical_id

    def read(self, work: Work) -> Any:
        try:
            found = work.client("secretsmanager").describe_secret(SecretId=work.physical_id)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise
        return found if found.get("RotationEnabled") else None

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        del old
        given = dict(new.get("RotationRules", {}))
        rules: dict[str, Any] = {name: given[name] for name in ("Duration", "ScheduleExpression") if name in given}
        if "AutomaticallyAfterDays" in given:
            rules["AutomaticallyAfterDays"] = int(given["AutomaticallyAfterDays"])
        function = {"RotationLambdaARN": new["RotationLambdaARN"]} if "RotationLambdaARN" in new else {}
        work.client("secretsmanager").rotate_secret(
            SecretId=work.physical_id, RotationRules=rules, RotateImmediately=False, **function
        )

    def delete(self, work: Work, properties: Properties) -> None:
        del properties
        if self.read(work) is not None:
            work.client("secretsmanager").cancel_rotate_secret(SecretId=work.physical_id)


class Secret(Simple):
    """AWS::SecretsManager::Secret, with a generated value if it asks for one. Ref is the ARN."""

    def create(self, work: Work, properties: Properties) -> str:
        given = dict(properties)
        if "GenerateSecretString" in given:
            given["SecretString"] = self._generated(work, given.pop("GenerateSecretString"))
        return super().create(work, given)

    def _generated(self, work: Work, rules: Properties) -> str:
        length = int(rules.get("PasswordLength", 32))
        password = work.client("secretsmanager").get_random_password(PasswordLength=length)["RandomPassword"]
        if "SecretStringTemplate" not in rules:
            return str(password)
        return json.dumps({**json.loads(rules["SecretStringTemplate"]), rules["GenerateStringKey"]: password})


class Recorder(Simple):
    """AWS::Config::ConfigurationRecorder; it records from the moment a delivery channel exists."""

    def create(self, work: Work, properties: Properties) -> str:
        name = super().create(work, properties)
        _start_recording(work)
        return name

    def delete(self, work: Work, properties: Properties) -> None:
        if self.read(work) is not None:
            work.client("config").stop_configuration_recorder(ConfigurationRecorderName=work.physical_id)
        super().delete(work, properties)


class DeliveryChannel(Simple):
    """AWS::Config::DeliveryChannel; a recorder without one does not record, and one in use cannot be deleted."""

    def create(self, work: Work, properties: Properties) -> str:
        name = super().create(work, properties)
        _start_recording(work)
        return name

    def delete(self, work: Work, properties: Properties) -> None:
        for recorder in work.client("config").describe_configuration_recorders()["ConfigurationRecorders"]:
            work.client("config").stop_configuration_recorder(ConfigurationRecorderName=recorder["name"])
        super().delete(work, properties)


def _start_recording(work: Work) -> None:
    config = work.client("config")
    if config.describe_delivery_channels()["DeliveryChannels"]:
        for recorder in config.describe_configuration_recorders()["ConfigurationRecorders"]:
            config.start_configuration_recorder(ConfigurationRecorderName=recorder["name"])


class WebAcl(Kind):
    """AWS::WAFv2::WebACL; Ref is name|id|scope."""

    type_name = "AWS::WAFv2::WebACL"
    name_property = "Name"

    def create(self, work: Work, properties: Properties) -> str:
        tags = work.all_tags(properties.get("Tags"))
        made = work.client("wafv2").create_web_acl(**_web_acl(properties), Tags=tags)["Summary"]
        return work.made(f"{made['Name']}|{made['Id']}|{properties['Scope']}")

    def read(self, work: Work) -> Any:
        if work.physical_id.count("|") != 2:
            return None
        name, id_, scope = work.physical_id.split("|")
        try:
            return work.client("wafv2").get_web_acl(Name=name, Id=id_, Scope=scope)["WebACL"]
        except work.client("wafv2").exceptions.WAFNonexistentItemException:
            return None

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        del old
        name, id_, scope = work.physical_id.split("|")
        lock = work.client("wafv2").get_web_acl(Name=name, Id=id_, Scope=scope)["LockToken"]
        kept = {key: value for key, value in _web_acl(new).items() if key not in ("Name", "Scope")}
        work.client("wafv2").update_web_acl(Name=name, Id=id_, Scope=scope, LockToken=lock, **kept)

    def delete(self, work: Work, properties: Properties) -> None:
        del properties
        if self.read(work) is None:
            return
        name, id_, scope = work.physical_id.split("|")
        lock = work.client("wafv2").get_web_acl(Name=name, Id=id_, Scope=scope)["LockToken"]
        work.client("wafv2").delete_web_acl(Name=name, Id=id_, Scope=scope, LockToken=lock)

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        del properties
        found = self.read(work)
        return {"Arn": found["ARN"], "Id": found["Id"], "Capacity": found.get("Capacity", 0)}


def _web_acl(properties: Properties) -> dict[str, Any]:
    """The properties with the numbers and switches as the API wants them."""
    typed: dict[str, Any] = json.loads(
        json.dumps({name: value for name, value in properties.items() if name != "Tags"}), object_hook=_waf_types
    )
    typed.setdefault("Rules", [])
    return typed


def _waf_types(node: dict[str, Any]) -> dict[str, Any]:
    for name in ("Limit", "Priority", "EvaluationWindowSec", "ImmunityTime"):
        if name in node:
            node[name] = int(node[name])
    for name in ("SampledRequestsEnabled", "CloudWatchMetricsEnabled"):
        if name in node:
            node[name] = _flag(node[name])
    return node


class WebAclAssociation(Kind):
    """AWS::WAFv2::WebACLAssociation; Ref is the resource and the web ACL."""

    type_name = "AWS::WAFv2::WebACLAssociation"

    def create(self, work: Work, properties: Properties) -> str:
        resource, acl = str(properties["ResourceArn"]), str(properties["WebACLArn"])
        work.client("wafv2").associate_web_acl(ResourceArn=resource, WebACLArn=acl)
        return work.made(f"{resource}|{acl}")

    def read(self, work: Work) -> Any:
        resource, acl = work.physical_id.split("|")
        found = work.client("wafv2").get_web_acl_for_resource(ResourceArn=resource).get("WebACL")
        return {"ResourceArn": resource, "WebACLArn": acl} if found and found["ARN"] == acl else None

    def delete(self, work: Work, properties: Properties) -> None:
        if self.read(work) is not None:
            work.client("wafv2").disassociate_web_acl(ResourceArn=properties["ResourceArn"])


class Analyzer(Simple):
    """AWS::AccessAnalyzer::Analyzer; Ref is the ARN."""

    def delete(self, work: Work, properties: Properties) -> None:
        del properties
        if self.read(work) is not None:
            work.client("accessanalyzer").delete_analyzer(analyzerName=work.physical_id.split("/")[-1])


KINDS: tuple[Kind, ...] = (
    Trail(
        type_name="AWS::CloudTrail::Trail",
        service="cloudtrail",
        create_op="create_trail",
        made="Name",
        by={"Name": "@"},
        read_api=Api("get_trail", {"Name": "@"}, "Trail"),
        update_op="update_trail",
        delete_op="delete_trail",
        name_property="TrailName",
        renamed={"TrailName": "Name", "KMSKeyId": "KmsKeyId", "EnableLogFileValidation": "EnableLogFileValidation"},
        apart=("IsLogging", *_SELECTORS),
        steps=(
            Step(
                "InsightSelectors",
                put=lambda trail, name, value: trail.put_insight_selectors(
                    TrailName=name, InsightSelectors=list(value)
                ),
            ),
        ),
        tagging=Tagging(
            param="TagsList",
            put=Api("add_tags", {"ResourceId": "@arn", "TagsList": "@tags"}),
            take=Api("remove_tags", {"ResourceId": "@arn", "TagsList": "@tags"}),
        ),
        arn="arn:aws:cloudtrail:{region}:{account}:trail/{id}",
        attribute_paths={"Arn": "TrailARN", "SnsTopicArn": "SnsTopicARN"},
    ),
    Key(
        type_name="AWS::KMS::Key",
        service="kms",
        create_op="create_key",
        made="KeyMetadata.KeyId",
        by={"KeyId": "@"},
        read_api=Api("describe_key", {"KeyId": "@"}, "KeyMetadata"),
        delete_op="schedule_key_deletion",
        renamed={"KeyPolicy": "Policy"},
        apart=("PendingWindowInDays", "BypassPolicyLockoutSafetyCheck", "RotationPeriodInDays"),
        steps=(
            Step(
                "EnableKeyRotation",
                put=lambda kms, key, value: (kms.enable_key_rotation if _flag(value) else kms.disable_key_rotation)(
                    KeyId=key
                ),
                drop=lambda kms, key: kms.disable_key_rotation(KeyId=key),
            ),
            Step(
                "KeyPolicy",
                put=lambda kms, key, value: kms.put_key_policy(
                    KeyId=key, PolicyName="default", Policy=json.dumps(value)
                ),
                after_creation=False,
            ),
            Step(
                "Description",
                put=lambda kms, key, value: kms.update_key_description(KeyId=key, Description=value),
                after_creation=False,
            ),
            Step(
                "Enabled",
                put=lambda kms, key, value: (kms.enable_key if _flag(value) else kms.disable_key)(KeyId=key),
            ),
        ),
        tagging=Tagging(
            param="Tags",
            put=Api("tag_resource", {"KeyId": "@", "Tags": "@tags"}),
            take=Api("untag_resource", {"KeyId": "@", "TagKeys": "@keys"}),
        ),
        attribute_paths={"Arn": "Arn", "KeyId": "@"},
    ),
    Simple(
        type_name="AWS::KMS::Alias",
        service="kms",
        create_op="create_alias",
        made="$AliasName",
        by={"AliasName": "@"},
        read_api=Api("list_aliases", {}, "Aliases[?AliasName=='{id}'] | [0]"),
        update_op="update_alias",
        delete_op="delete_alias",
    ),
    Secret(
        type_name="AWS::SecretsManager::Secret",
        service="secretsmanager",
        create_op="create_secret",
        made="ARN",
        by={"SecretId": "@"},
        read_api=Api("describe_secret", {"SecretId": "@"}),
        update_op="update_secret",
        delete_op="delete_secret",
        name_property="Name",
        apart=("GenerateSecretString",),
        tagging=Tagging(
            param="Tags",
            put=Api("tag_resource", {"SecretId": "@", "Tags": "@tags"}),
            take=Api("untag_resource", {"SecretId": "@", "TagKeys": "@keys"}),
        ),
        attribute_paths={"Id": "@"},
    ),
    RotationSchedule(),
    Simple(
        type_name="AWS::SecurityHub::Standard",
        service="securityhub",
        create_op="batch_enable_standards",
        made="StandardsSubscriptions[0].StandardsSubscriptionArn",
        by={"StandardsSubscriptionArns": ["@"]},
        read_api=Api("get_enabled_standards", {}, "StandardsSubscriptions[?StandardsSubscriptionArn=='{id}'] | [0]"),
        delete_op="batch_disable_standards",
        within="StandardsSubscriptionRequests",
        attribute_paths={"StandardsSubscriptionArn": "@"},
    ),
    Simple(
        type_name="AWS::GuardDuty::Detector",
        service="guardduty",
        create_op="create_detector",
        made="DetectorId",
        by={"DetectorId": "@"},
        read_api=Api("get_detector", {"DetectorId": "@"}),
        update_op="update_detector",
        delete_op="delete_detector",
        tagging=Tagging(param="Tags"),
        attribute_paths={"Id": "@"},
    ),
    Simple(
        type_name="AWS::SecurityHub::Hub",
        service="securityhub",
        create_op="enable_security_hub",
        made="arn:aws:securityhub:{region}:{account}:hub/default",
        by={},
        read_api=Api("describe_hub"),
        update_op="update_security_hub_configuration",
        delete_op="disable_security_hub",
        tagging=Tagging(param="Tags"),
        attribute_paths={"ARN": "HubArn", "SubscribedAt": "SubscribedAt"},
    ),
    Recorder(
        type_name="AWS::Config::ConfigurationRecorder",
        service="config",
        create_op="put_configuration_recorder",
        within="ConfigurationRecorder",
        update_by={},
        made="@name",
        by={"ConfigurationRecorderName": "@"},
        read_api=Api(
            "describe_configuration_recorders",
            {},
            "ConfigurationRecorders[?name=='{id}'] | [0]",
        ),
        update_op="put_configuration_recorder",
        delete_op="delete_configuration_recorder",
        name_property="Name",
    ),
    DeliveryChannel(
        type_name="AWS::Config::DeliveryChannel",
        service="config",
        create_op="put_delivery_channel",
        within="DeliveryChannel",
        update_by={},
        made="@name",
        by={"DeliveryChannelName": "@"},
        read_api=Api("describe_delivery_channels", {}, "DeliveryChannels[?name=='{id}'] | [0]"),
        update_op="put_delivery_channel",
        delete_op="delete_delivery_channel",
        name_property="Name",
    ),
    Simple(
        type_name="AWS::Config::ConfigRule",
        service="config",
        create_op="put_config_rule",
        within="ConfigRule",
        update_by={},
        made="@name",
        by={"ConfigRuleName": "@"},
        read_api=Api("describe_config_rules", {}, "ConfigRules[?ConfigRuleName=='{id}'] | [0]"),
        update_op="put_config_rule",
        delete_op="delete_config_rule",
        name_property="ConfigRuleName",
        attribute_paths={"Arn": "ConfigRuleArn", "ConfigRuleId": "ConfigRuleId"},
    ),
    Analyzer(
        type_name="AWS::AccessAnalyzer::Analyzer",
        service="accessanalyzer",
        create_op="create_analyzer",
        made="arn",
        by={},
        read_api=Api("list_analyzers", {}, "analyzers[?arn=='{id}'] | [0]"),
        name_property="AnalyzerName",
        name_limit=255,
        apart=("AnalyzerConfiguration",),
        tagging=Tagging(param="tags"),
        attribute_paths={"Arn": "@"},
    ),
    WebAcl(),
    WebAclAssociation(),
    Simple(
        type_name="AWS::WAFv2::LoggingConfiguration",
        service="wafv2",
        create_op="put_logging_configuration",
        within="LoggingConfiguration",
        update_by={},
        made="$ResourceArn",
        by={"ResourceArn": "@"},
        read_api=Api("get_logging_configuration", {"ResourceArn": "@"}, "LoggingConfiguration"),
        update_op="put_logging_configuration",
        delete_op="delete_logging_configuration",
    ),
)
