"""An OpenID issuer on this machine, over HTTPS, and the tokens it makes."""

import base64
import datetime as dt
import ipaddress
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Claims = dict[str, Any]

AUDIENCE = "https://ips.example"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def segment(value: object) -> str:
    return base64url(json.dumps(value).encode())


def number(value: int) -> str:
    return base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def jwk(key: PrivateKey, key_id: str | None) -> dict[str, str]:
    entry = {"kid": key_id, "use": "sig"} if key_id else {"use": "sig"}
    if isinstance(key, rsa.RSAPrivateKey):
        public = key.public_key().public_numbers()
        return {**entry, "kty": "RSA", "alg": "RS256", "n": number(public.n), "e": number(public.e)}
    point = key.public_key().public_numbers()
    coordinates = {"x": base64url(point.x.to_bytes(32, "big")), "y": base64url(point.y.to_bytes(32, "big"))}
    return {**entry, "kty": "EC", "crv": "P-256", **coordinates}


def sign(key: PrivateKey, data: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), SHA256())
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def make_token(key: PrivateKey, claims: Claims, **header: object) -> str:
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    signed = f"{segment({'alg': algorithm, 'typ': 'JWT', **header})}.{segment(claims)}"
    return f"{signed}.{base64url(sign(key, signed.encode()))}"


class StandIn:
    """The issuer: what it publishes can be changed, and what it was asked for is counted."""

    def __init__(self, url: str, tls: ssl.SSLContext | None) -> None:
        self.url = url
        self.tls = tls
        self.keys: dict[str, PrivateKey] = {"rsa": RSA_KEY, "ec": EC_KEY}
        self.discovery: Any = {"issuer": url, "jwks_uri": f"{url}/keys"}
        self.status = 200
        self.content: bytes | None = None
        self.asked: Counter[str] = Counter()
        self.answers = threading.Event()
        self.answers.set()

    def document(self, path: str) -> bytes:
        self.asked[path] += 1
        if self.content is not None:
            return self.content
        if path == "/keys":
            return json.dumps({"keys": [jwk(key, key_id) for key_id, key in self.keys.items()]}).encode()
        return json.dumps(self.discovery).encode()

    def claims(self, **changed: object) -> Claims:
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "1234567890",
            "email": "ada@example.com",
            "email_verified": True,
            "iat": now,
            "exp": now + 600,
            **changed,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, key_id: str = "rsa", /, **changed: object) -> str:
        return make_token(self.keys[key_id], self.claims(**changed), kid=key_id)


@contextmanager
def issuer(folder: Path | None = None) -> Iterator[StandIn]:
    """Run the issuer; over HTTPS if there is a folder for its certificate."""
    made: list[StandIn] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            stand_in = made[0]
            stand_in.answers.wait(30)
            content = stand_in.document(self.path)
            self.send_response(stand_in.status)
            self.send_header("Content-Length", str(len(content)))
            if stand_in.status == 302:
                self.send_header("Location", f"{stand_in.url}/keys")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    client = None
    if folder:
        certificate, private = certify(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, private)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        client = ssl.create_default_context(cafile=str(certificate))
    made.append(StandIn(f"{'https' if folder else 'http'}://127.0.0.1:{server.server_port}", client))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made[0]
    finally:
        made[0].answers.set()
        server.shutdown()
        thread.join()
        server.server_close()


def certify(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


RSA_KEY = rsa.generate_private_key(65537, 2048)
OTHER_RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
