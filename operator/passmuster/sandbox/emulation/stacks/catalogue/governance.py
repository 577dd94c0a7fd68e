"""Resource types of governance: conformance packs, hooks of CloudFormation, Macie."""

import json
from collections.abc import Mapping
from typing import Any

from passmuster.sandbox.emulation.stacks.kinds import NO_TAGS, Api, Kind, Simple, Work, unless_gone
from passmuster.sandbox.emulation.stacks.model import Properties

_PUBLISHER = "arn:aws:cloudformation:{region}::type/hook/c830e97710da0c9954d80ba8df021e5439e7134b/AWS-Hooks-LambdaHook"


class LambdaHook(Kind):
    """AWS::CloudFormation::LambdaHook: a public extension, activated under an alias and configured; Ref is the ARN."""

    type_name = "AWS::CloudFormation::LambdaHook"

    def create(self, work: Work, properties: Properties) -> str:
        client = work.client("cloudformation")
        made = client.activate_type(
            Type="HOOK",
            PublicTypeArn=_PUBLISHER.format(region=work.place.region),
            TypeNameAlias=properties["Alias"],
            ExecutionRoleArn=properties["ExecutionRole"],
        )
        work.made(str(made["Arn"]))
        self.update(work, {}, properties)
        return work.physical_id

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        del old
        set_up: dict[str, Any] = {
            "TargetStacks": "ALL" if new["HookStatus"] == "ENABLED" else "NONE",
            "FailureMode": new["FailureMode"],
            "TargetOperations": new["TargetOperations"],
            "Properties": {"LambdaFunction": new["LambdaFunction"]},
            **{name: new[name] for name in ("TargetFilters", "StackFilters") if name in new},
        }
        configuration = {"CloudFormationConfiguration": {"HookConfiguration": set_up}}
        client = work.client("cloudformation")
        client.set_type_configuration(TypeArn=work.physical_id, Configuration=json.dumps(configuration))

    def read(self, work: Work) -> Any:
        return unless_gone(lambda: work.client("cloudformation").describe_type(Arn=work.physical_id))

    def live(self, work: Work, properties: Properties) -> Mapping[str, Any] | None:
        found = self.read(work)
        if found is None:
            return None
        kept = json.loads(found["ConfigurationSchema"])["CloudFormationConfiguration"]["HookConfiguration"]
        return {**properties, "FailureMode": kept["FailureMode"], "TargetOperations": kept["TargetOperations"]}

    def delete(self, work: Work, properties: Properties) -> None:
        del properties
        if self.read(work) is not None:
            work.client("cloudformation").deactivate_type(Arn=work.physical_id)

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        del properties
        return {"HookArn": work.physical_id}


class MacieSession(Kind):
    """AWS::Macie::Session, a setting of the account; Ref is the account."""

    type_name = "AWS::Macie::Session"

    def create(self, work: Work, properties: Properties) -> str:
        work.client("macie2").enable_macie(
            status=properties.get("Status", "ENABLED"),
            findingPublishingFrequency=properties.get("FindingPublishingFrequency", "SIX_HOURS"),
        )
        return work.made(work.place.account)

    def read(self, work: Work) -> Any:
        return unless_gone(work.client("macie2").get_macie_session, "AccessDeniedException")

    def delete(self, work: Work, properties: Properties) -> None:
        del properties
        if self.read(work) is not None:
            work.client("macie2").disable_macie()

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        del properties
        return {"AwsAccountId": work.physical_id}


KINDS: tuple[Kind, ...] = (
    LambdaHook(),
    MacieSession(),
    Simple(
        type_name="AWS::Config::ConformancePack",
        service="config",
        create_op="put_conformance_pack",
        made="@name",
        by={"ConformancePackName": "@"},
        read_api=Api("describe_conformance_packs", {"ConformancePackNames": ["@"]}, "ConformancePackDetails[0]"),
        update_op="put_conformance_pack",
        update_by={},
        delete_op="delete_conformance_pack",
        name_property="ConformancePackName",
        tagging=NO_TAGS,
        attribute_paths={"ConformancePackArn": "ConformancePackArn"},
    ),
    Simple(
        type_name="AWS::ElastiCache::ServerlessCache",
        service="elasticache",
        create_op="create_serverless_cache",
        made="@name",
        by={"ServerlessCacheName": "@"},
        read_api=Api("describe_serverless_caches", {"ServerlessCacheName": "@"}, "ServerlessCaches[0]"),
        update_op="modify_serverless_cache",
        delete_op="delete_serverless_cache",
        name_property="ServerlessCacheName",
        name_limit=40,
        name_lower=True,
        attribute_paths={
            "ARN": "ARN",
            "Endpoint.Address": "Endpoint.Address",
            "Endpoint.Port": "to_string(Endpoint.Port)",
            "ReaderEndpoint.Address": "ReaderEndpoint.Address",
        },
    ),
)
