"""Votes over labels."""

from diffucode.metrics.vote import majority


def test_the_first_sample_of_the_most_frequent_label_wins() -> None:
    assert majority(["a", "b", "b"]) == 1
    assert majority(["b", "a", "a", "b", "c"]) == 0  # of equals, the one seen first
    assert majority([None, None, None, "a"]) == 3
    assert majority([None, None]) is None
    assert majority([]) is None
