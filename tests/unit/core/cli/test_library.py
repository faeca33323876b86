"""Scans of a library: what is remembered, what is read again, what a kill loses, and the questions to ask of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_runs import ROOT, run
from lora_files import flux2_shapes, lora_shapes, write_lora, write_raw
from pack.nodes.core.check import collection as command
from pack.nodes.core.check import scan as scans
from safetensors.torch import load_file, save_file


def lora(path: Path, seed: int = 0, metadata: dict[str, str] | None = None, hidden: int = 64) -> Path:
    layers = {
        key.rsplit(".lora_", 1)[0]: {
            "lora_A.weight": torch.full((4, hidden), 1.0 + seed),
            "lora_B.weight": torch.full((hidden, 4), 1.0),
        }
        for key in lora_shapes(flux2_shapes(hidden))
        if "attn.proj" in key
    }
    return write_lora(path, layers, metadata)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "loras"
    for number in range(5):
        (folder / str(number % 2)).mkdir(parents=True, exist_ok=True)
        lora(folder / str(number % 2) / f"{number}.safetensors", number)
    write_raw(folder / "bad.safetensors", b"{}}")
    return folder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that scans read."""
    names: list[str] = []
    real: Callable[..., Any] = scans.read_header

    def noted(path: Path) -> Any:
        names.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(scans, "read_header", noted)
    return names


def rows(folder: Path, *options: object) -> dict[str, dict[str, Any]]:
    _, out, err = run("scan", folder, "--json", *options)
    assert err == ""
    return {row["file"]: row for row in map(json.loads, out.splitlines())}


def test_a_second_scan_reads_only_what_changed(library: Path, read: list[str]) -> None:
    first = rows(library)
    assert len(read) == len(first) == 6
    assert first["bad.safetensors"]["error"]
    read.clear()
    assert rows(library) == first
    assert read == []
    changed = lora(library / "1" / "1.safetensors", 9, {"trigger_words": "a wolf, snow"})
    lora(library / "new.safetensors", 7)
    (library / "0" / "0.safetensors").unlink()
    second = rows(library)
    assert sorted(read) == ["1.safetensors", "new.safetensors"]
    assert second == rows(library, "--no-index")
    assert second[os.path.relpath(changed, library)]["trigger_words"] == "a wolf, snow"


def test_a_file_changed_within_its_size_is_read_again(library: Path, read: list[str]) -> None:
    rows(library)
    path = library / "0" / "0.safetensors"
    status = path.stat()
    save_file({key: tensor + 1 for key, tensor in load_file(path).items()}, path)
    assert path.stat().st_size == status.st_size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    read.clear()
    rows(library)
    assert read == ["0.safetensors"]


def test_another_model_is_another_question_and_a_configuration_counts(library: Path, read: list[str]) -> None:
    model = save_shapes(library.parent / "model.safetensors", flux2_shapes(64))
    plain = rows(library)
    read.clear()
    judged = rows(library, "--model", model)
    assert len(read) == 6
    assert all(row["verdict"] == "fits" for row in judged.values() if not row["error"])
    assert rows(library) == plain, "the question without a model has its own answers"
    save_shapes(model, flux2_shapes(96))
    assert all(row["verdict"] == "does not fit" for row in rows(library, "--model", model).values() if not row["error"])
    read.clear()
    (library / "0" / "adapter_config.json").write_text("{}")
    rows(library)
    assert sorted(read) == ["0.safetensors", "2.safetensors", "4.safetensors"]


def save_shapes(path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    save_file({key: torch.ones(shape, dtype=torch.float16) for key, shape in shapes.items()}, path)
    return path


def test_questions(library: Path) -> None:
    lora(library / "words.safetensors", 3, {"trigger_words": "wolf"})
    (library / "copies").mkdir()
    shutil.copy(library / "0" / "2.safetensors", library / "copies" / "copy.safetensors")
    assert "words.safetensors" not in rows(library, "--only", "no-trigger-words")
    assert len(rows(library, "--only", "no-trigger-words")) == 7
    same = {name: row["same_as"] for name, row in rows(library, "--only", "same").items()}
    assert same == {
        **dict.fromkeys(("0/2.safetensors", "copies/copy.safetensors"), "0/2.safetensors"),
        **dict.fromkeys(("1/3.safetensors", "words.safetensors"), "words.safetensors"),
    }
    other = save_shapes(library.parent / "other.safetensors", flux2_shapes(96))
    assert set(rows(library, "--only", "fits", "--model", other)) == {"bad.safetensors"}
    assert run("scan", library, "--only", "fits")[0] == 64
    assert "same as" in run("scan", library, "--only", "same")[1]


def test_a_damaged_index_is_one_sentence_and_a_missing_cache_stops_nothing(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "index"
    damaged.write_bytes(b"not a database" * 1000)
    code, out, err = run("scan", library, "--index", damaged)
    assert (code, out) == (2, "")
    assert "the index of scans cannot be used" in err
    monkeypatch.setenv("XDG_CACHE_HOME", str(damaged))
    monkeypatch.setenv("LOCALAPPDATA", str(damaged))
    code, out, err = run("scan", library)
    assert len(out.splitlines()) == 7
    assert "--no-index" in err


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_scan_that_is_killed_goes_on_where_it_was(tmp_path: Path, read: list[str]) -> None:
    """Killed as soon as one batch is written: no row of it is read again."""
    folder = tmp_path / "many"
    folder.mkdir()
    one = lora(tmp_path / "one.safetensors")
    for number in range(3 * command.BATCH):
        os.link(one, folder / f"{number:04}.safetensors")
    (tmp_path / "lora_patchbay").symlink_to(ROOT / "nodes" / "core", target_is_directory=True)
    index = tmp_path / "index"
    words = ("scan", folder, "--index", index, "--jobs", 1, "--json")
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "lora_patchbay", *map(str, words)], cwd=tmp_path, stdout=subprocess.PIPE
    ) as scan:
        assert scan.stdout is not None
        assert scan.stdout.readline(), "the first batch is written before its rows are"
        scan.kill()
    code, out, _ = run(*words)
    assert (code, len(out.splitlines())) == (0, 3 * command.BATCH)
    assert len(read) <= 2 * command.BATCH


def test_many_processes_and_one_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "WORTH_PARALLEL", 2)
    monkeypatch.setattr(command, "BATCH", 7)
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(20):
        lora(folder / f"{number:02}.safetensors", number, {"trigger_words": str(number)})
    one = run("scan", folder, "--json", "--no-index", "--jobs", 1)
    assert run("scan", folder, "--json", "--jobs", 2) == one
    assert run("scan", folder, "--json", "--jobs", 2) == one


def test_parquet(library: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    code, out, err = run("scan", library, "--parquet", tmp_path / "rows.parquet")
    assert (code, out, err) == (2, "", "")
    table = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert {row["file"]: row for row in table} == rows(library)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".rows")] == []
