"""Resource types of observability: alarms, topics, log groups, queues, rules, canaries."""

import json
from typing import Any

from passmuster.sandbox.emulation.stacks.kinds import Api, Kind, Refused, Simple, Step, Tagging, Work, zipped
from passmuster.sandbox.emulation.stacks.model import Properties

_LOG_GROUP_ARN = "arn:aws:logs:{region}:{account}:log-group:{id}"


class Topic(Simple):
    """AWS::SNS::Topic with its attributes and inline subscriptions; Ref is the ARN."""

    def create(self, work: Work, properties: Properties) -> str:
        arn = super().create(work, properties)
        for inline in properties.get("Subscription", []):
            work.client("sns").subscribe(TopicArn=arn, Protocol=inline["Protocol"], Endpoint=inline["Endpoint"])
        return arn

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        if old.get("Subscription") != new.get("Subscription"):
            raise Refused("the sandbox does not change inline subscriptions; use AWS::SNS::Subscription")
        super().update(work, old, new)

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        return super().attributes(work, properties) | {"TopicName": work.physical_id.split(":")[-1]}

    def delete(self, work: Work, properties: Properties) -> None:
        sns = work.client("sns")
        if self.read(work) is not None:
            for subscription in sns.list_subscriptions_by_topic(TopicArn=work.physical_id)["Subscriptions"]:
                if subscription["SubscriptionArn"].startswith("arn:"):
                    sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
        super().delete(work, properties)


def _topic_attribute(property_name: str, attribute: str, default: str = "") -> Step:
    return Step(
        property_name,
        put=lambda sns, arn, value: sns.set_topic_attributes(
            TopicArn=arn, AttributeName=attribute, AttributeValue=_text(value)
        ),
        drop=lambda sns, arn: sns.set_topic_attributes(TopicArn=arn, AttributeName=attribute, AttributeValue=default),
    )


def _subscription_attribute(name: str) -> Step:
    return Step(
        name,
        put=lambda sns, arn, value: sns.set_subscription_attributes(
            SubscriptionArn=arn, AttributeName=name, AttributeValue=_text(value)
        ),
    )


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


class TopicPolicy(Kind):
    """AWS::SNS::TopicPolicy: one document on several topics; taken away, the owner's default comes back."""

    type_name = "AWS::SNS::TopicPolicy"

    def create(self, work: Work, properties: Properties) -> str:
        work.made(work.physical_id or work.generated_name(128))
        for topic in properties["Topics"]:
            self._set(work, topic, json.dumps(properties["PolicyDocument"]))
        return work.physical_id

    def _set(self, work: Work, topic: str, policy: str) -> None:
        work.client("sns").set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)

    def read(self, work: Work) -> Any:
        return {"Id": work.physical_id}

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        for topic in set(old["Topics"]) - set(new["Topics"]):
            self._set(work, topic, _default_policy(topic))
        self.create(work, new)

    def delete(self, work: Work, properties: Properties) -> None:
        known = [topic["TopicArn"] for topic in work.client("sns").list_topics()["Topics"]]
        for topic in properties["Topics"]:
            if topic in known:
                self._set(work, topic, _default_policy(topic))

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        del properties
        return {"Id": work.physical_id}


def _default_policy(topic: str) -> str:
    owner = topic.split(":")[4]
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": ["SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:Subscribe", "SNS:Publish"],
        "Resource": topic,
        "Condition": {"StringEquals": {"AWS:SourceOwner": owner}},
    }
    return json.dumps({"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]})


class Queue(Simple):
    """AWS::SQS::Queue; Ref is the URL."""

    def create(self, work: Work, properties: Properties) -> str:
        attributes = {name: _text(value) for name, value in properties.items() if name not in ("QueueName", "Tags")}
        tags = {tag["Key"]: tag["Value"] for tag in work.all_tags(properties.get("Tags"))}
        sqs = work.client("sqs")
        answer = sqs.create_queue(QueueName=properties["QueueName"], Attributes=attributes, tags=tags)
        return work.made(str(answer["QueueUrl"]))

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        changed = {
            name: _text(value)
            for name, value in new.items()
            if name not in ("QueueName", "Tags") and old.get(name) != value
        }
        if changed:
            work.client("sqs").set_queue_attributes(QueueUrl=work.physical_id, Attributes=changed)

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        name, place = str(properties["QueueName"]), work.place
        arn = f"arn:aws:sqs:{place.region}:{place.account}:{name}"
        return {"Arn": arn, "QueueName": name, "QueueUrl": work.physical_id}


class Rule(Simple):
    """AWS::Events::Rule with its targets; Ref is the name."""

    def create(self, work: Work, properties: Properties) -> str:
        name = super().create(work, properties)
        self._target(work, {}, properties)
        return name

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        done = {"Targets"}
        super().update(work, {k: v for k, v in old.items() if k not in done}, {**new, "Targets": []})
        self._target(work, old, new)

    def _target(self, work: Work, old: Properties, new: Properties) -> None:
        kept = {target["Id"] for target in new.get("Targets", [])}
        gone = [target["Id"] for target in old.get("Targets", []) if target["Id"] not in kept]
        events = work.client("events")
        if gone:
            events.remove_targets(Rule=work.physical_id, Ids=gone)
        if new.get("Targets"):
            events.put_targets(Rule=work.physical_id, Targets=[dict(target) for target in new["Targets"]])

    def delete(self, work: Work, properties: Properties) -> None:
        ids = [target["Id"] for target in properties.get("Targets", [])]
        if ids and self.read(work) is not None:
            work.client("events").remove_targets(Rule=work.physical_id, Ids=ids)
        super().delete(work, properties)


class Canary(Simple):
    """AWS::Synthetics::Canary; Ref is the name. An inline script is packed, as CloudFormation does it."""

    def create(self, work: Work, properties: Properties) -> str:
        name = super().create(work, {**properties, "Code": _packed(properties["Code"])})
        if str(properties.get("StartCanaryAfterCreation", "")).lower() == "true":
            work.client("synthetics").start_canary(Name=name)
        return name

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        packed = ({**properties, "Code": _packed(properties["Code"])} for properties in (old, new))
        super().update(work, *packed)

    def delete(self, work: Work, properties: Properties) -> None:
        if self.read(work) is not None:
            work.client("synthetics").stop_canary(Name=work.physical_id)
        super().delete(work, properties)


def _packed(code: Properties) -> Properties:
    """The code as the API takes it; SourceLocationArn is CloudFormation's own and stays out."""
    kept = {name: value for name, value in code.items() if name not in ("Script", "SourceLocationArn")}
    return kept | ({"ZipFile": zipped("nodejs/node_modules/index.js", code["Script"])} if "Script" in code else {})


KINDS: tuple[Kind, ...] = (
    Simple(
        type_name="AWS::CloudWatch::Alarm",
        service="cloudwatch",
        create_op="put_metric_alarm",
        made="@name",
        by={"AlarmNames": ["@"]},
        read_api=Api("describe_alarms", {"AlarmNames": ["@"]}, "MetricAlarms[0]"),
        update_op="put_metric_alarm",
        update_by={},
        delete_op="delete_alarms",
        name_property="AlarmName",
        name_limit=255,
        tagging=Tagging(
            param="Tags",
            put=Api("tag_resource", {"ResourceARN": "@arn", "Tags": "@tags"}),
            take=Api("untag_resource", {"ResourceARN": "@arn", "TagKeys": "@keys"}),
        ),
        arn="arn:aws:cloudwatch:{region}:{account}:alarm:{id}",
        attribute_paths={"Arn": "AlarmArn"},
    ),
    Simple(
        type_name="AWS::CloudWatch::Dashboard",
        service="cloudwatch",
        create_op="put_dashboard",
        made="@name",
        by={"DashboardNames": ["@"]},
        read_api=Api("get_dashboard", {"DashboardName": "@"}),
        update_op="put_dashboard",
        update_by={},
        delete_op="delete_dashboards",
        name_property="DashboardName",
    ),
    Topic(
        type_name="AWS::SNS::Topic",
        service="sns",
        create_op="create_topic",
        made="TopicArn",
        by={"TopicArn": "@"},
        read_api=Api("get_topic_attributes", {"TopicArn": "@"}, "Attributes"),
        delete_op="delete_topic",
        name_property="TopicName",
        name_limit=256,
        renamed={"TopicName": "Name"},
        apart=("Subscription", "FifoTopic"),
        steps=(
            _topic_attribute("DisplayName", "DisplayName"),
            _topic_attribute("KmsMasterKeyId", "KmsMasterKeyId"),
            _topic_attribute("SignatureVersion", "SignatureVersion", "1"),
            _topic_attribute("TracingConfig", "TracingConfig", "PassThrough"),
        ),
        tagging=Tagging(
            param="Tags",
            put=Api("tag_resource", {"ResourceArn": "@", "Tags": "@tags"}),
            take=Api("untag_resource", {"ResourceArn": "@", "TagKeys": "@keys"}),
        ),
        attribute_paths={"TopicArn": "@"},
    ),
    TopicPolicy(),
    Simple(
        type_name="AWS::SNS::Subscription",
        service="sns",
        create_op="subscribe",
        made="SubscriptionArn",
        by={"SubscriptionArn": "@"},
        read_api=Api("get_subscription_attributes", {"SubscriptionArn": "@"}, "Attributes"),
        delete_op="unsubscribe",
        fixed={"ReturnSubscriptionArn": True},
        apart=("Region",),
        steps=(
            _subscription_attribute("FilterPolicy"),
            _subscription_attribute("FilterPolicyScope"),
            _subscription_attribute("RawMessageDelivery"),
            _subscription_attribute("RedrivePolicy"),
            _subscription_attribute("DeliveryPolicy"),
        ),
        attribute_paths={"Arn": "@"},
    ),
    Simple(
        type_name="AWS::Logs::LogGroup",
        service="logs",
        create_op="create_log_group",
        made="@name",
        by={"logGroupName": "@"},
        read_api=Api("describe_log_groups", {"logGroupNamePrefix": "@"}, "logGroups[?logGroupName=='{id}'] | [0]"),
        delete_op="delete_log_group",
        name_property="LogGroupName",
        name_limit=512,
        steps=(
            Step(
                "RetentionInDays",
                put=lambda logs, name, value: logs.put_retention_policy(logGroupName=name, retentionInDays=int(value)),
                drop=lambda logs, name: logs.delete_retention_policy(logGroupName=name),
            ),
            Step(
                "KmsKeyId",
                put=lambda logs, name, value: logs.associate_kms_key(logGroupName=name, kmsKeyId=value),
                drop=lambda logs, name: logs.disassociate_kms_key(logGroupName=name),
                after_creation=False,
            ),
        ),
        tagging=Tagging(
            param="tags",
            put=Api("tag_resource", {"resourceArn": "@arn", "tags": "@tags"}),
            take=Api("untag_resource", {"resourceArn": "@arn", "tagKeys": "@keys"}),
        ),
        arn=_LOG_GROUP_ARN,
        attribute_paths={"Arn": "arn"},
    ),
    Simple(
        type_name="AWS::Logs::MetricFilter",
        service="logs",
        create_op="put_metric_filter",
        made="@name",
        by={"filterName": "@", "logGroupName": "$LogGroupName"},
        read_api=Api("describe_metric_filters", {"filterNamePrefix": "@"}, "metricFilters[?filterName=='{id}'] | [0]"),
        update_op="put_metric_filter",
        update_by={},
        delete_op="delete_metric_filter",
        name_property="FilterName",
    ),
    Simple(
        type_name="AWS::Logs::ResourcePolicy",
        service="logs",
        create_op="put_resource_policy",
        made="@name",
        by={"policyName": "@"},
        read_api=Api("describe_resource_policies", {}, "resourcePolicies[?policyName=='{id}'] | [0]"),
        update_op="put_resource_policy",
        delete_op="delete_resource_policy",
        name_property="PolicyName",
    ),
    Queue(
        type_name="AWS::SQS::Queue",
        service="sqs",
        create_op="create_queue",
        made="QueueUrl",
        by={"QueueUrl": "@"},
        read_api=Api("get_queue_attributes", {"QueueUrl": "@", "AttributeNames": ["All"]}, "Attributes"),
        delete_op="delete_queue",
        name_property="QueueName",
        name_limit=80,
    ),
    Rule(
        type_name="AWS::Events::Rule",
        service="events",
        create_op="put_rule",
        made="@name",
        by={"Name": "@"},
        read_api=Api("describe_rule", {"Name": "@"}),
        update_op="put_rule",
        delete_op="delete_rule",
        name_property="Name",
        name_limit=64,
        apart=("Targets",),
        attribute_paths={"Arn": "Arn"},
    ),
    Canary(
        type_name="AWS::Synthetics::Canary",
        service="synthetics",
        create_op="create_canary",
        made="@name",
        by={"Name": "@"},
        read_api=Api("get_canary", {"Name": "@"}, "Canary"),
        update_op="update_canary",
        delete_op="delete_canary",
        renamed={
            "SuccessRetentionPeriod": "SuccessRetentionPeriodInDays",
            "FailureRetentionPeriod": "FailureRetentionPeriodInDays",
        },
        name_property="Name",
        name_limit=21,
        name_lower=True,
        apart=("StartCanaryAfterCreation",),
        tagging=Tagging(param="Tags"),
        attribute_paths={"Id": "Id", "State": "Status.State"},
    ),
)
