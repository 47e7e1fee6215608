"""What kubelets, runtimes and registries say, and what it means."""

from pathlib import Path

import pytest
import yaml

from ips_common.models.results import Reason
from ips_common.problem import classify

IMAGE = "registry.example/team/app:1.2"
SAID = yaml.safe_load((Path(__file__).parents[2] / "data" / "kubelet-messages.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("said", SAID, ids=lambda said: said["message"][-40:])
def test_words_give_the_reason(said: dict[str, str]) -> None:
    problem = classify(IMAGE, said["waiting"], said["message"])
    assert problem
    assert problem.reason == said["reason"]
    assert problem.message == said["message"]
    assert problem.retryable is problem.reason.retryable


@pytest.mark.parametrize(
    "image", ["registry.example/denied:1", "r.example/toomanyrequests/unauthorized:404", "not-found.example:5000/eof:1"]
)
def test_name_of_the_image_explains_nothing(image: str) -> None:
    problem = classify(image, "ErrImagePull", f'failed to pull image "{image}": {image}: strange')
    assert problem
    assert problem.reason is Reason.IMAGE_PULL_BACK_OFF


@pytest.mark.parametrize("waiting", ["", "ContainerCreating", "PodInitializing", "CreateContainerConfigError"])
def test_merely_waiting_is_no_problem(waiting: str) -> None:
    assert classify(IMAGE, waiting, "not found") is None
