"""Special tokens, from the tokenizer and config.json; no id is ever written into the code."""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken

from diffucode.errors import CheckpointError
from diffucode.models.families.spec import Json

MASKS = ("<|mask|>", "<|mdm_mask|>")
TERMINATORS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eot|>",
    "<|dlm_pad|>",
)


def mask_token_id(config: Json, tokenizer: Any, where: str) -> int | None:
    """The id of an open position, or None; raises CheckpointError where two sources disagree."""
    vocabulary = tokenizer.get_vocab()
    named = [vocabulary[name] for name in MASKS if name in vocabulary]
    told = [config.get("mask_token_id"), tokenizer.mask_token_id]
    ids = {int(i) for i in told if i is not None} or set(named[:1])
    if len(ids) > 1:
        raise CheckpointError(
            f"{where}: config.json says the mask token is {told[0]}, the tokenizer says {told[1]}"
        )
    return ids.pop() if ids else None


def terminator_ids(config: Json, tokenizer: Any, *, pads: bool) -> tuple[int, ...]:
    """Ids that end a completion: end of text, end of turn and, where models write them, pads."""
    eos = config.get("eos_token_id")
    ids = list(eos) if isinstance(eos, list) else [eos]
    ids.append(tokenizer.eos_token_id)
    if pads:
        ids += [config.get("pad_token_id"), tokenizer.pad_token_id]
    vocabulary = tokenizer.get_vocab()
    ids += [vocabulary.get(name) for name in TERMINATORS]
    return tuple(dict.fromkeys(int(i) for i in ids if i is not None))


def own_token(tokenizer: Any, token: str, rows: int) -> int | None:
    """The id of a special token; one that is lacking is added to the tokenizer, if the embedding of ``rows``
    rows has one to spare. None: it has not."""
    if token not in tokenizer.get_vocab():
        if len(tokenizer) >= rows:
            return None
        tokenizer.add_tokens([AddedToken(token, special=True)], special_tokens=True)
    return int(tokenizer.get_vocab()[token])
