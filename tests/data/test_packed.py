"""Packing: tokens, regions and canvases of examples, and what does not fit."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from diffucode.data.packed import Packed, pack, region_of
from diffucode.data.tokenizer import train_tokenizer

TOKENIZER = train_tokenizer(["    return\n"], 330, longest=64)
"""A few merges, so that most tokens are single bytes."""


class Text(NamedTuple):
    prompt: str
    response: str
    form: str = "code"
    regions: tuple[tuple[int, int, str], ...] = ()


def packed(*texts: Text, longest: int = 100) -> tuple[Packed, dict[str, int]]:
    result, dropped = pack(texts, TOKENIZER, {"code": 8}, 12, longest)
    return result, dict(dropped)


def test_rows_are_prompt_and_answer_tokens(tmp_path: Path) -> None:
    texts = [Text("ab", "cd"), Text("e\n", "fghi", "plan"), Text("x", "")]
    data, dropped = packed(*texts)
    assert dropped == {} and len(data) == 3
    for n, text in enumerate(texts):
        ids = [TOKENIZER(part)["input_ids"] for part in text[:2]]
        assert data.row(n).tolist() == ids[0] + ids[1]
        assert (data.prompt_n[n], data.answer_n[n]) == (len(ids[0]), len(ids[1]))
    assert data.canvas_n.tolist() == [8, 12, 8]


def test_a_dumped_file_loads(tmp_path: Path) -> None:
    data, _ = packed(Text("ab", "cd"), Text("e", "f"))
    (tmp_path / "data.npz").write_bytes(data.dump())
    again = Packed.load(tmp_path / "data.npz")
    for name, array in vars(data).items():
        np.testing.assert_array_equal(getattr(again, name), array)
        assert getattr(again, name).dtype == array.dtype


def test_an_answer_leaves_room_for_its_end_or_is_dropped_and_counted() -> None:
    seven, eight, eleven = ("x+" * 6)[:7], "x+" * 4, ("x+" * 6)[:11]
    assert [len(TOKENIZER(t)["input_ids"]) for t in (seven, eight, eleven)] == [7, 8, 11]
    data, dropped = packed(
        *(Text("p", seven), Text("p", eight), Text("p", eleven, "plan")),
        *(Text("p", eleven + "x", "plan"), Text("p", "y" * 40, "plan")),
    )
    assert dropped == {"code": 1, "plan": 2}
    assert data.answer_n.tolist() == [7, 11]


def test_prompt_and_canvas_together_are_bounded() -> None:
    _, dropped = packed(Text("+-" * 4, "a"), Text("+-" * 4 + "+", "a"), longest=16)
    assert dropped == {"code": 1}
    assert len(packed(longest=16)[0]) == 0


def test_each_token_has_the_region_its_first_character_is_in() -> None:
    """Spans count characters over prompt and answer; é is one of them and two tokens."""
    data, _ = packed(Text("é+\n", "a-b", regions=((0, 2, "text"), (4, 5, "text"))))
    pieces = [TOKENIZER.convert_ids_to_tokens(int(i)) for i in data.row(0)]
    assert pieces[-3:] == ["a", "-", "b"] and len(pieces) in (6, 7)
    assert data.region_T.tolist()[:3] == [0, 0, 0] and data.region_T.tolist()[-3:] == [1, 0, 1]
    assert region_of([0, 3, 5], ((3, 5, "text"),)).tolist() == [1, 0, 1]
