"""Every public endpoint speaks TLS 1.2 or newer with a certificate that stays valid and covers its names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import Call
from passmuster.inventory.operations.apigateway import DOMAIN_NAMES
from passmuster.inventory.operations.cloudfront import DISTRIBUTIONS, STORED_CERTIFICATES
from passmuster.inventory.operations.elbv2 import LISTENERS, LOAD_BALANCERS, SSL_POLICIES
from passmuster.inventory.operations.endpoints import NAME_CALLS, plain, public_balancers, records_to, state
from passmuster.inventory.snapshot import Row, View, any_of, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

KEPT = (
    "Certificate.{Arn: CertificateArn, Status: Status, Type: Type, NotAfter: NotAfter, KeyAlgorithm: KeyAlgorithm, "
    "RenewalEligibility: RenewalEligibility, Renewal: RenewalSummary.RenewalStatus, DomainName: DomainName, "
    "Names: SubjectAlternativeNames, Validation: DomainValidationOptions[].ValidationMethod}"
)
GONE = ("ResourceNotFoundException",)

LISTENER_CERTIFICATES = Call(
    "elbv2",
    "DescribeListenerCertificates",
    each=LISTENERS,
    over="[@][?Protocol=='HTTPS' || Protocol=='TLS'].ListenerArn",
    param="ListenerArn",
    items="Certificates",
    keep=("CertificateArn",),
    absent=("ListenerNotFound",),
)
"""The certificates a listener chooses from by server name, beside its default."""

DEFAULT_CERTIFICATES = Call(
    "acm",
    "DescribeCertificate",
    each=LISTENERS,
    over="Certificates[?contains(CertificateArn, ':acm:')].CertificateArn",
    param="CertificateArn",
    keep=KEPT,
    absent=GONE,
)
FURTHER_CERTIFICATES = Call(
    "acm",
    "DescribeCertificate",
    each=LISTENER_CERTIFICATES,
    over="[@][?contains(CertificateArn, ':acm:')].CertificateArn",
    param="CertificateArn",
    keep=KEPT,
    absent=GONE,
)
DISTRIBUTION_CERTIFICATES = Call(
    "acm",
    "DescribeCertificate",
    each=DISTRIBUTIONS,
    over="ViewerCertificate.ACMCertificateArn",
    param="CertificateArn",
    keep=KEPT,
    absent=GONE,
)
EDGE_CERTIFICATES = Call(
    "acm",
    "DescribeCertificate",
    each=DOMAIN_NAMES,
    over="certificateArn",
    param="CertificateArn",
    region_of="'us-east-1'",
    keep=KEPT,
    absent=GONE,
)
"""An edge-optimized API domain has its certificate where CloudFront has it."""

REGIONAL_CERTIFICATES = Call(
    "acm",
    "DescribeCertificate",
    each=DOMAIN_NAMES,
    over="regionalCertificateArn",
    param="CertificateArn",
    keep=KEPT,
    absent=GONE,
)

TLS = ("HTTPS", "TLS")
MODERN = frozenset({"TLSv1.2", "TLSv1.3"})
EXPECTED = "TLS 1.2 or newer with an issued certificate that stays valid and covers the names in DNS"
MODERN_BY_NAME = re.compile(r"TLS13-1-[23]-|TLS-1-2-|FS-1-2-")
"""Policies newer than AWS's own list of them say in their name what they accept at least."""

MODERN_AT_EDGE = re.compile(r"TLSv1\.[23]_")
POLICY = "policy"

Faults = Callable[[], Iterator[str]]
"""What is wrong, in phrases. Those that were seen come first; what could not be read raises after them."""


@check(
    title="TLS certificates are valid",
    category=Category.SECURITY,
    phase=Phase.PRODUCTION,
    severity=Severity.CRITICAL,
    fix="AI",
    per="account",
    calls=(
        LOAD_BALANCERS,
        LISTENERS,
        SSL_POLICIES,
        LISTENER_CERTIFICATES,
        DEFAULT_CERTIFICATES,
        FURTHER_CERTIFICATES,
        DISTRIBUTIONS,
        DISTRIBUTION_CERTIFICATES,
        STORED_CERTIFICATES,
        DOMAIN_NAMES,
        EDGE_CERTIFICATES,
        REGIONAL_CERTIFICATES,
        *NAME_CALLS,
    ),
    nothing="No public load balancer, distribution or API domain could terminate TLS",
    parameters=(
        Parameter(
            "minDaysLeft",
            Kind.INTEGER,
            30,
            Stricter.HIGHER,
            "Days a certificate must still be valid if it is not renewed by itself.",
            minimum=1,
            maximum=365,
        ),
    ),
    controls=Controls(
        config=(
            "ACM_CERTIFICATE_EXPIRATION_CHECK",
            "ELBV2_ACM_CERTIFICATE_REQUIRED",
            "ELBV2_PREDEFINED_SECURITY_POLICY_SSL_CHECK",
        ),
        security_hub=("ACM.1", "ACM.2", "ELB.17", "ELB.18", "CloudFront.7"),
        well_architected=("SEC09-BP01", "SEC09-BP02"),
    ),
)
def tls_certificates_valid(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """An expired certificate takes the whole site down at once, and clear text shows everything to everyone.

    Judged are internet-facing application load balancers, network load balancers with a TLS listener, enabled
    distributions and public API domains. An application load balancer without a TLS listener fails, whatever
    certificates the account has. A certificate must be in ACM and issued, its key at least RSA 2048 or elliptic, and
    valid for longer than `minDaysLeft`, unless ACM renews it by itself: then time left does not matter while it is in
    use. One that ACM issued must be validated by DNS (or by CloudFront itself), because renewal by e-mail waits for a
    person; an imported one passes with time left. Every certificate of a listener is judged, those chosen by server
    name too. The names that public hosted zones point at a load balancer must be covered by the certificates of its
    listener on port 443, or of each TLS listener where none has that port; without a record there is nothing to cover.
    CloudFront's own certificate fails, because with it CloudFront accepts TLS 1.0. Policies without TLS 1.3 pass with a
    warning.
    """
    validity = _Validity(evidence.now, timedelta(days=parameters["minDaysLeft"]))
    for subjects in (_balancers, _distributions, _domains):
        with view.judging(view.account_id):
            yield from subjects(view, validity)


@dataclass(frozen=True, slots=True)
class _Validity:
    """How long a certificate must last, seen from one time."""

    now: datetime
    left: timedelta

    def faults(self, certificate: Row) -> Iterator[str]:
        """What is wrong with a certificate of ACM."""
        if certificate.get("Status") != "ISSUED":
            yield f"certificate is {certificate.get('Status')}"
        if str(certificate.get("KeyAlgorithm") or "").replace("-", "_") in ("RSA_512", "RSA_1024"):
            yield f"key is {certificate['KeyAlgorithm']}"
        if certificate.get("Type") == "PRIVATE":
            yield "certificate is of a private authority"
        if certificate.get("Type") != "IMPORTED" and "EMAIL" in (certificate.get("Validation") or ()):
            yield "certificate is validated by e-mail"
        yield from self.age(certificate.get("NotAfter"), renewed=_renews(certificate))

    def age(self, expires: datetime | None, *, renewed: bool = False) -> Iterator[str]:
        """What is wrong with the time left."""
        if expires is None:
            yield "certificate without an end date"
        elif expires <= self.now:
            yield f"certificate expired on {expires:%Y-%m-%d}"
        elif expires - self.now <= self.left and not renewed:
            yield f"certificate expires on {expires:%Y-%m-%d}"


def _renews(certificate: Row) -> bool:
    eligible = certificate.get("RenewalEligibility") == "ELIGIBLE" and certificate.get("Renewal") != "FAILED"
    return eligible and certificate.get("Type") != "IMPORTED"


def _covers(certificate: Row, domain: str) -> bool:
    names = {plain(name) for name in (certificate.get("DomainName"), *(certificate.get("Names") or ())) if name}
    return domain in names or f"*.{domain.partition('.')[2]}" in names


def _verdict(
    row: Row,
    arn: str,
    name: str,
    conditions: Mapping[str, Faults],
    facts: Mapping[str, str],
    warnings: Callable[[], tuple[str, ...]] = tuple,
) -> Finding:
    observed: list[str] = []

    def clean(faults: Faults) -> bool:
        fault = next(faults(), None)
        observed.extend([fault] if fault else [])
        return fault is None

    wrong = unmet({phrase: partial(clean, faults) for phrase, faults in conditions.items()})
    seen = ", ".join(dict.fromkeys(observed))
    if not wrong:
        message, spoken = f"The {name} speaks modern TLS with a valid certificate", f"policy {facts[POLICY]}"
        return passed(row.origin, arn, message, observed=spoken, expected=EXPECTED, warnings=warnings())
    return failed(
        row.origin,
        arn,
        f"The {name} has a fault: {seen}",
        observed=seen,
        expected=EXPECTED,
        facts={**facts, "missing": POLICY if wrong == [POLICY] else "certificate"},
    )


def _balancers(view: View, validity: _Validity) -> Iterator[Finding]:
    for balancer in public_balancers(view):
        arn, name = balancer["LoadBalancerArn"], balancer["LoadBalancerName"]
        with view.judging(arn, balancer.region):
            if state(balancer) == "provisioning":
                message = f"The load balancer {name} is being created"
                yield unknown(balancer.origin, arn, message, Reason.IN_TRANSIT, expected=EXPECTED)
                continue
            listeners = list(view.rows(LISTENERS, balancer))
            secure = [listener for listener in listeners if listener.get("Protocol") in TLS]
            if not secure and balancer["Type"] == "application":
                yield _bare(balancer, listeners)
            primary = [listener for listener in secure if listener.get("Port") == 443] or secure
            for listener in secure:
                with view.judging(listener["ListenerArn"], listener.region):
                    yield _listener(view, validity, balancer, listener, named=listener in primary)


def _bare(balancer: Row, listeners: list[Row]) -> Finding:
    spoken = [f"{listener.get('Protocol')}:{listener.get('Port')}" for listener in listeners]
    return failed(
        balancer.origin,
        balancer["LoadBalancerArn"],
        f"The load balancer {balancer['LoadBalancerName']} has no TLS listener",
        observed=f"listeners: {', '.join(spoken) or 'none'}",
        expected=EXPECTED,
        facts={**_facts(balancer), **_target(listeners), "missing": "listener"},
    )


def _facts(balancer: Row) -> dict[str, str]:
    facts = {
        "loadBalancerArn": balancer.get("LoadBalancerArn"),
        "loadBalancerName": balancer.get("LoadBalancerName"),
        "dnsName": balancer.get("DNSName"),
        "canonicalHostedZoneId": balancer.get("CanonicalHostedZoneId"),
        "vpcId": balancer.get("VpcId"),
        "scheme": balancer.get("Scheme"),
        "type": balancer.get("Type"),
        "securityGroupId": next(iter(balancer.get("SecurityGroups") or ()), None),
    }
    return {name: value for name, value in facts.items() if value}


def _target(listeners: list[Row]) -> dict[str, str]:
    """The one target group that the HTTP listeners forward to by default, if it is one."""
    groups = {
        group
        for listener in listeners
        if listener.get("Protocol") == "HTTP"
        for action in listener.get("DefaultActions") or ()
        if action.get("Type") == "forward"
        for group in _forwarded(action)
    }
    return {"targetGroupArn": groups.pop()} if len(groups) == 1 else {"targetGroups": "several" if groups else "none"}


def _forwarded(action: dict[str, Any]) -> set[str]:
    weighted = (action.get("ForwardConfig") or {}).get("TargetGroups") or ()
    return {arn for arn in (action.get("TargetGroupArn"), *(g.get("TargetGroupArn") for g in weighted)) if arn}


def _listener(view: View, validity: _Validity, balancer: Row, listener: Row, *, named: bool) -> Finding:
    policy = str(listener.get("SslPolicy") or "")

    def default() -> Iterator[str]:
        arns = {certificate["CertificateArn"] for certificate in listener.get("Certificates") or ()}
        if not arns:
            yield "no certificate"
        if any(":acm:" not in arn for arn in arns):
            yield "certificate is not in ACM"
        for certificate in view.rows(DEFAULT_CERTIFICATES, listener):
            yield from validity.faults(certificate)
            arns.discard(certificate.get("Arn"))
        if arns:
            yield "certificate is gone from ACM"

    def further() -> Iterator[str]:
        for entry in view.rows(LISTENER_CERTIFICATES, listener):
            if ":acm:" not in entry["CertificateArn"]:
                yield "certificate is not in ACM"
            for certificate in view.rows(FURTHER_CERTIFICATES, entry):
                yield from validity.faults(certificate)

    def covered(domain: str) -> bool:
        return any_of(
            lambda: any(_covers(row, domain) for row in view.rows(DEFAULT_CERTIFICATES, listener)),
            lambda: any(
                _covers(row, domain)
                for entry in view.rows(LISTENER_CERTIFICATES, listener)
                for row in view.rows(FURTHER_CERTIFICATES, entry)
            ),
        )

    def names() -> Iterator[str]:
        for domain in _domains_to(view, balancer["DNSName"]) if named else ():
            if not covered(domain):
                yield f"no certificate covers {domain}"

    def protocols() -> set[str]:
        known = next((row for row in view.rows(SSL_POLICIES) if row.get("Name") == policy), None)
        if known is not None:
            return set(known.get("SslProtocols") or ())
        return {"TLSv1.3", "TLSv1.2"} if MODERN_BY_NAME.search(policy) else set()

    def weak() -> Iterator[str]:
        if not protocols() or protocols() - MODERN:
            yield f"policy {policy or 'of no name'} accepts less than TLS 1.2"

    def warnings() -> tuple[str, ...]:
        return () if "TLSv1.3" in protocols() else (f"the policy {policy} does not offer TLS 1.3",)

    return _verdict(
        listener,
        listener["ListenerArn"],
        f"TLS listener :{listener.get('Port')} of {balancer['LoadBalancerName']}",
        {"certificate": default, "further certificates": further, "names": names, POLICY: weak},
        {**_facts(balancer), "listenerArn": listener["ListenerArn"], POLICY: policy},
        warnings,
    )


def _domains_to(view: View, host: str) -> Iterator[str]:
    """The public names that lead to the host, each once."""
    seen: set[str] = set()
    for record in records_to(view, [host]):
        domain = plain(record["Name"])
        if domain not in seen:
            seen.add(domain)
            yield domain


def _distributions(view: View, validity: _Validity) -> Iterator[Finding]:
    for distribution in view.rows(DISTRIBUTIONS):
        if distribution.get("Enabled"):
            with view.judging(distribution["ARN"], distribution.region):
                yield _distribution(view, validity, distribution)


def _distribution(view: View, validity: _Validity, distribution: Row) -> Finding:
    viewer = distribution.get("ViewerCertificate") or {}
    stored, lowest = viewer.get("IAMCertificateId"), str(viewer.get("MinimumProtocolVersion") or "TLSv1")

    def certificate() -> Iterator[str]:
        if not viewer.get("ACMCertificateArn") and not stored:
            yield "certificate is CloudFront's own, with which TLS 1.0 is accepted"
        elif stored:
            held = next((row for row in view.rows(STORED_CERTIFICATES) if row["ServerCertificateId"] == stored), None)
            yield from validity.age(held.get("Expiration")) if held is not None else ("certificate is gone from IAM",)
        else:
            issued = view.row(DISTRIBUTION_CERTIFICATES, distribution)
            yield from validity.faults(issued) if issued is not None else ("certificate is gone from ACM",)

    def names() -> Iterator[str]:
        if viewer.get("ACMCertificateArn"):
            for domain in _domains_to(view, distribution["DomainName"]):
                if not any(_covers(row, domain) for row in view.rows(DISTRIBUTION_CERTIFICATES, distribution)):
                    yield f"no certificate covers {domain}"

    def weak() -> Iterator[str]:
        if not MODERN_AT_EDGE.match(lowest):
            yield f"policy {lowest} accepts less than TLS 1.2"

    return _verdict(
        distribution,
        distribution["ARN"],
        f"distribution {distribution['Id']}",
        {"certificate": certificate, "names": names, POLICY: weak},
        {"distributionId": distribution["Id"], POLICY: lowest},
    )


def _domains(view: View, validity: _Validity) -> Iterator[Finding]:
    for domain in view.rows(DOMAIN_NAMES):
        if "PRIVATE" in ((domain.get("endpointConfiguration") or {}).get("types") or ()):
            continue
        name = domain["domainName"]
        arn = domain.get("domainNameArn") or f"arn:{view.partition}:apigateway:{domain.region}::/domainnames/{name}"
        with view.judging(arn, domain.region):
            if domain.get("domainNameStatus") in ("PENDING", "UPDATING"):
                message = f"The API domain {name} is being changed"
                yield unknown(domain.origin, arn, message, Reason.IN_TRANSIT, expected=EXPECTED)
            else:
                yield _domain(view, validity, domain, arn)


def _domain(view: View, validity: _Validity, domain: Row, arn: str) -> Finding:
    def faults(call: Call) -> Iterator[str]:
        for certificate in view.rows(call, domain):
            yield from validity.faults(certificate)
            if not _covers(certificate, plain(domain["domainName"])):
                yield f"no certificate covers {domain['domainName']}"

    def without() -> Iterator[str]:
        if not domain.get("certificateArn") and not domain.get("regionalCertificateArn"):
            yield "no certificate"

    policy = str(domain.get("securityPolicy") or ("TLS_1_0" if domain.get("certificateArn") else "TLS_1_2"))

    def weak() -> Iterator[str]:
        if policy == "TLS_1_0":
            yield "policy TLS_1_0 accepts less than TLS 1.2"

    return _verdict(
        domain,
        arn,
        f"API domain {domain['domainName']}",
        {
            "certificate": without,
            "edge certificate": lambda: faults(EDGE_CERTIFICATES),
            "regional certificate": lambda: faults(REGIONAL_CERTIFICATES),
            POLICY: weak,
        },
        {"domain": str(domain["domainName"]), POLICY: policy},
    )
