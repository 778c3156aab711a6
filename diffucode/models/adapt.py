"""An autoregressive model as the masked-diffusion model that adaptation starts from.

Weights stay as they are, and so does the read-out, one column earlier: the token at a position is still what
the model predicts behind the one before it. What changes is that every column may see every other, which
adaptation opens step by step, and that one token of the vocabulary means "hidden".

Source: DiffuLLaMA (Gong et al. 2025), section 3; Dream and DiffuCoder descend from Qwen2.5 this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from diffucode.errors import ConfigError
from diffucode.models.families.spec import Usual
from diffucode.models.load import Loaded
from diffucode.models.specials import own_token
from diffucode.models.transformer import TransformerDenoiser


def adapt(loaded: Loaded, mask: str, usual: Usual, others: Sequence[str] = ()) -> Loaded:
    """The model to adapt; it shares the weights and the tokenizer of ``loaded``, which may get new tokens.

    ``mask`` is the token of hidden positions, for a model that names none. It may be one that the
    tokenizer has and texts do not; one that it lacks is added after ``others``, in rows of the embedding
    that no token uses, as those weights are (Qwen2.5's has a few hundred). A Qwen2 model becomes one of
    the family ``dream``, any other a native one. Raises ConfigError where there is no row to spare.
    """
    old = loaded.denoiser
    mask_id = old.mask_id
    if mask_id is None:
        ids = [own_token(loaded.tokenizer, token, old.vocab_size) for token in (*others, mask)]
        if None in ids:
            raise ConfigError(
                f"mask {mask!r}: {loaded.name} has no such token, and its embedding no row to spare "
                f"({old.vocab_size} for {len(loaded.tokenizer)} tokens); name one that texts do not use"
            )
        mask_id = ids[-1]
    denoiser = TransformerDenoiser(
        old.model,
        mask_id=mask_id,
        terminator_ids=old.terminator_ids,
        readout_shift=True,
        attention="full",
    )
    # A pad is an ordinary token here; named as padding, its embedding would get no gradient.
    old.model.get_input_embeddings().padding_idx = None
    family, config = loaded.family, dict(loaded.config)
    if family == "stock":
        family = "dream" if old.model.config.model_type == "qwen2" else "native"
        kept = ("bos_token_id", "eos_token_id", "pad_token_id")  # the rest is another layout's
        config = {name: config[name] for name in kept if name in config}
    if family == "native":
        config["is_causal"] = False
    return replace(
        loaded,
        denoiser=denoiser,
        family=family,
        decoder="diffusion",
        usual=usual,
        config=MappingProxyType(config),
    )
