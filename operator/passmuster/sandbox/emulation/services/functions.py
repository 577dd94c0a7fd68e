"""Lambda: functions that lie in the network of their subnets.

moto tells the same invented network for every function, and the check of connection pooling asks which functions are
beside a database. Served by front.py.
"""

from typing import Any

from passmuster.sandbox.emulation.operation import Handling, Operations, Output, Place


def list_functions(handling: Handling) -> Output:
    answer = handling.moto()
    for function in answer["Functions"]:
        _locate(handling.place, function)
    return answer


def get_function_configuration(handling: Handling) -> Output:
    answer = handling.moto()
    _locate(handling.place, answer)
    return answer


def _locate(place: Place, function: Output) -> None:
    network: dict[str, Any] = function.get("VpcConfig") or {}
    subnets = network.get("SubnetIds")
    if subnets:
        found = place.client("ec2").describe_subnets(SubnetIds=subnets[:1])["Subnets"]
        network["VpcId"] = found[0]["VpcId"]


OPERATIONS: Operations = {
    ("lambda", "ListFunctions"): list_functions,
    ("lambda", "GetFunctionConfiguration"): get_function_configuration,
}
