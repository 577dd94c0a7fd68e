"""Who can change anything in an account: the shape of the code that sends it, read from the code itself.

::

    engine.remediate > engine.ways > aws.stacks, aws.steps > aws.actor.Actor.mutate > the gate > AWS
    engine.ending (a policy that goes) ------^

There is no other way: the rest of the program sends declared reads, assumes roles and writes reports.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache

from test_layers import trees

SENDERS = {
    "aws/actor.py": "remediations",
    "aws/evidence_bucket.py": "full reports, by a role of their own",
    "aws/identity.py": "who one is, and the roles one assumes",
    "aws/transport.py": "declared reads",
}
"""The modules that hold a client of AWS, and what for."""

CHANGING = {"create_change_set", "execute", "delete_change_set", "delete"}
"""The methods of `aws.stacks.Stacks` that change something."""


@cache
def product() -> Mapping[str, ast.Module]:
    """Every module but the sandbox's, by its path."""
    return {name: tree for name, tree in trees().items() if not name.startswith("sandbox/")}


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _named(call: ast.Call) -> tuple[str, str]:
    """What a method is called on, in short, and its name: `self._actor.mutate` is (`_actor`, `mutate`)."""
    if not isinstance(call.func, ast.Attribute):
        return "", ast.unparse(call.func)
    return ast.unparse(call.func.value).rpartition(".")[2], call.func.attr


@cache
def _called() -> Mapping[str, frozenset[tuple[str, str]]]:
    """What each module calls: methods on what they are called on, and on anything."""
    named = {name: {_named(call) for call in _calls(tree)} for name, tree in product().items()}
    return {
        name: frozenset((owner, method) for one, method in calls for owner in (one, ""))
        for name, calls in named.items()
    }


def _where(*methods: tuple[str, str]) -> set[str]:
    """The modules that call one of these; an empty owner is any."""
    return {name for name, calls in _called().items() if calls.intersection(methods)}


def test_few_modules_hold_a_client_of_aws() -> None:
    assert _where(("_clients", "client"), ("clients", "client")) == set(SENDERS)
    makers = _where(("", "create_client"), ("boto3", "client"), ("boto3", "Session"), ("boto3", "resource"))
    assert makers == {"aws/clients.py"}


def test_what_changes_an_account_goes_through_one_method_which_asks_its_gate_first() -> None:
    assert _where(("", "mutate")) == {"aws/stacks.py", "aws/steps.py"}
    (actor,) = (n for n in product()["aws/actor.py"].body if isinstance(n, ast.ClassDef) and n.name == "Actor")
    (mutate,) = (n for n in actor.body if isinstance(n, ast.FunctionDef) and n.name == "mutate")
    first = next(statement for statement in mutate.body if not _is_text(statement))
    assert ast.unparse(first) == "self.gate()"


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def test_an_actor_is_made_in_one_place_with_the_remediation_role_and_the_lease_as_its_gate() -> None:
    made = {name: call for name, tree in product().items() for call in _calls(tree) if _named(call) == ("", "Actor")}
    assert set(made) == {"engine/reconcile.py"}
    assert [ast.unparse(argument) for argument in made["engine/reconcile.py"].args][4] == "gate"
    (function,) = (
        node
        for node in ast.walk(product()["engine/reconcile.py"])
        if isinstance(node, ast.FunctionDef) and node.name == "_actor"
    )
    assert ast.unparse(function.body[0]) == "target = remediation_target(governed)"
    (gate,) = (node for node in ast.walk(function) if isinstance(node, ast.FunctionDef) and node.name == "gate")
    (refusal,) = gate.body
    assert isinstance(refusal, ast.If)
    assert ast.unparse(refusal.test) == "not services.cluster.leading()"
    assert isinstance(refusal.body[0], ast.Raise)
    assert _where(("", "Stacks")) == {"engine/reconcile.py"}


def test_only_the_ways_change_stacks_and_a_policy_that_goes_deletes_its_own() -> None:
    calling = _where(*((owner, method) for owner in ("stacks", "_stacks") for method in CHANGING))
    ways = {name for name in calling if name.startswith("engine/ways/")}
    assert calling - ways == {"engine/ending.py"}
    deleting = [
        _named(call)[1]
        for call in _calls(product()["engine/ending.py"])
        if _named(call)[0] in ("stacks", "_stacks") and _named(call)[1] in CHANGING
    ]
    assert deleting == ["delete"]
    assert _where(("steps", "call"), ("_steps", "call")) == {"engine/ways/api_step.py"}


def test_only_the_state_machine_carries_a_way_out() -> None:
    """It alone counts approvals, windows, costs and turns; what asks a way to do something stands in it."""
    imported = {
        name
        for name, tree in product().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("passmuster.engine.ways")
    }
    assert {name for name in imported if not name.startswith("engine/ways/")} == {
        "engine/ending.py",
        "engine/remediate.py",
    }
    made = {one: _where(("", one)) for one in ("Additive", "Adoption", "ApiSteps", "OwnerStack")}
    assert set(map(frozenset, made.values())) == {frozenset({"engine/remediate.py"})}
