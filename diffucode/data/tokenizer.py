"""The tokenizer of the bundled models: byte-level BPE over pieces of Python.

A prompt is tokenised apart from its answer and both end with their line breaks, so no token may reach
over the end of a line: the tokens of a prompt are then the first tokens of the whole text, and an
infilling hole that begins where a line begins is natural. Indentation goes with the word after it, an
opening parenthesis and the dot of a method with their name, a line break with the punctuation before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

END, MASK, PAD = "<|endoftext|>", "<|mask|>", "<|pad|>"
MARKS = ("<code>", "</code>", "<out>", "</out>")
"""Ids of their own that stay visible in decoded text: whoever reads an answer looks for them."""
RESERVED_IDS = 64
"""Ids before the first byte: the named ones, then numbered ones for later use."""
PIECES = r"\.\p{L}+\(?| *\p{L}+\(?| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+\n?|\n+|[^\S\n]+"
"""What no token crosses. GPT-2's pattern would also cut English contractions, so that 's' in quotes is
unlike 'e' in quotes."""


def specials() -> list[str]:
    """The reserved tokens in the order of their ids."""
    named = [END, MASK, PAD, *MARKS]
    return named + [f"<|reserved_{i}|>" for i in range(RESERVED_IDS - len(named))]


def train_tokenizer(texts: Iterable[str], vocabulary: int, longest: int) -> PreTrainedTokenizerFast:
    """At most ``vocabulary`` ids, learnt from ``texts``; any UTF-8 text survives a round trip.

    ``longest`` is the number of positions that the models of this tokenizer are built for.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(token, normalized=False) for token in specials()],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=_show_marks(bpe),
        eos_token=END,
        mask_token=MASK,
        pad_token=PAD,
        model_max_length=longest,
        clean_up_tokenization_spaces=False,
    )


def _show_marks(bpe: Tokenizer) -> Tokenizer:
    """The trainer makes every reserved token one that decoding hides; the marks are to be seen."""
    state = json.loads(bpe.to_str())
    for token in state["added_tokens"]:
        token["special"] = token["content"] not in MARKS
    return Tokenizer.from_str(json.dumps(state))
