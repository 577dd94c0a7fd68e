"""The seeded accounts by name, for `passmuster sandbox up --account` and for tests that go through all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from passmuster.remediation.catalogue import data_folder
from passmuster.sandbox.accounts import empty, large, ready, review
from passmuster.sandbox.accounts.seeded import Seeded
from passmuster.sandbox.simulated_aws import SimulatedAWS


@dataclass(frozen=True, slots=True)
class Seed:
    """An account to choose: what it is, in words, and how it is built."""

    about: str
    build: Callable[[SimulatedAWS], Seeded]


def _review(aws: SimulatedAWS) -> Seeded:
    """The account of the review, under the policy of the examples folder."""
    account = review.seed(aws)
    return Seeded(
        account_id=account.account_id,
        regions=(account.region,),
        inspection_role_arn=account.inspection_role_arn,
        remediation_role_arn=account.remediation_role_arn,
        external_id=account.external_id,
        manifest=(data_folder("examples") / "shop.yaml").read_text(encoding="utf-8"),
    )


SEEDS: Mapping[str, Seed] = {
    "review": Seed("a shop at Foundation, with every gap of a production readiness review", _review),
    "empty": Seed("an account on its first day", empty.seed),
    "ready": Seed("the same shop, ready for Enterprise", ready.seed),
    "large": Seed("thousands of resources in two regions", large.seed),
}
