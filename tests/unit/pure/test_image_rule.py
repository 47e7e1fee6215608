"""IPS_ALLOWED_IMAGES."""

import pytest

from ips_common.models.image_rule import AllowedImages, check_pattern

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("pattern", "image", "allowed"),
    [
        ("**", "nginx", True),
        ("docker.io/library/nginx", "nginx", True),
        ("docker.io/library/nginx", "nginx:1.27", True),
        ("docker.io/library/nginx", f"nginx@{DIGEST}", True),
        ("docker.io/library/nginx", "index.docker.io/library/nginx", True),
        ("docker.io/library/nginx", "nginx-evil", False),
        ("docker.io/library/nginx", "docker.io/library/nginx/more", False),
        ("docker.io/library/nginx", "ghcr.io/library/nginx", False),
        ("docker.io/library/*", "nginx", True),
        ("docker.io/library/*", "acme/nginx", False),
        ("ghcr.io/acme/*", "ghcr.io/acme/shop", True),
        ("ghcr.io/acme/*", "ghcr.io/acme/team/shop", False),
        ("ghcr.io/acme/*", "ghcr.io/acme-evil/shop", False),
        ("ghcr.io/acme/**", "ghcr.io/acme/team/shop:1", True),
        ("ghcr.io/acme/**", f"ghcr.io/acme/team/shop:1@{DIGEST}", True),
        ("ghcr.io/acme/**", "ghcr.io.evil.example/acme/shop", False),
        ("ghcr.io/acme/**", "evil.example/ghcr.io/acme/shop", False),
        ("ghcr.io/acme/**", "GHCR.IO/acme/shop", False),
        ("ghcr.io/acme**", "ghcr.io/acme/shop", True),
        ("ghcr.io/**/base", "ghcr.io/a/b/base", True),
        ("*.pkg.dev/acme/**", "europe-docker.pkg.dev/acme/prod/shop", True),
        ("*.pkg.dev/acme/**", "evil.example/x.pkg.dev/acme/shop", False),
        ("*.pkg.dev/acme/**", "europexpkg.dev/acme/shop", False),
        ("registry.local:5000/**", "registry.local:5000/shop", True),
        ("registry.local:5000/**", "registry.local:5001/shop", False),
        ("localhost/**", "localhost/shop", True),
        ("docker.io/library/nginx:1.*", "nginx:1.27", True),
        ("docker.io/library/nginx:1.*", "nginx:2.0", False),
        ("docker.io/library/nginx:1.*", "nginx", False),
        ("docker.io/library/nginx:1.*", f"nginx:1.27@{DIGEST}", False),
        ("ghcr.io/acme/**@sha256:*", f"ghcr.io/acme/a/shop@{DIGEST}", True),
        ("ghcr.io/acme/**@sha256:*", "ghcr.io/acme/shop:1", False),
    ],
)
def test_a_pattern_matches_the_canonical_reference(pattern: str, image: str, allowed: bool) -> None:  # noqa: FBT001 - a table
    assert AllowedImages([pattern]).allow(image) is allowed


def test_without_patterns_everything_is_allowed() -> None:
    assert AllowedImages([]).allow("evil.example/x")


def test_one_pattern_that_matches_is_enough() -> None:
    assert AllowedImages(["ghcr.io/a/*", "ghcr.io/b/*"]).allow("ghcr.io/b/x")


def test_every_image_that_is_not_allowed_is_named() -> None:
    errors = AllowedImages(["ghcr.io/acme/**"]).errors(["nginx", "ghcr.io/acme/x", "redis:7"])

    assert [error.field for error in errors] == ["images[0]", "images[2]"]
    assert errors[0].message.startswith("docker.io/library/nginx:latest is not allowed")


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "nginx",
        "library/nginx",
        "ghcr.io",
        "ghcr.io/",
        "**.io/x",
        "gh**/x",
        "*/x",
        "**/x",
        "ghcr.io/a b",
        "ghcr.io/a?",
    ],
)
def test_a_pattern_that_may_match_more_than_it_seems_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"registry"):
        check_pattern(pattern)
