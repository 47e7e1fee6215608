"""Credentials as the official client reads them, down to real TLS and real programs."""

import ssl
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ips_common.cluster.configured import ConfiguredClusters
from ips_common.cluster.credentials import InClusterCredentials, KubeconfigCredentials
from ips_common.cluster.kubernetes import KubernetesCluster
from ips_common.config import ClusterSettings
from ips_common.errors import ClusterUnavailable, InvalidRequest
from tests.unit.cluster_adapter.api import JOBS, Api, Reply, Request, a_list, kubeconfig, refusal
from tests.unit.cluster_adapter.conftest import FAST


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a certificate that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, Path]:
    return certificate(tmp_path, "server")


@pytest.fixture
def secure(authority: tuple[Path, Path], tmp_path: Path) -> Iterator[Api]:
    """A server with TLS that asks for client certificates, and takes those of `client`."""
    client, _ = certificate(tmp_path, "client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(client)
    with Api(context) as server:
        server.on("GET", JOBS, a_list())
        yield server


def counting(counter: Path, **status: str) -> dict[str, Any]:
    """A user whose program gives `token-0`, `token-1`, ..., and leaves a mark in a file each time it runs."""
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    program = (
        "import json, pathlib;"
        f"count = pathlib.Path({str(counter)!r});"
        "number = len(count.read_text()) if count.exists() else 0;"
        "count.write_text('x' * (number + 1));"
        f"print(json.dumps({credential!r} | {{'status': {status!r} | {{'token': f'token-{{number}}'}}}}))"
    )
    return {"exec": {"apiVersion": credential["apiVersion"], "command": sys.executable, "args": ["-c", program]}}


def put(path: Path, content: bytes) -> None:
    """Replace a file as the kubelet does, at once: a reader never sees half of it."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


def reach(path: Path, *, seconds: float = 10) -> None:
    cluster = KubernetesCluster("here", KubeconfigCredentials(str(path)), "ips", pace=FAST)
    try:
        cluster.ready(seconds)
    finally:
        cluster.close()


def test_a_token_over_tls_with_an_authority_of_its_own(
    secure: Api, authority: tuple[Path, Path], tmp_path: Path
) -> None:
    reach(kubeconfig(tmp_path / "config", secure.url, {"token": "abc"}, authority=authority[0]))

    assert secure.requests[0].headers["Authorization"] == "Bearer abc"


def test_a_server_of_another_authority_is_not_talked_to(secure: Api, tmp_path: Path) -> None:
    other, _ = certificate(tmp_path, "other")

    with pytest.raises(ClusterUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        reach(kubeconfig(tmp_path / "config", secure.url, {"token": "abc"}, authority=other), seconds=2)

    assert secure.requests == []


def test_a_server_is_not_verified_where_the_kubeconfig_says_so(secure: Api, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", secure.url, {"token": "abc"}, cluster={"insecure-skip-tls-verify": True})

    reach(path)

    assert len(secure.requests) == 1


def test_a_proxy_is_used_unless_the_server_is_excepted(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.on("GET", JOBS, a_list())
    path = kubeconfig(
        tmp_path / "config", "http://kubernetes.invalid", {"token": "abc"}, cluster={"proxy-url": api.url}
    )
    monkeypatch.setenv("no_proxy", "other.invalid")
    reach(path)
    assert api.requests[0].headers["Host"] == "kubernetes.invalid"

    monkeypatch.setenv("no_proxy", "kubernetes.invalid")
    with pytest.raises(ClusterUnavailable):
        reach(path, seconds=0.3)
    assert len(api.requests) == 1


def test_a_client_certificate(secure: Api, authority: tuple[Path, Path], tmp_path: Path) -> None:
    user = {"client-certificate": str(tmp_path / "client.crt"), "client-key": str(tmp_path / "client.key")}

    reach(kubeconfig(tmp_path / "config", secure.url, user, authority=authority[0]))

    assert "Authorization" not in secure.requests[0].headers


def test_a_program_that_gives_tokens_is_asked_again_when_one_is_refused(api: Api, tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        good = request.headers["Authorization"] == "Bearer token-1"
        return a_list() if good else refusal(401, "Unauthorized")

    api.on("GET", JOBS, answer)

    reach(kubeconfig(tmp_path / "config", api.url, counting(tmp_path / "count")))

    assert [request.headers["Authorization"] for request in api.requests] == ["Bearer token-0", "Bearer token-1"]


def test_a_token_file_is_read_again_when_its_token_is_refused(api: Api, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old", encoding="utf-8")

    def answer(request: Request) -> Reply:
        if request.headers["Authorization"] == "Bearer new":
            return a_list()
        put(token, b"new")
        return refusal(401, "Unauthorized")

    api.on("GET", JOBS, answer)

    reach(kubeconfig(tmp_path / "config", api.url, {"tokenFile": str(token)}))

    assert len(api.requests) == 2


def test_a_program_that_fails_is_no_refusal_by_the_cluster(
    secure: Api, authority: tuple[Path, Path], tmp_path: Path
) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "false"}}

    with pytest.raises(ClusterUnavailable, match="gives no credentials"):
        reach(kubeconfig(tmp_path / "config", secure.url, user, authority=authority[0]))

    assert secure.requests == []


def test_a_kubeconfig_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("clusters: [", encoding="utf-8")

    for path in (tmp_path / "missing", broken):
        with pytest.raises(ClusterUnavailable, match=f"credentials from kubeconfig {path} cannot be had"):
            reach(path)


def test_a_context_that_does_not_exist_is_named(api: Api, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", api.url, {"token": "abc"})

    with pytest.raises(ClusterUnavailable, match="context nope"):
        KubernetesCluster("here", KubeconfigCredentials(str(path), "nope"), "ips").ready(1)


def test_outside_a_pod_its_account_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    clusters = ConfiguredClusters({"default": ClusterSettings(in_cluster=True)}, "ips")

    with pytest.raises(ClusterUnavailable, match="the pod's service account cannot be had"):
        clusters.get("default").ready(1)


def test_clusters_are_found_by_name(api: Api, tmp_path: Path) -> None:
    api.on("GET", JOBS, a_list())
    path = kubeconfig(tmp_path / "config", api.url, {"token": "abc"}, context="east")
    clusters = ConfiguredClusters({"a": ClusterSettings(kubeconfig=str(path), context="east")}, "ips")

    clusters.get("a").ready(5)
    clusters.close()

    assert clusters.names() == ["a"]
    assert clusters.get("a") is clusters.get("a")
    with pytest.raises(InvalidRequest, match="no cluster is called b; there are a"):
        clusters.get("b")


def test_a_program_is_asked_again_when_its_token_has_expired(api: Api, tmp_path: Path) -> None:
    user = counting(tmp_path / "count", expirationTimestamp="2020-01-01T00:00:00Z")
    credentials = KubeconfigCredentials(str(kubeconfig(tmp_path / "config", api.url, user)))

    first, second = (credentials.access(anew=False).headers["Authorization"] for _ in range(2))

    assert first != second


def test_a_kubeconfig_that_was_rewritten_is_read_again_when_its_server_is_away(api: Api, tmp_path: Path) -> None:
    api.on("GET", JOBS, a_list())
    with Api() as old:
        old.on("GET", JOBS, a_list())
        path = kubeconfig(tmp_path / "config", old.url, {"token": "abc"})
        cluster = KubernetesCluster("here", KubeconfigCredentials(str(path)), "ips", pace=FAST)
        cluster.ready(5)
        kubeconfig(path, api.url, {"token": "new token"})
        cluster.ready(5)
        assert len(old.requests) == 2
        old.down()

        cluster.ready(5)

        cluster.close()
    assert api.requests[0].headers["Authorization"] == "Bearer new token"


def test_a_program_is_not_run_again_because_the_server_is_away(tmp_path: Path) -> None:
    with Api() as away:
        path = kubeconfig(tmp_path / "config", away.url, counting(tmp_path / "count"))
        away.down()
        with pytest.raises(ClusterUnavailable):
            reach(path, seconds=0.5)

    assert (tmp_path / "count").read_text() == "x"


def test_an_authority_that_was_replaced_in_its_file_is_read_again(secure: Api, tmp_path: Path) -> None:
    other, _ = certificate(tmp_path, "other")
    path = kubeconfig(tmp_path / "config", secure.url, {"token": "abc"}, authority=other)
    cluster = KubernetesCluster("here", KubeconfigCredentials(str(path)), "ips", pace=FAST)
    with pytest.raises(ClusterUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        cluster.ready(0.3)
    put(other, (tmp_path / "server.crt").read_bytes())

    cluster.ready(5)

    cluster.close()


@pytest.fixture
def account(secure: Api, authority: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the kubelet puts into a pod."""
    host, port = secure.url.removeprefix("https://").split(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    folder = tmp_path / "account"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(authority[0].read_bytes())
    (folder / "token").write_text("old", encoding="utf-8")
    return folder


def test_the_token_of_a_pod_is_read_again_when_the_old_one_is_refused(secure: Api, account: Path) -> None:
    valid = "old"
    secure.on(
        "GET",
        JOBS,
        lambda request: (
            a_list() if request.headers["Authorization"].endswith(f" {valid}") else refusal(401, "Unauthorized")
        ),
    )
    cluster = KubernetesCluster("here", InClusterCredentials(account), "ips", pace=FAST)
    cluster.ready(5)
    valid = "new"
    put(account / "token", b"new")

    cluster.ready(5)

    cluster.close()
    assert [request.headers["Authorization"].split()[1] for request in secure.requests] == ["old", "old", "new"]


def test_the_authority_of_a_pod_is_read_again_when_it_no_longer_fits(
    secure: Api, authority: tuple[Path, Path], account: Path, tmp_path: Path
) -> None:
    (account / "ca.crt").write_bytes(certificate(tmp_path, "other")[0].read_bytes())
    cluster = KubernetesCluster("here", InClusterCredentials(account), "ips", pace=FAST)
    with pytest.raises(ClusterUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        cluster.ready(0.3)
    put(account / "ca.crt", authority[0].read_bytes())

    cluster.ready(5)

    cluster.close()
    assert len(secure.requests) == 1
