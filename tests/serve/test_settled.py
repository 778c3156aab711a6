"""What of an unfinished text is final."""

from hypothesis import given
from hypothesis import strategies as st
from scripted import TOKENIZER, ids

from diffucode.generate.tokenizer import text_of
from diffucode.serve.settled import settled
from diffucode.tasks.extract import cut_at_stops


def test_the_beginning_of_a_stop_string_is_held_back() -> None:
    assert settled("return a\n\nde", ["\n\ndef"]) == "return a"
    assert settled("return a\n\ndo", ["\n\ndef"]) == "return a\n\ndo"
    assert settled("aab", ["aabb", "ab"]) == ""
    assert settled("aa", ["aab", "ac"]) == ""
    assert settled("abc def", ["c d"]) == "ab"
    assert settled("abc", ["c", "bcd"]) == "a"


def test_half_a_character_is_held_back() -> None:
    euro = ids("€")
    assert len(euro) == 3
    assert [settled(text_of(TOKENIZER, euro[:n]), ()) for n in (1, 2, 3)] == ["", "", "€"]


@given(
    st.text(alphabet="ab\n€😀", max_size=12),
    st.lists(st.text(alphabet="ab\n€", min_size=1, max_size=4), max_size=3),
)
def test_nothing_is_taken_back_and_all_of_it_comes(text: str, stops: list[str]) -> None:
    whole, _ = cut_at_stops(text, stops)
    tokens, sent = ids(text), ""
    for n in range(len(tokens) + 1):
        piece = settled(text_of(TOKENIZER, tokens[:n]), stops)
        assert piece.startswith(sent)
        assert whole.startswith(piece)
        sent = piece
    assert len(whole) - len(sent) < max(map(len, stops), default=1)
