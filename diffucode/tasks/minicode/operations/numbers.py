"""One integer: ranges, digits and divisors as elements, folds of number sequences, arithmetic on the value.

The argument may be zero or negative. Value steps take time by the number of digits, not by the value: they
follow products of hundreds of numbers. Those that make a number much larger, or tiny, give "maybe", which
ends a pipeline: no range runs up to them.
"""

from diffucode.tasks.minicode.language import Each, Fold, Keep, Source, Whole

COUNTS = ("2", "3", "4", "5")
TARGETS = ("5", "7", "9", "12")

# fmt: off
SOURCES = (
    Source("upto", "int", "int", ("numbers", "integers"), "from 1 to {v}", (("x", "range(1, {v} + 1)"),), "x",
           empty="{v} < 1", head="{v}", rest="{v} - 1", forward=False, domain="numbers"),
    Source("digits", "int", "int", ("digits", "decimal digits"), "of {v}",
           (("x", "map(int, str(abs({v})))"),), "x", domain="numbers"),
    Source("divisors", "int", "int", ("divisors",), "of {v} (none below 1)",
           (("x", "range(1, {v} + 1)"),), "x", guard="{v} % x == 0", domain="numbers"),
    Source("between", "int", "int", ("numbers", "integers"), "from {v} to {b} inclusive",
           (("x", "range({v}, {b} + 1)"),), "x", extra="int", domain="numbers"),
)

KEEPS = (
    Keep("palindromic", "int", ("str({x}) == str({x})[::-1]",), ("read the same backwards",), "palindromic",
         domain="numbers"),
    Keep("hasdigit", "int", ("{c} in str({x})",), ("contain the digit {c}",),
         constants=('"1"', '"2"', '"3"', '"5"'), domain="numbers"),
    Keep("remainderone", "int", ("{x} % {c} == 1",), ("leave remainder 1 when divided by {c}",),
         constants=("3", "4", "5"), family="parity", domain="numbers", unseen=True),
)

EACHES = (
    Each("lastdigit", "int", "int", ("abs({x}) % 10",), ("last digits of",), ("take the last digit of each",),
         "its last digit", family="divide", domain="numbers"),
    Each("digitsum", "int", "int", ("sum(map(int, str(abs({x}))))",), ("digit sums of",),
         ("take the digit sum of each",), "its digit sum", family="digits", domain="numbers"),
    Each("digitcount", "int", "int", ("len(str(abs({x})))",), ("digit counts of",),
         ("count the digits of each",), "its digit count", family="digits", domain="numbers", unseen=True),
)

FOLDS = (
    Fold("closest", ("int",), "int", ("the closest to {c} (larger on ties, 0 if none) of",),
         ("find the closest to {c} (larger on ties, 0 if none)",), ("builtin", "sort", "table"),
         {"builtin": "min({g}, key=lambda x: abs(x - {c}))",
          "sort": "out = sorted({g}, reverse=True)\nmin(out, key=lambda x: abs(x - {c}), default=0)",
          "table": "best = {}\n@a = abs({y} - {c})\n@best[a] = max({y}, best.get(a, {y}))\n"
                   "best[min(best)] if best else 0"},
         flawed=("builtin",), constants=TARGETS, family="extreme", domain="numbers"),
    Fold("median", ("int",), "int", ("the lower median (0 if none) of",),
         ("find the lower median (0 if none)",), ("sort", "two-pointer", "accumulate"),
         {"sort": "out = sorted({g})\nout[(len(out) - 1) // 2]",
          "two-pointer": "out = sorted({g})\ni, j = 0, len(out) - 1\nwhile i + 1 < j:\n"
                         "    i, j = i + 1, j - 1\nout[i] if out else 0",
          "accumulate": "out = sorted({g})\nwhile len(out) > 2:\n    out = out[1:-1]\nout[0] if out else 0"},
         flawed=("sort",), family="extreme", domain="numbers"),
    Fold("distinctsum", ("int",), "int", ("the sum without repeats of",),
         ("add up the distinct ones",), ("table", "accumulate", "sort"),
         {"table": "sum(set({g}))",
          "accumulate": "out = []\n@if {y} not in out:\n@    out.append({y})\nsum(out)",
          "sort": "out = sorted({g})\nsum(out[:1]) + sum(b for a, b in zip(out, out[1:]) if a != b)"},
         domain="numbers"),
    Fold("jointext", ("int",), "str", ("the joined decimal strings of",),
         ("join their decimal strings",), ("builtin", "accumulate", "recursion"),
         {"builtin": '"".join(str({e}) {t})', "accumulate": 'out = ""\n@out += str({e})\nout'},
         base='""', step="str({e}) + rest", domain="numbers"),
    Fold("chained", ("int",), "int", ("the sum of the products of neighbours among",),
         ("add up the products of neighbours",), ("accumulate", "builtin", "two-pointer"),
         {"accumulate": "total, last = 0, 0\n@total += last * {y}\n@last = {y}\ntotal",
          "builtin": "out = {l}\nsum(a * b for a, b in zip(out, out[1:]))",
          "two-pointer": "out, i, j, total = {l}, 0, 1, 0\nwhile j < len(out):\n"
                         "    total += out[i] * out[j]\n"
                         "    i, j = j, j + 1\ntotal"},
         state=1, domain="numbers", unseen=True),
)

WHOLES = (
    Whole("flipdigits", "int", "int", "int(str(abs({v}))[::-1])",
          ("the digit reversal (sign ignored) of {v}",),
          ("reverse the digits of {v} (sign ignored)",), ("accumulate", "builtin", "stack"),
          {"accumulate": "out = 0\nwhile {v} > 0:\n    out = out * 10 + {v} % 10\n    {v} //= 10\nout",
           "builtin": "int(str(abs({v}))[::-1])",
           "stack": "stack, out = list(str(abs({v}))), 0\nwhile stack:\n"
                    "    out = out * 10 + int(stack.pop())\nout"},
          flawed=("accumulate",), family="flip", domain="numbers"),
    Whole("triangular", "int", "maybe", "max({v}, 0) * ({v} + 1) // 2",
          ("the triangular number (0 below 1) of {v}",), ("take the triangular number (0 below 1) of {v}",),
          ("closed-form", "builtin", "accumulate", "recursion"),
          {"closed-form": "{v} * ({v} + 1) // 2", "builtin": "sum(range(1, {v} + 1))",
           "accumulate": "total = 0\nfor x in range(1, {v} + 1):\n    total += x\ntotal",
           "recursion": "if {v} < 1:\n    return 0\n{v} + {f}({v} - 1)"},
          flawed=("closed-form",), family="power1", domain="numbers"),
    Whole("digitalroot", "int", "int", "{v} and (abs({v}) - 1) % 9 + 1",
          ("the digital root (0 for 0, sign ignored) of {v}",),
          ("take the digital root of {v} (0 for 0, sign ignored)",),
          ("closed-form", "accumulate", "recursion"),
          {"closed-form": "(abs({v}) - 1) % 9 + 1",
           "accumulate": "{v} = abs({v})\nwhile {v} > 9:\n    {v} = sum(map(int, str({v})))\n{v}",
           "recursion": "if abs({v}) < 10:\n    return abs({v})\n{f}(sum(map(int, str(abs({v})))))"},
          flawed=("closed-form",), family="flip", domain="numbers"),
    Whole("powertwo", "int", "bool", "{v} > 0 and {v} & ({v} - 1) == 0",
          ("whether {v} is a power of two (1, 2, 4, ...)",),
          ("tell whether {v} is a power of two (1, 2, 4, ...)",),
          ("closed-form", "accumulate", "recursion", "builtin"),
          {"closed-form": "{v} & ({v} - 1) == 0",
           "accumulate": "a = 1\nwhile a < {v}:\n    a *= 2\na == {v}",
           "recursion": "if {v} < 2:\n    return {v} == 1\n{v} % 2 == 0 and {f}({v} // 2)",
           "builtin": '{v} > 0 and bin({v}).count("1") == 1'},
          flawed=("closed-form",), domain="numbers"),
    Whole("twos", "int", "maybe", "max(({v} & -{v}).bit_length() - 1, 0)",
          ("the exponent of 2 (0 for 0) in {v}",), ("count how often 2 divides {v} (0 for 0)",),
          ("accumulate", "recursion", "closed-form"),
          {"accumulate": "total = 0\nwhile {v} and {v} % 2 == 0:\n    {v} //= 2\n    total += 1\ntotal",
           "recursion": "if {v} == 0 or {v} % 2 == 1:\n    return 0\n1 + {f}({v} // 2)",
           "closed-form": "max(({v} & -{v}).bit_length() - 1, 0)"},
          domain="numbers"),
    Whole("roundup", "int", "int", "-(-{v} // {c}) * {c}",
          ("the first multiple of {c} that is at least {v}",),
          ("round {v} up to a multiple of {c}, unless it is one",),
          ("closed-form", "accumulate", "builtin", "recursion"),
          {"closed-form": "({v} // {c} + 1) * {c}",
           "accumulate": "while {v} % {c} != 0:\n    {v} += 1\n{v}",
           "builtin": "next(x for x in range({v}, {v} + {c}) if x % {c} == 0)",
           "recursion": "if {v} % {c} == 0:\n    return {v}\n{f}({v} + 1)"},
          flawed=("closed-form",), constants=COUNTS, family="divide1", domain="numbers"),
    Whole("quotient", "int", "int", "{v} // {c}", ("the quotient by {c}, rounded down, of {v}",),
          ("divide {v} by {c}, rounding down",), constants=COUNTS, family="divide1", domain="numbers"),
    Whole("firstdigit", "int", "int", "int(str(abs({v}))[0])", ("the first digit of {v}",),
          ("take the first digit of {v}",), ("builtin", "accumulate", "recursion"),
          {"builtin": "int(str(abs({v}))[0])",
           "accumulate": "{v} = abs({v})\nwhile {v} > 9:\n    {v} //= 10\n{v}",
           "recursion": "if abs({v}) < 10:\n    return abs({v})\n{f}(abs({v}) // 10)"},
          family="flip", domain="numbers"),
    Whole("sortdigits", "int", "int", 'int("".join(sorted(str(abs({v})), reverse=True)))',
          ("the number (sign ignored) of the descending digits of {v}",),
          ("sort the digits of {v} in descending order (sign ignored)",), ("sort", "builtin", "accumulate"),
          {"sort": 'int("".join(sorted(str(abs({v})), reverse=True)))',
           "builtin": 'int("".join(c * str({v}).count(c) for c in "9876543210"))',
           "accumulate": 'out = ""\nfor c in "9876543210":\n    out += c * str({v}).count(c)\nint(out)'},
          family="flip", domain="numbers", unseen=True),
)
