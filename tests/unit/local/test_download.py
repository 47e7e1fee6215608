import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.local.download import fetch
from deploy.local.emulator import FIRESTORE, PUBSUB, Archive, Emulator, download
from deploy.local.errors import StackError


@dataclass
class Site:
    """Files served over HTTP."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def put(self, name: str, content: bytes) -> Archive:
        self.files[f"/{name}"] = content
        return Archive(f"{self.url}/{name}", hashlib.sha256(content).hexdigest())


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            content = served.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


def with_archive(emulator: Emulator, archive: Archive, member: str = "") -> Emulator:
    return replace(emulator, archive=replace(archive, member=member))


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def test_a_file_is_fetched_once(site: Site, tmp_path: Path) -> None:
    archive = site.put("a.jar", b"jar")
    for _ in range(2):
        assert fetch(archive.url, archive.sha256, tmp_path / "cache" / "a.jar").read_bytes() == b"jar"
    assert site.asked == ["/a.jar"]


def test_a_damaged_file_in_the_cache_is_fetched_again(site: Site, tmp_path: Path) -> None:
    archive = site.put("a.jar", b"jar")
    target = tmp_path / "a.jar"
    target.write_bytes(b"half a j")
    assert fetch(archive.url, archive.sha256, target).read_bytes() == b"jar"


def test_another_content_than_the_pinned_is_not_kept(site: Site, tmp_path: Path) -> None:
    archive = site.put("a.jar", b"jar")
    site.put("a.jar", b"something else")
    with pytest.raises(StackError, match="not the pinned"):
        fetch(archive.url, archive.sha256, tmp_path / "a.jar")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_one_clear_line(site: Site, tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"/none\.jar cannot be fetched: Not Found"):
        fetch(f"{site.url}/none.jar", "0" * 64, tmp_path / "none.jar")


def test_the_firestore_archive_is_the_jar(site: Site, tmp_path: Path) -> None:
    emulator = with_archive(FIRESTORE, site.put("firestore.jar", b"jar"))
    assert download(emulator, tmp_path).read_bytes() == b"jar"


def test_the_jar_is_taken_out_of_the_pubsub_archive(site: Site, tmp_path: Path) -> None:
    name = "pubsub-emulator/lib/cloud-pubsub-emulator-0.8.14-all.jar"
    archive = site.put("pubsub.zip", zipped(**{name: b"jar", "pubsub-emulator/bin/run": b""}))
    emulator = with_archive(PUBSUB, archive, PUBSUB.archive.member)
    for _ in range(2):
        assert download(emulator, tmp_path).read_bytes() == b"jar"


def test_an_archive_without_the_jar_is_refused(site: Site, tmp_path: Path) -> None:
    emulator = with_archive(PUBSUB, site.put("pubsub.zip", zipped(readme=b"")), PUBSUB.archive.member)
    with pytest.raises(StackError, match="does not hold one"):
        download(emulator, tmp_path)


@pytest.mark.parametrize("emulator", [FIRESTORE, PUBSUB])
def test_the_pins_are_whole(emulator: Emulator) -> None:
    assert emulator.archive.url.startswith("https://")
    assert len(bytes.fromhex(emulator.archive.sha256)) == 32
