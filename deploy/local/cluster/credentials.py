"""The cluster's certificate authority, its users' tokens and the kubeconfig that holds both."""

import base64
import ipaddress
import secrets
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.local.cluster.rbac import MASTERS, User, user

HOST = "127.0.0.1"
IPS_USER = "ips-functions@demo.iam.gserviceaccount.com"
_DAYS = 365


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever reads half of it."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    temporary.replace(path)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _certificate(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_named(subject))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=_DAYS))
    )


def serving_context(directory: Path) -> ssl.SSLContext:
    """Make an authority of our own, write `ca.crt`, and return the TLS settings of a server it vouches for."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    root = (
        _certificate("kubernetes", "kubernetes", authority)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(authority, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName(
        [x509.IPAddress(ipaddress.ip_address(HOST)), x509.DNSName("localhost"), x509.DNSName("kubernetes")]
    )
    leaf = (
        _certificate("kube-apiserver", "kubernetes", key)
        .add_extension(names, critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    write_atomically(directory / "ca.crt", root.public_bytes(pem))
    unencrypted = serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, unencrypted)
    served = directory / "server.pem"
    served.touch(mode=0o600)
    served.write_bytes(private + leaf.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(served)
    return context


class Credentials:
    """Who holds which token."""

    def __init__(self, directory: Path, users: Mapping[str, str] | None = None) -> None:
        """Give everybody a token.

        Args:
            directory: where the kubeconfig goes, and `ca.crt` is.
            users: further contexts of the kubeconfig, and the name each is known by.
        """
        self.directory = directory
        self.url = ""
        self._users = {"admin": user("admin", MASTERS), "ips": user(IPS_USER)}
        self._users |= {context: user(name) for context, name in (users or {}).items()}
        self._tokens = {name: secrets.token_urlsafe(24) for name in self._users}

    def who(self, token: str) -> User | None:
        """The holder of a token; None for one that is not, or no longer, valid."""
        for name, valid in self._tokens.items():
            if secrets.compare_digest(valid, token):
                return self._users[name]
        return None

    def expire(self, name: str, *, renew: bool) -> None:
        """Make a user's token invalid; a new one is in the kubeconfig at once if it is renewed.

        Raises:
            KeyError: there is no such user.
        """
        del self._tokens[name]
        if renew:
            self.renew(name)

    def renew(self, name: str) -> None:
        """Give a user a new token and write it into the kubeconfig.

        Raises:
            KeyError: there is no such user.
        """
        _ = self._users[name]
        self._tokens[name] = secrets.token_urlsafe(24)
        self.write_kubeconfig()

    def write_kubeconfig(self) -> None:
        """Write `kubeconfig`: a context for each user, admin's being the current one."""
        authority = base64.b64encode((self.directory / "ca.crt").read_bytes()).decode()
        cluster = {"server": self.url, "certificate-authority-data": authority}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "admin",
            "clusters": [{"name": "simulated", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}} for name, token in self._tokens.items()],
            "contexts": [{"name": name, "context": {"cluster": "simulated", "user": name}} for name in self._users],
        }
        path = self.directory / "kubeconfig"
        path.touch(mode=0o600)
        write_atomically(path, yaml.safe_dump(config, sort_keys=False).encode())
