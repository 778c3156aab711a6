"""Lists of integers: rearranging, pairing, running values."""

from diffucode.tasks.minicode.language import Each, Fold, Keep, Source, Whole

COUNTS = ("2", "3", "4")

# fmt: off
SOURCES = (
    Source("items", "ints", "int", ("numbers", "integers"), "in {v}", (("x", "{v}"),), "x",
           empty="not {v}", head="{v}[0]", rest="{v}[1:]", domain="lists"),
    Source("pairs", "ints", "pair", ("pairs of numbers",), "at the same places in {v} and {b}",
           (("x, y", "zip({v}, {b})"),), "x", extra="ints", domain="lists"),
    Source("neighbours", "ints", "pair", ("pairs of neighbours",), "in {v}",
           (("x, y", "zip({v}, {v}[1:])"),), "x", domain="lists"),
)

KEEPS = (
    Keep("rising", "pair", ("x < y",), ("have a smaller first part",), domain="lists"),
    Keep("equalpair", "pair", ("x == y",), ("have two equal parts",), domain="lists", family="rising"),
)

EACHES = (
    Each("pairsum", "pair", "int", ("x + y",), ("sums of",), ("add the two parts of each",), "its sum",
         domain="lists"),
    Each("pairproduct", "pair", "int", ("x * y",), ("products of",), ("multiply the two parts of each",),
         "its product", domain="lists"),
    Each("pairgap", "pair", "int", ("y - x",), ("differences (second minus first) of",),
         ("subtract the first part of each from the second",), "its difference", domain="lists"),
    Each("pairmin", "pair", "int", ("min(x, y)",), ("smaller parts of",), ("take the smaller part of each",),
         "its smaller part", domain="lists", unseen=True),
)

FOLDS = (
    Fold("second", ("int",), "int", ("the second largest distinct value (0 if none) of",),
         ("find the second largest distinct value (0 if none)",), ("sort", "table", "accumulate"),
         {"sort": "out = sorted({g})\nout[-2] if len(out) > 1 else 0",
          "table": "out = sorted(set({g}))\nout[-2] if len(out) > 1 else 0",
          "accumulate": "out = []\n@if {y} not in out:\n@    out.append({y})\n"
                        "out.sort()\nout[-2] if len(out) > 1 else 0"},
         flawed=("sort",), family="extreme", domain="lists"),
    Fold("spread", ("int",), "int", ("the largest minus the smallest (0 if none) of",),
         ("subtract the smallest from the largest (0 if none)",),
         ("builtin", "sort", "accumulate"),
         {"builtin": "out = {l}\nmax(out) - min(out)",
          "sort": "out = sorted({g})\nout[-1] - out[0] if out else 0",
          "accumulate": "out = []\n@out.append({e})\nmax(out, default=0) - min(out, default=0)"},
         flawed=("builtin",), family="extreme", domain="lists"),
    Fold("mode", ("int",), "int", ("the most frequent (smallest on ties, 0 if none) of",),
         ("find the most frequent (smallest on ties, 0 if none)",),
         ("builtin", "sort", "table"),
         {"builtin": "out = {l}\nmax(out, key=out.count, default=0)",
          "sort": "out = sorted({g})\nmax(out, key=out.count, default=0)",
          "table": "counts = {}\n@counts[{e}] = counts.get({e}, 0) + 1\n"
                   "min(counts, key=lambda x: (-counts[x], x), default=0)"},
         flawed=("builtin",), family="extreme", domain="lists"),
    Fold("longestrun", ("int",), "int", ("the length of the longest run of equal values among",),
         ("find the length of the longest run of equal values",), ("accumulate", "stack", "two-pointer"),
         {"accumulate": "best, size, last = 0, 0, None\n@size = size + 1 if {y} == last else 1\n"
                        "@last = {y}\n@best = max(best, size)\nbest",
          "stack": "run, best = [], 0\n@if run and run[-1] != {y}:\n@    run = []\n@run.append({y})\n"
                   "@best = max(best, len(run))\nbest",
          "two-pointer": "out, i, best = {l}, 0, 0\nfor j in range(len(out)):\n    if out[i] != out[j]:\n"
                         "        i = j\n    best = max(best, j - i + 1)\nbest"},
         state=2, domain="lists"),
)

WHOLES = (
    Whole("reverse", "ints", "ints", "{v}[::-1]", ("the reverse of {v}",), ("reverse {v}",),
          ("builtin", "two-pointer", "recursion", "stack"),
          {"builtin": ("{v}[::-1]", "list(reversed({v}))"),
           "two-pointer": "out = list({v})\ni, j = 0, len(out) - 1\nwhile i < j:\n"
                          "    out[i], out[j] = out[j], out[i]\n    i, j = i + 1, j - 1\nout",
           "recursion": "if not {v}:\n    return []\n{f}({v}[1:]) + {v}[:1]",
           "stack": "stack, out = list({v}), []\nwhile stack:\n    out.append(stack.pop())\nout"},
          domain="lists"),
    Whole("sort", "ints", "ints", "sorted({v})", ("sorted {v}",),
          ("sort {v}",), domain="lists", family="sorting"),
    Whole("drop", "ints", "ints", "{v}[{c}:]", ("{v} without its first {c} elements",),
          ("drop the first {c} elements of {v}",), constants=COUNTS, domain="lists", family="slice"),
    Whole("rotate", "ints", "ints", "{v}[{c}:] + {v}[:{c}]", ("{v} rotated left by {c}",),
          ("rotate {v} left by {c}",), constants=COUNTS, domain="lists"),
    Whole("dedupe", "ints", "ints", "list(dict.fromkeys({v}))",
          ("{v} without repeats",), ("remove repeats from {v}, keeping first ones",),
          ("sort", "table", "accumulate"),
          {"sort": "sorted(set({v}))", "table": "list(dict.fromkeys({v}))",
           "accumulate": "out = []\nfor x in {v}:\n    if x not in out:\n        out.append(x)\nout"},
          flawed=("sort",), domain="lists"),
    Whole("prefix", "ints", "ints", "[sum({v}[:i + 1]) for i in range(len({v}))]",
          ("the running sums of {v}",), ("take the running sums of {v}",),
          ("accumulate", "builtin", "recursion"),
          {"accumulate": "out, total = [], 0\nfor x in {v}:\n    total += x\n    out.append(total)\nout",
           "builtin": "[sum({v}[:i + 1]) for i in range(len({v}))]",
           "recursion": "if not {v}:\n    return []\n{f}({v}[:-1]) + [sum({v})]"},
          state=1, domain="lists"),
    Whole("steps", "ints", "ints", "[b - a for a, b in zip({v}, {v}[1:])]",
          ("the differences between neighbours of {v}",),
          ("take the differences between neighbours of {v}",),
          ("builtin", "accumulate", "two-pointer"),
          {"builtin": "[b - a for a, b in zip({v}, {v}[1:])]",
           "accumulate": "out = []\nfor i in range(1, len({v})):\n    out.append({v}[i] - {v}[i - 1])\nout",
           "two-pointer": "i, j, out = 0, 1, []\nwhile j < len({v}):\n    out.append({v}[j] - {v}[i])\n"
                          "    i, j = j, j + 1\nout"},
          state=1, domain="lists"),
    Whole("common", "ints", "ints", "[x for x in {v} if x in {b}]",
          ("the elements of {v} that are also in {b}",),
          ("keep the elements of {v} that are also in {b}",), extra="ints", domain="lists", family="two"),
    Whole("ispalindrome", "ints", "bool", "{v} == {v}[::-1]", ("whether {v} reads the same backwards",),
          ("tell whether {v} reads the same backwards",),
          ("builtin", "two-pointer", "stack"),
          {"builtin": "{v} == {v}[::-1]",
           "two-pointer": "i, j = 0, len({v}) - 1\nwhile i < j and {v}[i] == {v}[j]:\n"
                          "    i, j = i + 1, j - 1\ni >= j",
           "stack": "stack = list({v})\nall(x == stack.pop() for x in {v})"},
          domain="lists"),
    Whole("isascending", "ints", "bool", "{v} == sorted({v})", ("whether {v} never decreases",),
          ("tell whether {v} never decreases",), ("sort", "builtin", "two-pointer"),
          {"sort": "{v} == sorted({v})", "builtin": "all(a <= b for a, b in zip({v}, {v}[1:]))",
           "two-pointer": "i, j = 0, 1\nwhile j < len({v}) and {v}[i] <= {v}[j]:\n    i, j = j, j + 1\n"
                          "j >= len({v})"},
          domain="lists"),
    Whole("sizeof", "ints", "int", "len({v})", ("the length of {v}",), ("take the length of {v}",),
          domain="lists"),
    Whole("inner", "ints", "ints", "{v}[1:-1]", ("{v} without its first and last element",),
          ("drop the first and last element of {v}",), domain="lists", family="slice", unseen=True),
)
