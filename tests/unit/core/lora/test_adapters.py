"""Norms without the product equal those of the product, for every adapter format."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lora_files import header_from, shared, write_lora
from pack.nodes.core.files.header import read_header
from pack.nodes.core.lora.file import LoraLayer, read_lora
from pack.nodes.core.lora.layer_norms import layer_delta, load_layer, measure_layer
from support import some

OUT, IN, RANK = 24, 20, 4


def rand(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape) * 7 + len(shape)))


def lora(out: int = OUT, columns: int = IN) -> dict[str, torch.Tensor]:
    return {"lora_up.weight": rand(out, RANK), "lora_down.weight": rand(RANK, columns), "alpha": torch.tensor(2.0)}


def loha(rank: int = RANK) -> dict[str, torch.Tensor]:
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    return {
        n: rand(OUT + i, rank)[:OUT] if n.endswith("_a") else rand(rank, IN + i)[:, :IN] for i, n in enumerate(names)
    }


LAYERS: dict[str, tuple[str, dict[str, torch.Tensor]]] = {
    "lora": ("lora", lora()),
    "lora A B": ("lora", {"lora_A.weight": rand(RANK, IN), "lora_B.weight": rand(OUT, RANK)}),
    "conv": ("locon", {"lora_up.weight": rand(OUT, RANK, 1, 1), "lora_down.weight": rand(RANK, IN, 3, 3)}),
    "conv with mid": (
        "locon",
        {
            "lora_up.weight": rand(OUT, RANK, 1, 1),
            "lora_down.weight": rand(RANK + 1, IN, 1, 1),
            "lora_mid.weight": rand(RANK, RANK + 1, 3, 3),
            "alpha": torch.tensor(1.0),
        },
    ),
    "loha": ("loha", {**loha(), "alpha": torch.tensor(1.0)}),
    "loha of high rank": ("loha", loha(18)),
    "loha conv": (
        "loha",
        {
            **{f"hada_w{i}_a": rand(RANK, OUT) for i in (1, 2)},
            **{f"hada_w{i}_b": rand(RANK, IN) for i in (1, 2)},
            **{f"hada_t{i}": rand(RANK, RANK, 3, 3) for i in (1, 2)},
        },
    ),
    "lokr": ("lokr", {"lokr_w1": rand(4, 5), "lokr_w2": rand(6, 4)}),
    "lokr low-rank": (
        "lokr",
        {"lokr_w1": rand(4, 5), "lokr_w2_a": rand(6, 2), "lokr_w2_b": rand(2, 4), "alpha": torch.tensor(1.0)},
    ),
    "lokr both low-rank": (
        "lokr",
        {"lokr_w1_a": rand(4, 2), "lokr_w1_b": rand(2, 5), "lokr_w2_a": rand(6, 2), "lokr_w2_b": rand(2, 4)},
    ),
    "lokr conv": ("lokr", {"lokr_w1": rand(4, 5), "lokr_w2": rand(6, 4, 3, 3)}),
    "lokr conv low-rank": ("lokr", {"lokr_w1": rand(4, 5), "lokr_w2_a": rand(6, 2), "lokr_w2_b": rand(2, 4, 3, 3)}),
    "lokr conv with core": (
        "lokr",
        {"lokr_w1": rand(4, 5), "lokr_w2_a": rand(2, 6), "lokr_w2_b": rand(2, 4), "lokr_t2": rand(2, 2, 3, 3)},
    ),
    "glora": (
        "glora",
        {
            "a1.weight": rand(IN, RANK),
            "a2.weight": rand(RANK, IN),
            "b1.weight": rand(OUT, RANK),
            "b2.weight": rand(RANK, IN),
        },
    ),
    "old glora": (
        "glora",
        {
            "a1.weight": rand(RANK, IN),
            "a2.weight": rand(IN, RANK),
            "b1.weight": rand(RANK, IN),
            "b2.weight": rand(OUT, RANK),
        },
    ),
    "oft": ("oft", {"oft_blocks": rand(6, 4, 4) * 0.1, "alpha": torch.tensor(0.5)}),
    "oft rescaled": ("oft", {"oft_blocks": rand(6, 4, 4) * 0.1, "rescale": 1 + 0.1 * rand(OUT, 1)}),
    "boft": ("boft", {"oft_blocks": rand(2, 6, 4, 4) * 0.1}),
    "oft 2": ("oft_2", {"oft_R.weight": rand(5, 6) * 0.1}),
    "ia3 rows": ("ia3", {"weight": rand(OUT), "on_input": torch.tensor(0.0)}),
    "ia3 columns": ("ia3", {"weight": rand(IN), "on_input": torch.tensor(1.0)}),
    "diff": ("diff", {"diff": rand(OUT, IN)}),
    "bias": ("diff_b", {"diff_b": rand(OUT)}),
    "norm": ("norm", {"w_norm": rand(OUT)}),
    "set": ("set", {"set_weight": rand(OUT, IN)}),
    "dora": ("lora", {**lora(), "dora_scale": rand(OUT, 1).abs()}),
    "dora by column": ("lora", {**lora(), "dora_scale": rand(1, IN).abs()}),
    "oft_diag": ("oft", {"oft_diag": torch.eye(4) + 0.1 * rand(OUT // 4, 4, 4)}),
    "boft of PEFT": ("boft", {"boft_R": 0.3 * rand(2, IN // 4, 4, 4), "boft_s": rand(OUT, 1).abs()}),
    "ia3 of PEFT": ("ia3", {"ia3_l": 1 + 0.1 * rand(OUT, 1)}),
    "dora of PEFT": ("lora", {**lora(), "lora_magnitude_vector": rand(OUT).abs()}),
    "dora of ai-toolkit": ("lora", {**lora(), "magnitude": rand(OUT).abs()}),
    "dora loha": ("loha", {**loha(), "dora_scale": rand(OUT, 1).abs()}),
}


def read_one(tmp_path: Path, parts: dict[str, torch.Tensor]) -> tuple[LoraLayer, dict[str, torch.Tensor]]:
    header = read_header(write_lora(tmp_path / "x.safetensors", {"blocks.0.attn": parts}))
    (layer,) = read_lora(header).layers
    return layer, load_layer(header, layer)


def weight_for(delta_shape: torch.Size) -> torch.Tensor:
    return rand(*delta_shape) + 0.1


@pytest.mark.parametrize("name", LAYERS)
def test_norms_equal_those_of_the_product(tmp_path: Path, name: str) -> None:
    form, parts = LAYERS[name]
    layer, tensors = read_one(tmp_path, parts)
    assert layer.format == form
    weight = 1.5 * rand(OUT, IN) if layer.needs_weight else None
    delta = layer_delta(layer, tensors, weight).double()
    strength = measure_layer(layer, tensors, weight)
    assert strength.not_measured == ""
    assert strength.delta_norm == pytest.approx(delta.norm().item(), rel=1e-5)
    alone = measure_layer(layer, tensors, weight, spectral=False)
    assert alone.delta_norm == pytest.approx(strength.delta_norm, rel=1e-6)
    assert alone.spectral_norm is None or delta.dim() < 2
    top = delta.norm() if delta.dim() < 2 else torch.linalg.matrix_norm(delta.flatten(1), 2)
    assert strength.spectral_norm == pytest.approx(top.item(), rel=1e-5)
    assert strength.stable_rank == pytest.approx((delta.norm() / top).item() ** 2, rel=1e-4)
    assert not strength.dead


@pytest.mark.parametrize(
    "name", [n for n, (form, p) in LAYERS.items() if form in ("glora", "oft", "boft", "oft_2", "ia3", "set")]
)
def test_without_the_weight_nothing_is_measured(tmp_path: Path, name: str) -> None:
    layer, tensors = read_one(tmp_path, LAYERS[name][1])
    assert layer.needs_weight
    strength = measure_layer(layer, tensors)
    assert strength.delta_norm is None
    assert "depends on the model's own weight" in strength.not_measured


def test_shapes_are_those_of_the_weight(tmp_path: Path) -> None:
    for form, parts in LAYERS.values():
        layer, _ = read_one(tmp_path, parts)
        if form not in ("bias", "diff_b", "norm", "ia3"):
            assert layer.out_features in (OUT, None)
            assert layer.in_features in (IN, None)


def test_scale_is_alpha_over_rank(tmp_path: Path) -> None:
    layer, tensors = read_one(tmp_path, lora())
    product = tensors["up"] @ tensors["down"]
    assert torch.allclose(layer_delta(layer, tensors), 0.5 * product)


def test_factors_may_be_scaled_against_each_other(tmp_path: Path) -> None:
    parts = lora()
    layer, tensors = read_one(tmp_path, parts)
    other = {**tensors, "up": tensors["up"] * 10, "down": tensors["down"] / 10}
    first, second = measure_layer(layer, tensors), measure_layer(layer, other)
    assert first.delta_norm == pytest.approx(second.delta_norm, rel=1e-6)
    assert first.spectral_norm == pytest.approx(second.spectral_norm, rel=1e-6)


def test_fused_and_split_give_the_same_root_sum_square(tmp_path: Path) -> None:
    up, down = rand(3 * OUT, RANK), rand(RANK, IN)
    fused, tensors = read_one(tmp_path, {"lora_up.weight": up, "lora_down.weight": down})
    split = 0.0
    for part in up.split(OUT):
        split += (measure_layer(fused, {"up": part, "down": down}).delta_norm or 0) ** 2
    assert measure_layer(fused, tensors).delta_norm == pytest.approx(split**0.5, rel=1e-6)


@pytest.mark.parametrize(
    "parts",
    [
        {**lora(), "lora_up.weight": torch.zeros(OUT, RANK)},
        {**loha(), "hada_w2_a": torch.zeros(OUT, RANK)},
        {"lokr_w1": torch.zeros(4, 5), "lokr_w2": rand(6, 4)},
        {"oft_blocks": torch.zeros(6, 4, 4)},
        {"oft_diag": torch.eye(4).expand(6, 4, 4)},
        {"ia3_l": torch.ones(OUT, 1)},
        {"diff": torch.zeros(OUT, IN)},
    ],
)
def test_dead_layers_are_named(tmp_path: Path, parts: dict[str, torch.Tensor]) -> None:
    layer, tensors = read_one(tmp_path, parts)
    strength = measure_layer(layer, tensors)
    assert strength.dead
    assert strength.delta_norm == 0.0


def test_a_dora_without_inner_change_is_not_dead(tmp_path: Path) -> None:
    parts = {**LAYERS["dora"][1], "lora_up.weight": torch.zeros(OUT, RANK)}
    layer, tensors = read_one(tmp_path, parts)
    strength = measure_layer(layer, tensors, rand(OUT, IN))
    assert not strength.dead
    assert strength.delta_norm


def test_numbers_that_are_none_are_not_measured(tmp_path: Path) -> None:
    layer, tensors = read_one(tmp_path, {**lora(), "lora_up.weight": torch.full((OUT, RANK), float("nan"))})
    assert "no numbers" in measure_layer(layer, tensors).not_measured


def test_weight_of_another_shape_is_not_measured(tmp_path: Path) -> None:
    for name, reason in (("oft", "expected 24"), ("oft_diag", "expected 24"), ("boft of PEFT", "rows of the weight"),
                         ("ia3 of PEFT", "scales 24 rows or columns")):  # fmt: skip
        layer, tensors = read_one(tmp_path, LAYERS[name][1])
        assert reason in measure_layer(layer, tensors, rand(OUT + 1, IN)).not_measured


def test_oft_diag_is_the_rotation_itself(tmp_path: Path) -> None:
    """As LyCORIS 2.0 computes it from its blocks and stores it."""
    blocks = 0.2 * rand(OUT // 4, 4, 4)
    skew, eye = blocks - blocks.transpose(1, 2), torch.eye(4)
    rotation = (eye + skew) @ torch.linalg.inv(eye - skew)
    weight = rand(OUT, IN)
    deltas = [
        layer_delta(*read_one(tmp_path, parts), weight)
        for parts in ({"oft_blocks": blocks}, {"oft_diag": rotation})
    ]
    torch.testing.assert_close(deltas[0], deltas[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_low_precision_tensors_are_measured(tmp_path: Path, dtype: torch.dtype) -> None:
    parts = {key: value.to(dtype) for key, value in LAYERS["lora A B"][1].items()}
    layer, tensors = read_one(tmp_path, parts)
    product = tensors["up"].float() @ tensors["down"].float()
    assert measure_layer(layer, tensors).delta_norm == pytest.approx(product.norm().item(), rel=1e-5)


def test_contradicting_shapes_are_not_understood() -> None:
    header = header_from({"a.lora_up.weight": (8, 4), "a.lora_down.weight": (5, 6)})
    (layer,) = read_lora(header).layers
    assert layer.format == ""
    assert "rank: expected 5 as in down, found 4 in up" in layer.note


def _targets(hidden: int = 128) -> dict[str, tuple[str, int | None]]:
    """diffusers names of a FLUX.2 block to the nano model's, with the first row of the slice."""
    parts = {
        "attn.to_q": ("img_attn.qkv", 0), "attn.to_k": ("img_attn.qkv", hidden),
        "attn.to_v": ("img_attn.qkv", 2 * hidden),
        "attn.add_q_proj": ("txt_attn.qkv", 0), "attn.add_k_proj": ("txt_attn.qkv", hidden),
        "attn.add_v_proj": ("txt_attn.qkv", 2 * hidden), "attn.to_out.0": ("img_attn.proj", None),
        "attn.to_add_out": ("txt_attn.proj", None), "ff.linear_in": ("img_mlp.0", None),
        "ff.linear_out": ("img_mlp.2", None), "ff_context.linear_in": ("txt_mlp.0", None),
        "ff_context.linear_out": ("txt_mlp.2", None),
    }  # fmt: skip
    targets: dict[str, tuple[str, int | None]] = {}
    for i in range(3):
        for name, (native, start) in parts.items():
            targets[f"transformer_blocks.{i}.{name}"] = (f"double_blocks.{i}.{native}", start)
            targets[f"double_blocks.{i}.{native}"] = (f"double_blocks.{i}.{native}", None)
        for name, native in (("attn.to_qkv_mlp_proj", "linear1"), ("attn.to_out", "linear2")):
            targets[f"single_transformer_blocks.{i}.{name}"] = (f"single_blocks.{i}.{native}", None)
            targets[f"single_blocks.{i}.{native}"] = (f"single_blocks.{i}.{native}", None)
    return {name.replace(".", "_"): target for name, target in targets.items()}


RANDOM_TRUTH = {"lycoris_dylora"}
"""LyCORIS draws the number of blocks anew each time it is asked, so there is no one truth."""


def test_deltas_are_what_the_writing_tools_say() -> None:
    """Against what LyCORIS, PEFT and musubi-tuner themselves add to the nano model, in float32."""
    np = pytest.importorskip("numpy")
    from pack.nodes.core.model.facts import strip_prefix
    from safetensors.torch import load_file

    base = load_file(shared("nano/nano_2x3_bfl_f32.safetensors"))
    targets, checked = _targets(), 0
    for path in sorted(shared("loras").glob("*.safetensors")):
        truth_path = shared("truth").joinpath(path.stem.split(".")[0] + ".safetensors")
        if not truth_path.exists() or path.stem in RANDOM_TRUTH:
            continue
        truth = {k.removeprefix("diffusion_model."): v for k, v in load_file(truth_path).items() if "#" not in k}
        header = read_header(path)
        found: dict[str, torch.Tensor] = {}
        for layer in some(read_lora(header).layers):
            target = targets.get(strip_prefix(layer.name).replace(".", "_"))
            if target is None:
                continue  # modulation and embeddings, whose names are the host's business
            key, start = f"{target[0]}.weight", target[1]
            weight = base[key].float()
            rows = slice(None) if start is None else slice(start, start + weight.shape[1])
            tensors = load_layer(header, layer)
            delta = layer_delta(layer, tensors, weight[rows]).double()
            assert measure_layer(layer, tensors, weight[rows]).delta_norm == pytest.approx(
                delta.norm().item(), rel=1e-5
            )
            vector = torch.from_numpy(np.random.default_rng(weight.shape[1]).standard_normal(weight.shape[1]))
            found.setdefault(key, torch.zeros(len(weight), dtype=torch.float64))[rows] += delta @ vector
        assert found, path.name
        for key, value in some(found.items()):
            assert torch.linalg.vector_norm(value - truth[key]) <= 1e-5 * truth[key].norm(), (path.name, key)
            checked += 1
    assert checked > 400
