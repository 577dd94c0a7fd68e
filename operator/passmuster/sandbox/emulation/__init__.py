"""The extensions that make moto honest enough to be trusted by tests of an operator. `simulated_aws` is the way in.

wire.py       which operation a request means, how answers and errors are written
front.py      every request passes here: log, faults, access, overlays, emulated operations, moto
server.py     HTTP on loopback, able to break a connection
faults.py     what can go wrong        overlays.py   facts that no emulator has
operation.py  what an emulated operation is given
access/       IAM and STS              services/     operations that moto lacks        stacks/   CloudFormation
"""
