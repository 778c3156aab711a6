"""Grids of integers, small pictures: cells, rows and columns, turning, recolouring, joining."""

from diffucode.tasks.minicode.language import Each, Fold, Keep, Source, Whole

COLOURS = ("1", "2", "3")
SUMS = ("3", "4", "6", "8", "10")


def _rowwise(code: str) -> dict[str, str | tuple[str, ...]]:
    """Solutions that turn each row, {r}, into ``code``, in order."""
    row, first, popped = (code.replace("{r}", r) for r in ("row", "{v}[0]", "stack.pop()"))
    return {
        "builtin": f"[{row} for row in {{v}}]",
        "accumulate": f"out = []\nfor row in {{v}}:\n    out.append({row})\nout",
        "recursion": f"if not {{v}}:\n    return []\n[{first}] + {{f}}({{v}}[1:])",
        "stack": f"stack, out = {{v}}[::-1], []\nwhile stack:\n    out.append({popped})\nout"
        if code.count("{r}") == 1
        else f"stack, out = {{v}}[::-1], []\nwhile stack:\n    row = stack.pop()\n    out.append({row})\nout",
    }


# fmt: off
SOURCES = (
    Source("cells", "grid", "int", ("cells", "numbers"), "of {v}",
           (("row", "{v}"), ("x", "row")), "x", domain="grids"),
    Source("rows", "grid", "row", ("rows",), "of {v}", (("row", "{v}"),), "row",
           empty="not {v}", head="{v}[0]", rest="{v}[1:]", domain="grids"),
    Source("columns", "grid", "row", ("columns",), "of {v}", (("col", "zip(*{v})"),), "col", domain="grids"),
    Source("rowtotals", "grid", "int", ("row sums",), "of {v}", (("x", "map(sum, {v})"),), "x",
           empty="not {v}", head="sum({v}[0])", rest="{v}[1:]", domain="grids"),
    Source("diagonal", "grid", "int", ("cells",), "on the main diagonal of {v}",
           (("y, row", "enumerate({v})"), ("x", "row[y:y + 1]")), "x", domain="grids", unseen=True),
)

KEEPS = (
    Keep("rowholding", "row", ("{c} in {x}",), ("contain {c}",), constants=COLOURS, domain="grids"),
    Keep("rowuniform", "row", ("len(set({x})) == 1",), ("have all cells equal",),
         domain="grids", family="rowuniform"),
    Keep("rowheavy", "row", ("sum({x}) > {c}",), ("have a sum above {c}",), constants=SUMS,
         domain="grids"),
    Keep("rowclimbing", "row", ("{x}[0] < {x}[-1]",), ("end higher than they start",),
         domain="grids", family="rowuniform", unseen=True),
)

EACHES = (
    Each("rowmax", "row", "int", ("max({x})",), ("largest values of",), ("take the largest value of each",),
         "its largest value", domain="grids", family="perrow"),
    Each("rowcount", "row", "int", ("{x}.count({c})",), ("counts of {c} in",), ("count {c} in each",),
         "its count of {c}", constants=COLOURS, domain="grids", family="perrow"),
    Each("rowflipped", "row", "row", ("{x}[::-1]",), ("reverses of",), ("reverse each",), "its reverse",
         domain="grids", family="perrow"),
)

FOLDS = (
    Fold("gather", ("row",), "grid", ("a grid whose rows are",), ("make them the rows of a grid",),
         ("accumulate", "builtin", "stack", "recursion"),
         {"accumulate": "out = []\n@out.append(list({e}))\nout", "builtin": "[list({e}) {t}]",
          "stack": "stack, out = {l}[::-1], []\nwhile stack:\n    out.append(list(stack.pop()))\nout"},
         base="[]", step="[{e}] + rest", domain="grids"),
    Fold("heaviest", ("row",), "ints", ("the one with the largest sum (first on ties, [] if none) of",),
         ("find the one with the largest sum (first on ties, [] if none)",),
         ("sort", "builtin", "accumulate"),
         {"sort": "out = sorted({g}, key=sum)\nlist(out[-1]) if out else []",
          "builtin": "list(max({g}, key=sum, default=[]))",
          "accumulate": "best = None\n@if best is None or sum({y}) > sum(best):\n"
                        "@    best = list({y})\nbest or []"},
         flawed=("sort",), domain="grids"),
    Fold("uniquerows", ("row",), "grid", ("a grid whose rows are, once each in order of appearance,",),
         ("make them, once each in order of appearance, the rows of a grid",),
         ("sort", "table", "accumulate"),
         {"sort": "out = sorted({tuple({e}) {t}})\n[list(row) for row in out]",
          "table": "out = dict.fromkeys(tuple({e}) {t})\n[list(row) for row in out]",
          "accumulate": "out = []\n@if list({y}) not in out:\n@    out.append(list({y}))\nout"},
         flawed=("sort",), domain="grids"),
    Fold("added", ("row",), "ints", ("the place-by-place sums of",), ("add them up place by place",),
         ("builtin", "accumulate", "table", "stack"),
         {"builtin": "[sum(a) for a in zip(*{l})]",
          "accumulate": "out = []\n@out = [a + b for a, b in zip(out or [0] * len({y}), {y})]\nout",
          "table": "counts = {}\n@for i, x in enumerate({e}):\n@    counts[i] = counts.get(i, 0) + x\n"
                   "list(counts.values())"},
         stacked=True, state=1, domain="grids"),
    Fold("tops", ("row",), "ints", ("the place-by-place maximum of",), ("take their place-by-place maximum",),
         ("accumulate", "builtin", "stack"),
         {"accumulate": "out = []\n@out = [max(a, b) for a, b in zip(out or {y}, {y})]\nout",
          "builtin": "[max(a) for a in zip(*{l})]"},
         stacked=True, domain="grids", unseen=True),
)

WHOLES = (
    Whole("transpose", "grid", "grid", "list(map(list, zip(*{v})))",
          ("the transpose ([] if empty) of {v}",), ("transpose {v} ([] if empty)",),
          ("builtin", "accumulate", "recursion", "stack"),
          {"builtin": "[[row[i] for row in {v}] for i in range(len({v}[0]))]",
           "accumulate": "out = []\nfor col in zip(*{v}):\n    out.append(list(col))\nout",
           "recursion": "if not {v} or not {v}[0]:\n    return []\n"
                        "[[row[0] for row in {v}]] + {f}([row[1:] for row in {v}])",
           "stack": "stack, out = list(zip(*{v})), []\nwhile stack:\n"
                    "    out.append(list(stack.pop()))\nout[::-1]"},
          flawed=("builtin",), domain="grids", family="turned"),
    Whole("clockwise", "grid", "grid", "list(map(list, zip(*{v}[::-1])))",
          ("the clockwise rotation of {v}",), ("rotate {v} clockwise",),
          ("builtin", "accumulate", "stack", "recursion"),
          {"builtin": ("list(map(list, zip(*{v}[::-1])))", "[list(col)[::-1] for col in zip(*{v})]"),
           "accumulate": "out = []\nfor col in zip(*{v}):\n    out.append(list(col)[::-1])\nout",
           "recursion": "if not {v} or not {v}[0]:\n    return []\n"
                        "[[row[0] for row in {v}[::-1]]] + {f}([row[1:] for row in {v}])",
           "stack": "stack, out = list(zip(*{v}[::-1])), []\nwhile stack:\n"
                    "    out.insert(0, list(stack.pop()))\nout"},
          domain="grids", family="turned"),
    Whole("fliplr", "grid", "grid", "[row[::-1] for row in {v}]", ("the left-right flip of {v}",),
          ("flip {v} left to right",), ("builtin", "accumulate", "recursion", "stack"),
          _rowwise("{r}[::-1]"), domain="grids", family="turned"),
    Whole("flipud", "grid", "grid", "{v}[::-1]", ("the top-bottom flip of {v}",),
          ("flip {v} top to bottom",), ("stack", "two-pointer", "builtin", "recursion"),
          {"stack": "stack, out = list({v}), []\nwhile stack:\n    out.append(stack.pop())\nout",
           "two-pointer": "out = list({v})\ni, j = 0, len(out) - 1\nwhile i < j:\n"
                          "    out[i], out[j] = out[j], out[i]\n    i, j = i + 1, j - 1\nout",
           "builtin": ("{v}[::-1]", "list(reversed({v}))"),
           "recursion": "if not {v}:\n    return []\n{f}({v}[1:]) + {v}[:1]"},
          domain="grids", family="turned"),
    Whole("cropped", "grid", "grid", "[row[1:-1] for row in {v}[1:-1]]",
          ("the part inside the border of {v}",),
          ("crop the border of {v}",), ("builtin", "accumulate", "stack"),
          {"builtin": "[row[1:-1] for row in {v}[1:-1]]",
           "accumulate": "out = []\nfor row in {v}[1:-1]:\n    out.append(row[1:-1])\nout",
           "stack": "stack, out = {v}[1:-1][::-1], []\nwhile stack:\n    out.append(stack.pop()[1:-1])\nout"},
          domain="grids"),
    Whole("padded", "grid", "grid", "[[0] + row + [0] for row in {v}]",
          ("the rows, with a 0 at both ends, of {v}",),
          ("put a 0 at both ends of each row of {v}",), ("accumulate", "builtin", "stack", "recursion"),
          _rowwise("[0] + {r} + [0]"), domain="grids", unseen=True),
    Whole("threshold", "grid", "grid", "[[int(x > {c}) for x in row] for row in {v}]",
          ("the 0/1 mask of the cells above {c} in {v}",), ("set cells of {v} above {c} to 1, others to 0",),
          ("builtin", "accumulate", "recursion", "stack"), _rowwise("[int(x > {c}) for x in {r}]"),
          constants=COLOURS, domain="grids"),
    Whole("maximum", "grid", "grid", "[[max(x, y) for x, y in zip(a, b)] for a, b in zip({v}, {b})]",
          ("the cell-by-cell maximum of {v} and {b} (where both have cells)",),
          ("take the cell-by-cell maximum of {v} and {b} (where both have cells)",),
          ("builtin", "accumulate"),
          {"builtin": "[[max(x, y) for x, y in zip(a, b)] for a, b in zip({v}, {b})]",
           "accumulate": "out = []\nfor a, b in zip({v}, {b}):\n"
                         "    out.append([max(x, y) for x, y in zip(a, b)])\nout"},
          extra="grid", domain="grids", unseen=True),
    Whole("beside", "grid", "grid", "[a + b for a, b in zip({v}, {b})]",
          ("the rows of {v} joined to those of {b} (as far as both go)",),
          ("join the rows of {v} to those of {b} (as far as both go)",),
          ("builtin", "accumulate", "two-pointer"),
          {"builtin": "[a + b for a, b in zip({v}, {b})]",
           "accumulate": "out = []\nfor a, b in zip({v}, {b}):\n    out.append(a + b)\nout",
           "two-pointer": "out, i, j = [], 0, 0\nwhile i < len({v}) and j < len({b}):\n"
                          "    out.append({v}[i] + {b}[j])\n    i, j = i + 1, j + 1\nout"},
          extra="grid", domain="grids"),
    Whole("compact", "grid", "grid", "list(filter(any, {v}))", ("the rows, all-zero ones dropped, of {v}",),
          ("drop all-zero rows of {v}",), ("builtin", "accumulate", "stack", "recursion"),
          {"builtin": ("[row for row in {v} if any(row)]", "list(filter(any, {v}))"),
           "accumulate": "out = []\nfor row in {v}:\n    if any(row):\n        out.append(row)\nout",
           "recursion": "if not {v}:\n    return []\nrest = {f}({v}[1:])\n"
                        "{v}[:1] + rest if any({v}[0]) else rest",
           "stack": "stack, out = {v}[::-1], []\nwhile stack:\n    row = stack.pop()\n"
                    "    if any(row):\n        out.append(row)\nout"},
          domain="grids"),
    Whole("flat", "grid", "ints", "sum({v}, [])", ("the list of all cells of {v}",),
          ("list all cells of {v}",), ("builtin", "recursion", "accumulate", "stack"),
          {"builtin": ("[x for row in {v} for x in row]", "sum({v}, [])"),
           "recursion": "if not {v}:\n    return []\n{v}[0] + {f}({v}[1:])",
           "accumulate": "out = []\nfor row in {v}:\n    out += row\nout",
           "stack": "stack, out = {v}[::-1], []\nwhile stack:\n    out += stack.pop()\nout"},
          domain="grids"),
    Whole("occurrences", "grid", "int", "sum(row.count({c}) for row in {v})",
          ("how many cells of {v} are {c}",), ("count the cells of {v} that are {c}",),
          ("accumulate", "builtin", "recursion", "table"),
          {"accumulate": "total = 0\nfor row in {v}:\n    total += row.count({c})\ntotal",
           "builtin": "sum(row.count({c}) for row in {v})",
           "recursion": "if not {v}:\n    return 0\n{v}[0].count({c}) + {f}({v}[1:])",
           "table": "counts = {}\nfor row in {v}:\n    for x in row:\n"
                    "        counts[x] = counts.get(x, 0) + 1\ncounts.get({c}, 0)"},
          constants=COLOURS, domain="grids"),
    Whole("ismirror", "grid", "bool", "all(row == row[::-1] for row in {v})",
          ("whether {v} is left-right symmetric",), ("tell whether {v} is left-right symmetric",),
          ("builtin", "two-pointer", "accumulate", "recursion"),
          {"builtin": "all(row == row[::-1] for row in {v})",
           "two-pointer": "out = list(zip(*{v}))\ni, j = 0, len(out) - 1\nwhile i < j and out[i] == out[j]:\n"
                          "    i, j = i + 1, j - 1\ni >= j",
           "accumulate": "for row in {v}:\n    if row != row[::-1]:\n        return False\nTrue",
           "recursion": "if not {v}:\n    return True\n{v}[0] == {v}[0][::-1] and {f}({v}[1:])"},
          domain="grids"),
    Whole("isuniform", "grid", "bool", "all(row == {v}[0] for row in {v})",
          ("whether all rows of {v} are equal (true if none)",),
          ("tell whether all rows of {v} are equal (true if none)",),
          ("table", "builtin", "accumulate", "two-pointer"),
          {"table": "len({tuple(row) for row in {v}}) == 1",
           "builtin": "all(row == {v}[0] for row in {v})",
           "accumulate": "for row in {v}:\n    if row != {v}[0]:\n        return False\nTrue",
           "two-pointer": "i, j = 0, 1\nwhile j < len({v}) and {v}[i] == {v}[j]:\n    i, j = j, j + 1\n"
                          "j >= len({v})"},
          flawed=("table",), domain="grids"),
)
