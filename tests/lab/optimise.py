"""A training loop bounded by time: Muon on square tiles, AdamW on the rest, averaged weights, checkpoints."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

Params = dict[str, Tensor]


def orthogonalise(stack: Tensor) -> Tensor:
    """The nearest orthogonal matrices, roughly, of a stack [count, size, size] (Newton-Schulz, bf16)."""
    x = stack.bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


def tiles(matrix: Tensor, size: int) -> Tensor:
    """[rows, columns] as [count, size, size]; the parts of fused weights (q, k, v, ...) end up apart."""
    rows, columns = matrix.shape
    return matrix.reshape(rows // size, size, columns // size, size).transpose(1, 2).reshape(-1, size, size)


def untile(stack: Tensor, rows: int, columns: int) -> Tensor:
    """The inverse of ``tiles``."""
    size = stack.shape[-1]
    return stack.reshape(rows // size, columns // size, size, size).transpose(1, 2).reshape(rows, columns)


class MuonAdam:
    """Muon for the matrices inside the network, AdamW for its edges and for LoRA factors.

    Source: Jordan et al., Muon (2024), with the update scaled to AdamW's size as in Moonlight.
    """

    def __init__(self, params: Params, muon_size: int | None, decays: Mapping[str, float]):
        edges = ("img_in", "txt_in", "final_layer.linear", "time_in", "norm.")
        self.size = muon_size
        self.inner = [k for k, v in params.items() if muon_size and v.ndim == 2 and not any(e in k for e in edges)]
        self.params = params
        rest: dict[float, list[Tensor]] = {}
        for key, value in params.items():
            if key not in self.inner:
                rest.setdefault(decays.get(key, 0.0), []).append(value)
        groups = [{"params": values, "weight_decay": decay} for decay, values in rest.items()]
        fused = all(v.is_cuda for v in params.values())
        self.adam = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), fused=fused)
        self.momentum = None

    def step(self, rate: float) -> None:
        """One update; ``rate`` is AdamW's learning rate, and Muon's in the same units."""
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        if not self.inner:
            return
        gradient = torch.cat([tiles(self.params[key].grad, self.size) for key in self.inner])
        if self.momentum is None:
            self.momentum = torch.zeros_like(gradient)
        self.momentum.lerp_(gradient, 0.05)
        update = orthogonalise(gradient.lerp(self.momentum, 0.95)).float() * (0.2 * self.size**0.5)
        start = 0
        with torch.no_grad():
            for key in self.inner:
                rows, columns = self.params[key].shape
                count = rows * columns // self.size**2
                self.params[key].sub_(untile(update[start : start + count], rows, columns), alpha=rate)
                start += count

    def state(self) -> dict:
        """For a checkpoint."""
        return {"adam": self.adam.state_dict(), "momentum": self.momentum}

    def load(self, state: dict) -> None:
        """From a checkpoint."""
        self.adam.load_state_dict(state["adam"])
        self.momentum = state["momentum"]


class Run:
    """The state of a training: what a checkpoint holds."""

    def __init__(self, params: Params, optimiser: MuonAdam, checkpoint: Path):
        self.params, self.optimiser, self.checkpoint = params, optimiser, checkpoint
        self.device = next(iter(params.values())).device
        self.average = {key: value.detach().clone() for key, value in params.items()}
        self.record = {"steps": 0, "seconds": 0.0, "losses": [], "done": False}
        self.saved_at, self.running = time.monotonic(), None
        if checkpoint.exists():
            self.resume()

    def resume(self) -> None:
        """Go on from the checkpoint."""
        saved = torch.load(self.checkpoint, map_location=self.device)
        with torch.no_grad():
            for key, value in self.params.items():
                value.copy_(saved["params"][key])
        self.optimiser.load(saved["optimiser"])
        self.average, self.record = saved["average"], saved["record"]

    def save(self) -> None:
        """Write the checkpoint."""
        self.saved_at = time.monotonic()
        params = {key: value.detach() for key, value in self.params.items()}
        torch.save({"params": params, "average": self.average, "record": self.record,
                    "optimiser": self.optimiser.state()}, self.checkpoint)  # fmt: skip

    def keep_average(self, decay: float) -> None:
        """Move the averaged weights towards the weights."""
        step = self.record["steps"]
        share = 1 - min(decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(self.average.values()), [v.detach() for v in self.params.values()], share)

    def note(self, loss: Tensor, seconds: float, name: str) -> None:
        """Count a step; its loss goes into a running mean, and a checkpoint is written every two minutes."""
        self.running = loss if self.running is None else self.running.lerp(loss, 0.02)
        self.record["steps"] += 1
        self.record["seconds"], step = seconds, self.record["steps"]
        if step % 250 == 0:
            self.record["losses"].append((step, round(self.running.item(), 5)))
        if step % 2500 == 0:
            print(f"{name} step {step} loss {self.running.item():.5f} {seconds:.0f} s", flush=True)
        if time.monotonic() - self.saved_at > 120:
            self.save()


def train(
    params: Params,
    loss_of: Callable[[Params, int, torch.Generator], Tensor],
    seconds: float,
    checkpoint: Path,
    *,
    rate: float,
    muon_size: int | None = None,
    decay: float = 0.9995,
    weight_decays: Mapping[str, float] | None = None,
    warmup: int = 300,
    pause_after: float = math.inf,
    max_steps: int = 10**9,
    seed: int = 7,
    name: str = "training",
) -> tuple[Params, dict]:
    """Train for a time and give the averaged weights.

    Args:
        params: float32 leaf tensors; changed in place.
        loss_of: (params, step, generator) to loss.
        seconds: training time in all, over resumed runs; the rate falls along half a cosine over it, or over
            ``max_steps`` if those are done sooner.
        checkpoint: written every two minutes, at a pause and at the end; resumed from.
        decay: of the averaged weights.
        weight_decays: AdamW's, by name of a parameter; 0 where there is none.
        pause_after: leave this run after so many seconds, to be resumed.

    Returns:
        The averaged weights and a record: steps, seconds, last loss, done.
    """
    for value in params.values():
        value.requires_grad_(True)
    run = Run(params, MuonAdam(params, muon_size, weight_decays or {}), checkpoint)
    record = run.record
    generator = torch.Generator(run.device).manual_seed(seed + record["steps"])
    before, start, compiled = record["seconds"], time.monotonic(), False
    while not record["done"]:
        progress = max(record["seconds"] / seconds, record["steps"] / max_steps)
        if progress >= 1:
            record["done"] = True
            break
        if record["seconds"] - before > pause_after:
            break
        step = record["steps"]
        loss = loss_of(params, step, generator)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(params.values()), 1.0)
        run.optimiser.step(rate * min(1, (step + 1) / warmup) * (0.5 + 0.5 * math.cos(math.pi * progress)))
        for value in params.values():
            value.grad = None
        run.keep_average(decay)
        if not compiled:  # compilation is not training time
            compiled = True
            if run.device.type == "cuda":
                torch.cuda.synchronize()
            start = time.monotonic()
        run.note(loss.detach(), before + time.monotonic() - start, name)
    if run.running is not None:
        record["last_loss"] = run.running.item()
    run.save()
    print(f"{name}: {record['steps']} steps, {record['seconds']:.0f} s, loss {record.get('last_loss', 0):.5f},"
          f" done {record['done']}", flush=True)  # fmt: skip
    return run.average, record


class Stages(Protocol):
    """Where the results of stages are kept."""

    work: Path
    device: torch.device


def finish(stages: Stages, name: str, weights: Params, record: dict) -> None:
    """Keep the averaged weights of a stage, rounded to bf16 as they will be shipped."""
    state = {k: v.detach().bfloat16().float() for k, v in weights.items()}
    ending = "final" if record["done"] else "paused"
    torch.save({"weights": state, "record": record}, stages.work / f"{name}.{ending}.pt")


def load_final(stages: Stages, name: str) -> Params | None:
    """The result of a finished stage, or None."""
    path = stages.work / f"{name}.final.pt"
    return torch.load(path, map_location=stages.device)["weights"] if path.exists() else None
