"""ACM: certificates that are issued when their validation record is in a public zone, and say who uses them.

moto issues every certificate by the clock. Here a certificate validated by DNS stays PENDING_VALIDATION until the
CNAME it asks for exists in a public hosted zone of any simulated account; one validated by e-mail stays pending, since
nobody reads the mail. Imported ones are issued at once. Served by front.py, used by stacks/ for
AWS::CertificateManager::Certificate.
"""

import hashlib
from datetime import timedelta
from typing import Any

from moto.acm.models import acm_backends
from moto.cloudfront.models import cloudfront_backends
from moto.core.utils import utcnow
from moto.elbv2.models import elbv2_backends
from moto.route53.models import route53_backends

from passmuster.sandbox.emulation import wire
from passmuster.sandbox.emulation.operation import Handling, Operations, Output, Place

_VALID_FOR = timedelta(days=395)
_UNTIL_ISSUED = ("IssuedAt", "NotAfter", "NotBefore", "Serial", "Issuer", "Subject")


def request_certificate(handling: Handling) -> Output:
    """RequestCertificate, remembering the validation method and the key algorithm that moto drops."""
    answer = handling.moto()
    _asked(handling.place)[answer["CertificateArn"]] = {
        "method": handling.params.get("ValidationMethod", "EMAIL"),
        "algorithm": handling.params.get("KeyAlgorithm", "RSA_2048"),
    }
    return answer


def describe_certificate(handling: Handling) -> Output:
    settle(handling.place)
    answer = handling.moto()
    certificate = answer["Certificate"]
    certificate["InUseBy"] = in_use_by(handling.place, certificate["CertificateArn"])
    if certificate["Type"] == "AMAZON_ISSUED":
        _amend(handling.place, certificate)
    return answer


def list_certificates(handling: Handling) -> Output:
    settle(handling.place)
    answer = handling.moto()
    for summary in answer["CertificateSummaryList"]:
        summary["InUse"] = bool(in_use_by(handling.place, summary["CertificateArn"]))
        if summary.get("Type") == "AMAZON_ISSUED":
            summary["KeyAlgorithm"] = (
                _asked(handling.place).get(summary["CertificateArn"], {}).get("algorithm", "RSA_2048")
            )
            if summary["Status"] == "ISSUED":
                summary["NotAfter"] = summary["NotBefore"] + _VALID_FOR
    return answer


def settled(handling: Handling) -> Output:
    """Operations whose answer depends only on the status."""
    settle(handling.place)
    return handling.moto()


def delete_certificate(handling: Handling) -> Output:
    """DeleteCertificate, refused while something uses the certificate."""
    arn = str(handling.params["CertificateArn"])
    if in_use_by(handling.place, arn):
        message = f"Certificate {arn} in account {handling.call.account} is in use."
        raise wire.AWSError("ResourceInUseException", message, 400)
    return handling.moto()


def _amend(place: Place, certificate: Output) -> None:
    asked = _asked(place).get(certificate["CertificateArn"], {"method": "DNS", "algorithm": "RSA_2048"})
    issued = certificate["Status"] == "ISSUED"
    certificate["KeyAlgorithm"] = asked["algorithm"].replace("RSA_", "RSA-")
    certificate["RenewalEligibility"] = "ELIGIBLE" if issued and certificate["InUseBy"] else "INELIGIBLE"
    certificate["DomainValidationOptions"] = [
        _validation(place, option["DomainName"], asked["method"], issued=issued)
        for option in certificate["DomainValidationOptions"]
    ]
    if issued:
        certificate["NotAfter"] = certificate["NotBefore"] + _VALID_FOR
    else:
        for name in _UNTIL_ISSUED:
            certificate.pop(name, None)


def _validation(place: Place, domain: str, method: str, *, issued: bool) -> Output:
    option: Output = {
        "DomainName": domain,
        "ValidationDomain": domain,
        "ValidationMethod": method,
        "ValidationStatus": "SUCCESS" if issued else "PENDING_VALIDATION",
    }
    if method == "DNS":
        name, value = validation_record(place.account, domain)
        option["ResourceRecord"] = {"Name": name, "Type": "CNAME", "Value": value}
    return option


def validation_record(account: str, domain: str) -> tuple[str, str]:
    """(name, value) of the CNAME that validates a domain; the same for every certificate of the account."""
    bare = domain.removeprefix("*.")
    left, right = (hashlib.sha256(f"{side}{account}{bare}".encode()).hexdigest()[:32] for side in ("name", "value"))
    return f"_{left}.{bare}.", f"_{right}.sandboxval.acm-validations.aws."


def settle(place: Place) -> None:
    """Issue every pending certificate of the region whose records are all there."""
    for certificate in acm_backends[place.account][place.region]._certificates.values():
        pending = certificate.type == "AMAZON_ISSUED" and certificate.status == "PENDING_VALIDATION"
        method = _asked(place).get(certificate.arn, {}).get("method", "DNS")
        if pending and method == "DNS" and all(_validated(place, domain) for domain in _domains(certificate)):
            certificate.status = "ISSUED"
            certificate.created_at = utcnow()


def _domains(certificate: Any) -> set[str]:
    return {certificate.common_name, *certificate.sans}


def _validated(place: Place, domain: str) -> bool:
    name, value = validation_record(place.account, domain)
    return any(
        record.type == "CNAME" and record.name.rstrip(".") == name.rstrip(".") and _points_to(record, value)
        for partitions in list(route53_backends.values())
        for zone in list(partitions["aws"].zones.values())
        if not zone.private_zone
        for record in zone.rrsets
    )


def _points_to(record: Any, value: str) -> bool:
    return any(_text(target).rstrip(".") == value.rstrip(".") for target in record.records)


def _text(target: Any) -> str:
    return str(target["Value"]) if isinstance(target, dict) else str(target)


def in_use_by(place: Place, arn: str) -> list[str]:
    """The load balancers and distributions that present this certificate."""
    balancers = elbv2_backends[place.account][place.region].load_balancers.values()
    using = [
        balancer.arn
        for balancer in balancers
        if any(arn in _presented(listener) for listener in balancer.listeners.values())
    ]
    distributions = cloudfront_backends[place.account]["aws"].distributions.values()
    return using + [distribution.arn for distribution in distributions if arn in str(vars(_viewer(distribution)))]


def _presented(listener: Any) -> list[str]:
    return [listener.certificate, *listener.certificates]


def _viewer(distribution: Any) -> Any:
    return distribution.distribution_config.ViewerCertificate


def _asked(place: Place) -> dict[str, dict[str, str]]:
    return place.state("acm")


OPERATIONS: Operations = {
    ("acm", "RequestCertificate"): request_certificate,
    ("acm", "DescribeCertificate"): describe_certificate,
    ("acm", "ListCertificates"): list_certificates,
    ("acm", "GetCertificate"): settled,
    ("acm", "DeleteCertificate"): delete_certificate,
}
