"""Where the weights lie, asked beside a running workflow and after it."""

from __future__ import annotations

import types
from typing import Any

import pytest
from measure_support import make_model, sample

pytestmark = pytest.mark.host


@pytest.fixture
def queue(comfy_in_process: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """ComfyUI's own queue of prompts, on a server of which nothing else runs."""
    import execution
    from pack.nodes.host.inspect import residency

    server = types.SimpleNamespace(queue_updated=lambda: None)
    server.prompt_queue = execution.PromptQueue(server)
    monkeypatch.setattr(residency, "prompt_server", lambda: server)
    monkeypatch.setattr(residency, "_SEEN", [])
    return server.prompt_queue


def test_nothing_is_walked_while_a_workflow_runs(queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pack.nodes.host.inspect import residency

    walked: list[Any] = []
    describe = residency._describe
    monkeypatch.setattr(residency, "_describe", lambda *args: walked.append(args) or describe(*args))
    model = make_model()
    seen_inside: list[Any] = []
    queue.put((0, "id", {}, {}, []))
    _, item = queue.get(timeout=1)
    sample(model, 1, callback=lambda *_: seen_inside.append(residency.loaded_models()))
    assert (seen_inside, walked) == ([[]], [])
    queue.task_done(item, {}, None)
    after = residency.loaded_models()
    assert walked
    assert [found.model_class for found in after][:1] == [type(model.model).__name__]
    queue.put((1, "id", {}, {}, []))
    queue.get(timeout=1)
    walked.clear()
    assert residency.loaded_models() == after
    assert walked == []
