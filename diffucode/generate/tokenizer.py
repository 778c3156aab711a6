"""What generation needs of a tokenizer: the methods that transformers' tokenizers have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Tokenizer(Protocol):
    chat_template: str | None

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def decode(
        self,
        token_ids: Sequence[int],
        *,
        skip_special_tokens: bool,
        clean_up_tokenization_spaces: bool,
    ) -> str: ...

    def get_vocab(self) -> dict[str, int]: ...

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str: ...


def text_of(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Text without special tokens."""
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def piece_of(tokenizer: Tokenizer, token: int) -> str:
    """One token as it is shown, special tokens spelled out."""
    return tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)
