"""Resource types of IAM. Roles and policies are what capabilities guard and what monitoring and backup roles need."""

import json
from typing import Any

from botocore.exceptions import ClientError

from passmuster.sandbox.emulation.stacks.kinds import Api, Kind, Refused, Simple, Step, Tagging, Work
from passmuster.sandbox.emulation.stacks.model import Properties


class Role(Kind):
    """AWS::IAM::Role with its inline and attached policies; Ref is the name."""

    type_name = "AWS::IAM::Role"
    name_property = "RoleName"
    name_limit = 64

    def create(self, work: Work, properties: Properties) -> str:
        iam = work.client("iam")
        kept = ("RoleName", "Path", "Description", "PermissionsBoundary")
        plain: dict[str, Any] = {name: properties[name] for name in kept if name in properties}
        if "MaxSessionDuration" in properties:
            plain["MaxSessionDuration"] = int(properties["MaxSessionDuration"])
        trust = json.dumps(properties["AssumeRolePolicyDocument"])
        tags = work.all_tags(properties.get("Tags"))
        iam.create_role(**plain, AssumeRolePolicyDocument=trust, Tags=tags)
        work.made(str(properties["RoleName"]))
        self._policies(work, {}, properties)
        return work.physical_id

    def _policies(self, work: Work, old: Properties, new: Properties) -> None:
        iam, role = work.client("iam"), work.physical_id
        before, after = set(old.get("ManagedPolicyArns", [])), set(new.get("ManagedPolicyArns", []))
        for arn in sorted(before - after):
            iam.detach_role_policy(RoleName=role, PolicyArn=arn)
        for arn in sorted(after - before):
            iam.attach_role_policy(RoleName=role, PolicyArn=arn)
        names = {policy["PolicyName"] for policy in new.get("Policies", [])}
        for policy in old.get("Policies", []):
            if policy["PolicyName"] not in names:
                iam.delete_role_policy(RoleName=role, PolicyName=policy["PolicyName"])
        for policy in new.get("Policies", []):
            document = json.dumps(policy["PolicyDocument"])
            iam.put_role_policy(RoleName=role, PolicyName=policy["PolicyName"], PolicyDocument=document)

    def read(self, work: Work) -> Any:
        return _found(lambda: work.client("iam").get_role(RoleName=work.physical_id)["Role"])

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        iam, role = work.client("iam"), work.physical_id
        if old.get("AssumeRolePolicyDocument") != new["AssumeRolePolicyDocument"]:
            iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(new["AssumeRolePolicyDocument"]))
        iam.update_role(
            RoleName=role,
            Description=str(new.get("Description", "")),
            MaxSessionDuration=int(new.get("MaxSessionDuration", 3600)),
        )
        iam.tag_role(RoleName=role, Tags=work.all_tags(new.get("Tags")))
        self._policies(work, old, new)

    def delete(self, work: Work, properties: Properties) -> None:
        if self.read(work) is None:
            return
        iam, role = work.client("iam"), work.physical_id
        for arn in properties.get("ManagedPolicyArns", []):
            iam.detach_role_policy(RoleName=role, PolicyArn=arn)
        for policy in properties.get("Policies", []):
            iam.delete_role_policy(RoleName=role, PolicyName=policy["PolicyName"])
        iam.delete_role(RoleName=role)

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        del properties
        found = self.read(work)
        return {"Arn": found["Arn"], "RoleId": found["RoleId"]}


def _found(read: Any) -> Any:
    try:
        return read()
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchEntity":
            return None
        raise


class InlinePolicy(Kind):
    """AWS::IAM::Policy and AWS::IAM::RolePolicy: one document inside roles, users and groups."""

    _OWNERS = (("Roles", "role", "RoleName"), ("Users", "user", "UserName"), ("Groups", "group", "GroupName"))

    def __init__(self, type_name: str) -> None:
        self.type_name = type_name

    def _owners(self, properties: Properties) -> list[tuple[str, str, str]]:
        if "RoleName" in properties:
            return [("role", "RoleName", str(properties["RoleName"]))]
        return [(kind, key, str(n)) for plural, kind, key in self._OWNERS for n in properties.get(plural, [])]

    def create(self, work: Work, properties: Properties) -> str:
        work.made(work.physical_id or self._id(work, properties))
        for kind, key, owner in self._owners(properties):
            put = getattr(work.client("iam"), f"put_{kind}_policy")
            document = json.dumps(properties["PolicyDocument"])
            put(**{key: owner}, PolicyName=properties["PolicyName"], PolicyDocument=document)
        return work.physical_id

    def _id(self, work: Work, properties: Properties) -> str:
        if "RoleName" in properties:
            return f"{properties['PolicyName']}|{properties['RoleName']}"
        return work.generated_name(64)

    def read(self, work: Work) -> Any:
        if "|" not in work.physical_id:
            return {"PolicyName": work.physical_id}
        policy, role = work.physical_id.split("|")
        return _found(lambda: work.client("iam").get_role_policy(RoleName=role, PolicyName=policy))

    def live(self, work: Work, properties: Properties) -> Any:
        owners = [owner for kind, _, owner in self._owners(properties) if kind == "role"]
        found = [
            _found(lambda o=o: work.client("iam").get_role_policy(RoleName=o, PolicyName=properties["PolicyName"]))
            for o in owners
        ]
        return {} if all(found) else None

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        gone = [owner for owner in self._owners(old) if owner not in self._owners(new)]
        renamed = old["PolicyName"] != new["PolicyName"]
        for kind, key, owner in self._owners(old) if renamed else gone:
            getattr(work.client("iam"), f"delete_{kind}_policy")(**{key: owner}, PolicyName=old["PolicyName"])
        self.create(work, new)

    def delete(self, work: Work, properties: Properties) -> None:
        for kind, key, owner in self._owners(properties):
            take = getattr(work.client("iam"), f"delete_{kind}_policy")
            _found(lambda t=take, k=key, o=owner: t(**{k: o}, PolicyName=properties["PolicyName"]))


class ManagedPolicy(Kind):
    """AWS::IAM::ManagedPolicy; Ref is the ARN."""

    type_name = "AWS::IAM::ManagedPolicy"
    name_property = "ManagedPolicyName"

    def create(self, work: Work, properties: Properties) -> str:
        plain = {name: properties[name] for name in ("Path", "Description") if name in properties}
        answer = work.client("iam").create_policy(
            PolicyName=properties["ManagedPolicyName"], PolicyDocument=json.dumps(properties["PolicyDocument"]), **plain
        )
        work.made(str(answer["Policy"]["Arn"]))
        for role in properties.get("Roles", []):
            work.client("iam").attach_role_policy(RoleName=role, PolicyArn=work.physical_id)
        return work.physical_id

    def read(self, work: Work) -> Any:
        return _found(lambda: work.client("iam").get_policy(PolicyArn=work.physical_id)["Policy"])

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        iam, arn = work.client("iam"), work.physical_id
        if old["PolicyDocument"] != new["PolicyDocument"]:
            current = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            iam.create_policy_version(
                PolicyArn=arn, PolicyDocument=json.dumps(new["PolicyDocument"]), SetAsDefault=True
            )
            iam.delete_policy_version(PolicyArn=arn, VersionId=current)
        before, after = set(old.get("Roles", [])), set(new.get("Roles", []))
        for role in sorted(before - after):
            iam.detach_role_policy(RoleName=role, PolicyArn=arn)
        for role in sorted(after - before):
            iam.attach_role_policy(RoleName=role, PolicyArn=arn)

    def delete(self, work: Work, properties: Properties) -> None:
        if self.read(work) is None:
            return
        for role in properties.get("Roles", []):
            _found(lambda r=role: work.client("iam").detach_role_policy(RoleName=r, PolicyArn=work.physical_id))
        work.client("iam").delete_policy(PolicyArn=work.physical_id)

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        del properties
        return {"PolicyArn": work.physical_id, "PolicyId": self.read(work)["PolicyId"]}


class InstanceProfile(Simple):
    """AWS::IAM::InstanceProfile; Ref is the name."""

    def create(self, work: Work, properties: Properties) -> str:
        name = super().create(work, properties)
        for role in properties["Roles"]:
            work.client("iam").add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
        return name

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        if old != new:
            raise Refused(f"the sandbox does not change the role of instance profile {work.physical_id}")

    def delete(self, work: Work, properties: Properties) -> None:
        if self.read(work) is not None:
            for role in properties["Roles"]:
                work.client("iam").remove_role_from_instance_profile(
                    InstanceProfileName=work.physical_id, RoleName=role
                )
        super().delete(work, properties)


KINDS: tuple[Kind, ...] = (
    Role(),
    InlinePolicy("AWS::IAM::Policy"),
    InlinePolicy("AWS::IAM::RolePolicy"),
    ManagedPolicy(),
    InstanceProfile(
        type_name="AWS::IAM::InstanceProfile",
        service="iam",
        create_op="create_instance_profile",
        made="InstanceProfile.InstanceProfileName",
        by={"InstanceProfileName": "@"},
        read_api=Api("get_instance_profile", {"InstanceProfileName": "@"}, "InstanceProfile"),
        delete_op="delete_instance_profile",
        name_property="InstanceProfileName",
        apart=("Roles",),
        attribute_paths={"Arn": "Arn"},
    ),
    Simple(
        type_name="AWS::IAM::User",
        service="iam",
        create_op="create_user",
        made="User.UserName",
        by={"UserName": "@"},
        read_api=Api("get_user", {"UserName": "@"}, "User"),
        delete_op="delete_user",
        name_property="UserName",
        name_limit=64,
        steps=(
            Step(
                "ManagedPolicyArns",
                put=lambda iam, user, value: [iam.attach_user_policy(UserName=user, PolicyArn=arn) for arn in value],
            ),
        ),
        tagging=Tagging(param="Tags"),
        attribute_paths={"Arn": "Arn"},
    ),
)
