"""The configurations on docs/ray-serve.md are such as Ray Serve and the application take."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from torchserve_fire.ray import app
from torchserve_fire.serve.ray_serve.arguments import read_user_config

PAGE = Path(__file__).parents[4] / "docs" / "ray-serve.md"


def test_the_configuration() -> None:
    (text,) = re.findall(r"```yaml\n(http_options:.*?)```", PAGE.read_text(), re.S)
    (application,) = ServeDeploySchema.model_validate(yaml.safe_load(text)).applications
    assert application.import_path == f"{app.__module__.split('.')[0]}.ray:app"
    bound = app(application.args)._bound_deployment
    (deployment,) = application.deployments
    # Ray Serve refuses options of a deployment that is not there.
    assert deployment.name == bound.name
    assert bound._deployment_config.max_ongoing_requests == 100
    assert read_user_config(deployment.user_config) == "/bundles/better.safetensors"


@pytest.mark.slow
def test_ray_is_imported_for_its_own_application_alone() -> None:
    code = (
        "import sys, torchserve_fire, torchserve_fire_build.commands.main\n"
        "assert 'ray' not in sys.modules\n"
        "import torchserve_fire.ray, ray\n"
        "assert ray.__name__ == 'ray' and callable(torchserve_fire.ray.app)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
