"""Makes the cluster's certificate authorities, certificates, keys and kubeconfigs.

They are made once per cluster and kept: a recovered cluster has pods whose tokens
and trusted CA came from them.
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from perennial_localcluster import metrics, prometheus
from perennial_localcluster.record import Record, write_atomically

API_SERVER_PORT = 6443
VALID_DAYS = 3650
# Certificates count from before the clock, so that a clock set back slightly breaks nothing.
BACKDATED_DAYS = 1


@dataclass(frozen=True)
class Identity:
    """One certificate: its file name, subject, and (for servers) the names it is valid for."""

    name: str
    common_name: str
    organization: str = ""
    hosts: tuple[str, ...] = ()
    authority: str = "ca"


def build_identities(record: Record) -> list[Identity]:
    """Return every certificate of a native cluster."""
    api_names = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        record.node_ip,
        record.kubernetes_service_ip,
    )
    return [
        Identity("apiserver", "kube-apiserver", hosts=api_names),
        Identity("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        Identity("front-proxy-client", "front-proxy-client", authority="front-proxy-ca"),
        Identity("etcd", "etcd", hosts=("localhost", "127.0.0.1"), authority="etcd-ca"),
        Identity("admin", "kubernetes-admin", "system:masters"),
        Identity("controller-manager", "system:kube-controller-manager"),
        Identity("scheduler", "system:kube-scheduler"),
        Identity("kube-proxy", "system:kube-proxy"),
        Identity("coredns", "system:coredns"),
        Identity("local-path", "system:local-path-provisioner"),
        Identity(metrics.NAME, metrics.USER, hosts=(*metrics.HOST_NAMES, record.node_ip)),
        Identity(prometheus.NAME, prometheus.USER),
        Identity(
            "kubelet", f"system:node:{record.node_name}", "system:nodes", (record.node_name, record.node_ip)
        ),
    ]


def write_all(pki: Path, record: Record) -> None:
    """Create whatever is missing of CAs, certificates, the service-account key; called by `up`."""
    for authority in ("ca", "front-proxy-ca", "etcd-ca"):
        if not (pki / f"{authority}.crt").exists():
            _write_authority(pki, authority)
    for identity in build_identities(record):
        if not (pki / f"{identity.name}.crt").exists():
            _write_certificate(pki, identity)
    if not (pki / "sa.pub").exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        write_atomically(pki / "sa.key", _render_key(key))
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        write_atomically(pki / "sa.pub", public.decode())


def render_kubeconfig(pki: Path, identity: str, server: str) -> str:
    """Return a kubeconfig with everything inline, so that it can be copied anywhere."""

    def inline(name: str) -> str:
        return base64.b64encode((pki / name).read_bytes()).decode()

    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "perennial",
                    "cluster": {"server": server, "certificate-authority-data": inline("ca.crt")},
                }
            ],
            "users": [
                {
                    "name": identity,
                    "user": {
                        "client-certificate-data": inline(f"{identity}.crt"),
                        "client-key-data": inline(f"{identity}.key"),
                    },
                }
            ],
            "contexts": [{"name": "perennial", "context": {"cluster": "perennial", "user": identity}}],
            "current-context": "perennial",
        },
        sort_keys=False,
    )


def _write_authority(pki: Path, name: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"perennial-{name}")])
    certificate = (
        _begin(subject, subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_pair(pki, name, certificate, key)


def _write_certificate(pki: Path, identity: Identity) -> None:
    authority_key = serialization.load_pem_private_key((pki / f"{identity.authority}.key").read_bytes(), None)
    authority = x509.load_pem_x509_certificate((pki / f"{identity.authority}.crt").read_bytes())
    if not isinstance(authority_key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{identity.authority}.key is not an elliptic-curve key")
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.COMMON_NAME, identity.common_name)]
    if identity.organization:
        names.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, identity.organization))
    builder = (
        _begin(x509.Name(names), authority.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
            critical=False,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
    )
    if identity.hosts:
        builder = builder.add_extension(_alternative_names(identity.hosts), critical=False)
    _write_pair(pki, identity.name, builder.sign(authority_key, hashes.SHA256()), key)


def _begin(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=BACKDATED_DAYS))
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
    )


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        key_encipherment=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(hosts: Sequence[str]) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return x509.SubjectAlternativeName(names)


def _render_key(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _write_pair(pki: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    # The key first: write_all takes the certificate's existence as proof of both.
    write_atomically(pki / f"{name}.key", _render_key(key))
    write_atomically(pki / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM).decode())
