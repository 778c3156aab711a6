"""The benchmark runs, prints one line, and its exact figures are exact. No timing is asserted."""

import json

from running import python


def test_one_line_of_json(tmp_path):
    table = tmp_path / "table.md"
    options = ("--quick", "--json", "--shrink", "--markdown", table)
    printed, _ = python("scripts/bench_decode.py", *options)
    (line,) = printed.splitlines()
    result = json.loads(line)
    assert list(result)[:5] == [
        "end_to_end_ratio",
        "head_ratio",
        "sampler_ratio",
        "identical_at_t0",
        "retirement_exact",
    ]
    assert result["identical_at_t0"] is True
    assert result["retirement_exact"] is True
    assert result["rows_exact"] is True
    assert result["head_predicted"] == 4.0  # 6 steps of 14 rows against 6 + 5 + ... + 1
    assert result["retirement_step_ratio"] > 1
    assert list(result["groups_ratio"]) == ["0.7"] and result["groups_same"] is True
    assert table.read_text().startswith("|  | published | ours |")
