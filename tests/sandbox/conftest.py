"""The simulated AWS for the tests of the sandbox: one per module, because a process runs only one at a time.

It is fresh for every test.
"""

from collections.abc import Iterator

import pytest

from passmuster.sandbox.simulated_aws import SimulatedAWS


@pytest.fixture(scope="module")
def running_aws() -> Iterator[SimulatedAWS]:
    with SimulatedAWS() as aws:
        yield aws


@pytest.fixture
def aws(running_aws: SimulatedAWS) -> SimulatedAWS:
    running_aws.reset()
    return running_aws
