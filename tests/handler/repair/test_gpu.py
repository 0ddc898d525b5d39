"""The repair on a GPU: the same answers, on the worker's device."""

import pytest
import torch

from tests.handler.archive import ask, grey, make_archive
from torchserve_fire.serve.fire_handler import FireHandler


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_the_same_answers_on_the_workers_device(tmp_path):
    rows = [{"body": grey(level)} for level in (0, 255, 128, 64)]
    answers, flags = [], []
    for gpu in (None, torch.cuda.device_count() - 1):
        context = make_archive(tmp_path)
        context.system_properties["gpu_id"] = gpu
        service = FireHandler()
        service.initialize(context)
        answers.append(ask(service, context, rows))
        flags.append([context.get_response_headers(i)["x-fire-flagged"] for i in range(4)])
        (judge,) = service._repair._now.attached.judges
        assert judge.projection.weight.device == next(service.model.parameters()).device
    assert torch.device("cuda", gpu) == judge.projection.weight.device
    assert flags[0] == flags[1]
    for (_, one), (_, other) in zip(*answers, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
