import subprocess
import sys
from pathlib import Path

from tests.unit.cluster_adapter.api import JOBS, PODS, Api, Reply, a_list, kubeconfig

SCRIPT = """
import sys
from threading import Event, active_count
import ips_common.cluster.configured
assert active_count() == 1, "a thread was started by an import"
from ips_common.cluster.credentials import KubeconfigCredentials
from ips_common.cluster.kubernetes import KubernetesCluster
cluster = KubernetesCluster("here", KubeconfigCredentials(sys.argv[1]), "ips")
watch = cluster.watch(Event(), seconds=60)
print(watch.get(30))
assert "kubernetes.aio" not in sys.modules
"""


def test_a_process_ends_cleanly_with_connections_and_a_watch_open(api: Api, tmp_path: Path) -> None:
    for path in (JOBS, PODS):
        api.on("GET", path, a_list())
        api.on("GET", f"{path}?watch", Reply(lines=[], hold=True))
    config = kubeconfig(tmp_path / "config", api.url, {"token": "abc"})

    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", SCRIPT, str(config)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[Synced()]\n", "")


def test_importing_the_adapter_does_not_import_the_official_client() -> None:
    script = "import sys, ips_common.cluster.configured; sys.exit('kubernetes' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[3], check=False).returncode == 0
