"""A file is read and converted once: shared by all nodes, bounded, known by path, size and time."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from nano_models import flux2_state_dict, native_lora, write

pytestmark = pytest.mark.host
SIZES = {"hidden": 128, "double": 1, "single": 1}


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """The cache, the apply function and a model."""
    import comfy.sd
    from pack.nodes.core import errors
    from pack.nodes.host.apply import apply, lora_cache
    from pack.nodes.host.inspect import check

    return types.SimpleNamespace(
        apply=apply.apply_lora,
        check=check.check_lora,
        Cache=lora_cache.LoraCache,
        HeaderError=errors.HeaderError,
        model=comfy.sd.load_diffusion_model_state_dict(flux2_state_dict(**SIZES)),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(write(tmp_path / "one.safetensors", native_lora(**SIZES)))


_OPENED: list[str] = []


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(args[0], (str, os.PathLike)):
        _OPENED.append(os.fspath(args[0]))


@pytest.fixture(scope="module")
def opened() -> list[str]:
    """Names of the files that Python opens from now on; the interpreter itself reports them."""
    sys.addaudithook(_watch)
    return _OPENED


def swap(path: Path, content: bytes) -> None:
    """Put another file in place, of the same size and time: only who reads it notices."""
    status = path.stat()
    other = path.with_suffix(".new")
    other.write_bytes(content[: status.st_size].ljust(status.st_size, b"\0"))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(other, path)


def patch_objects(patcher: Any) -> set[int]:
    """Identities of everything that a LoRA put on a patcher, merged or beside the weights."""
    from pack.nodes.host.bypass.hooks import bypass_stack

    stack = bypass_stack(patcher)
    beside = {id(term.value) for term in stack.terms} if stack is not None else set()
    return beside | {id(patch[1]) for patches in patcher.patches.values() for patch in patches}


@pytest.mark.parametrize("method", ["merge", "bypass"])
def test_a_changed_strength_reads_and_converts_nothing(host: Any, path: Path, method: str, opened: list[str]) -> None:
    def apply(strength: float, blocks: str = "") -> Any:
        return host.apply(str(path), path.name, host.model, None, strength, 0.0, blocks, method=method)

    opened.clear()
    first = apply(1.0)
    assert str(path) in opened
    swap(path, b"this is no LoRA any more")
    opened.clear()
    second, third = apply(0.5), apply(1.0, "single_blocks.0=0.25")
    assert str(path) not in opened
    values = [patch_objects(result.model) for result in (first, second, third)]
    assert values[0] == values[1] == values[2]
    assert len(values[0]) == 10
    assert [layer.delta_norm for layer in first.report.layers] == [layer.delta_norm for layer in second.report.layers]
    os.utime(path, ns=(1, 1))
    with pytest.raises(host.HeaderError):
        apply(1.0)


def test_all_nodes_share_a_file(host: Any, path: Path) -> None:
    host.apply(str(path), path.name, host.model, None, 1.0, 0.0, "")
    swap(path, b"gone")
    assert host.check(str(path), path.name, host.model, None).report.verdict == "fits"


def test_a_file_that_was_replaced_is_read_again(host: Any, tmp_path: Path) -> None:
    cache = host.Cache()
    path = Path(write(tmp_path / "x.safetensors", native_lora(seed=1, **SIZES)))
    first = cache.load(str(path), "x")
    assert cache.load(str(path), "x") is first
    write(path, native_lora(seed=2, **SIZES))
    os.utime(path, ns=(10**18, 10**18))
    second = cache.load(str(path), "x")
    assert second is not first
    key = next(key for key in first.tensors if key.endswith("lora_A.weight"))
    assert not first.tensors[key].equal(second.tensors[key])


def test_the_cache_is_bounded_and_forgets_the_oldest_use(host: Any, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{seed}.safetensors", native_lora(seed=seed, **SIZES)) for seed in range(4)]
    size = host.Cache().load(paths[0], "0").size_bytes
    cache = host.Cache(limit_bytes=2 * size)
    kept = {path: cache.load(path, path) for path in paths[:2]}
    assert cache.load(paths[0], "0") is kept[paths[0]]
    cache.load(paths[2], "2")  # the second one was used longest ago
    assert cache.load(paths[0], "0") is kept[paths[0]]
    assert cache.load(paths[1], "1") is not kept[paths[1]]
    tiny = host.Cache(limit_bytes=1)
    assert tiny.load(paths[3], "3") is tiny.load(paths[3], "3")
