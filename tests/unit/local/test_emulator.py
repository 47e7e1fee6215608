import socket
from pathlib import Path

import pytest

from deploy.local.emulator import FIRESTORE, PUBSUB, Emulator, find_jar, sdk_roots
from deploy.local.errors import StackError
from deploy.local.parts import existing_emulator


def placed(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("emulator", "program", "jar"),
    [
        (FIRESTORE, "cloud_firestore_emulator", "cloud-firestore-emulator.jar"),
        (PUBSUB, "bin/cloud-pubsub-emulator", "lib/cloud-pubsub-emulator-9.9.9-all.jar"),
    ],
)
def test_an_emulator_on_the_path_comes_first(
    emulator: Emulator, program: str, jar: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = placed(tmp_path / "emulator" / program)
    expected = placed(tmp_path / "emulator" / jar)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / real.name).symlink_to(real)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("CLOUDSDK_ROOT_DIR", str(tmp_path / "sdk"))
    placed(tmp_path / "sdk" / "platform" / emulator.jar.replace("*", "1.0.0"))
    assert find_jar(emulator, tmp_path / "cache") == expected


@pytest.mark.parametrize("emulator", [FIRESTORE, PUBSUB])
def test_a_cloud_sdk_that_the_environment_names_is_looked_into(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = placed(tmp_path / "sdk" / "platform" / emulator.jar.replace("*", "1.0.0"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_ROOT_DIR", str(tmp_path / "sdk"))
    assert find_jar(emulator, tmp_path / "cache") == expected


def test_the_cloud_sdk_of_the_gcloud_on_the_path_is_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gcloud = placed(tmp_path / "sdk" / "bin" / "gcloud")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gcloud").symlink_to(gcloud)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CLOUDSDK_ROOT_DIR", raising=False)
    assert next(sdk_roots()) == tmp_path / "sdk"


def test_an_emulator_that_the_environment_names_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", host)
        assert existing_emulator(PUBSUB) == host
    with pytest.raises(StackError, match=f"PUBSUB_EMULATOR_HOST names {host}, where nothing answers"):
        existing_emulator(PUBSUB)
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST")
    assert existing_emulator(PUBSUB) is None
