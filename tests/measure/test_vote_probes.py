"""The vote of samples for a problem: its inputs stand in no test, and what is voted for is behaviour."""

from twice import BROKEN, HEAD, RIGHT, WRONG, twice

from diffucode.execution.sandbox import Sandbox
from diffucode.execution.values import encode
from diffucode.measure.problems import made
from diffucode.measure.vote import PROBES, behaviours, probes
from diffucode.metrics.vote import majority


def test_probes_are_in_no_test_and_a_function_of_the_problem() -> None:
    known = made("minicode/test/7/3")
    found = probes(known)
    cases = (*known.tests.reward, *known.tests.base, *known.tests.plus)
    seen = {encode(tuple(case.arguments)) for case in cases}
    codes = [encode(given) for given in found]
    assert len(found) == len(set(codes)) == PROBES
    assert not seen & set(codes)
    assert probes(known) == found
    # not by luck: an input that becomes a test is no probe any more
    more = known._replace(tests=type(known.tests)(known.tests.reward, (), ()))
    case = type(known.tests.reward[0])(probes(more)[0], None)
    assert case.arguments not in probes(
        more._replace(tests=type(known.tests)(more.tests.reward, (case,), ()))
    )


def test_a_majority_that_is_right_without_a_test(sandbox: Sandbox) -> None:
    known = twice()  # its id is of a problem about grids, which can be doubled, too
    renamed = RIGHT.replace("x", "y")
    other = HEAD + "    return x + x[:1]\n"
    samples = [WRONG, BROKEN, BROKEN, BROKEN, RIGHT, other, renamed]
    found = behaviours(sandbox, [known], {known.problem.id: samples})[known.problem.id]
    assert found[1] is found[2] is None
    assert found[4] == found[6] != found[5]
    assert majority(found) == 4
