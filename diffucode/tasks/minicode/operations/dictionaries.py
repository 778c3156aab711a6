"""Dictionaries from words to integers: entries, ties of values, grouping, merging."""

from diffucode.tasks.minicode.language import Each, Fold, Keep, Source, Whole
from diffucode.tasks.minicode.operations.shared import SMALL, WIDE

# fmt: off
SOURCES = (
    Source("values", "dict", "int", ("values",), "in {v}", (("x", "{v}.values()"),), "x",
           empty="not {v}", head="list({v}.values())[0]", rest="dict(list({v}.items())[1:])",
           domain="dictionaries"),
    Source("keys", "dict", "word", ("keys",), "in {v}", (("w", "{v}.keys()"),), "w",
           empty="not {v}", head="list({v})[0]", rest="dict(list({v}.items())[1:])", domain="dictionaries"),
    Source("entries", "dict", "item", ("entries",), "in {v}", (("key, x", "{v}.items()"),), "(key, x)",
           domain="dictionaries"),
)

KEEPS = (
    Keep("valueabove", "item", ("x > {c}",), ("have a value above {c}",),
         constants=WIDE, family="threshold", domain="dictionaries"),
    Keep("valueeven", "item", ("x % 2 == 0",), ("have an even value",),
         family="parity", domain="dictionaries"),
    Keep("longkey", "item", ("len(key) > {c}",), ("have a key longer than {c}",),
         constants=("3", "4"), domain="dictionaries"),
    Keep("vowelkey", "item", ("key[0] in 'aeiou'",), ("have a key starting with a vowel",),
         domain="dictionaries", family="keyletter"),
    Keep("keyend", "item", ("key[-1] == {c}",), ("have a key ending in {c}",),
         constants=("'e'", "'r'", "'n'"), domain="dictionaries", family="keyletter", unseen=True),
)

EACHES = (
    Each("thekey", "item", "word", ("key",), ("keys of",), ("take the key of each",), "its key",
         domain="dictionaries"),
    Each("thevalue", "item", "int", ("x",), ("values of",), ("take the value of each",), "its value",
         domain="dictionaries"),
    Each("keymax", "item", "int", ("max(x, len(key))",), ("larger of value and key length of",),
         ("take the larger of value and key length of each",), "the larger of its value and key length",
         domain="dictionaries", unseen=True),
)

FOLDS = (
    Fold("topkey", ("item",), "str",
         ("the key with the largest value (alphabetically first on ties, '' if none) among",),
         ("find the key with the largest value (alphabetically first on ties, '' if none)",),
         ("builtin", "sort", "accumulate"),
         {"builtin": "out = {key: x {t}}\nmax(out, key=out.get, default='')",
          "sort": "out = sorted((-x, key) {t})\nout[0][1] if out else ''",
          "accumulate": "best = None\n@if best is None or (-x, key) < best:\n@    best = (-x, key)\n"
                        "best[1] if best else ''"},
         flawed=("builtin",), domain="dictionaries"),
    Fold("pick", ("item",), "dict", ("a dict of",), ("put them in a dict",),
         ("builtin", "accumulate", "stack"),
         {"builtin": "{key: x {t}}", "accumulate": "out = {}\n@out[key] = x\nout"},
         stacked=True, domain="dictionaries"),
    Fold("invert", ("item",), "groups",
         ("a dict from value to key (alphabetically first on ties) of",),
         ("make a dict from value to key (alphabetically first on ties)",),
         ("builtin", "sort", "table"),
         {"builtin": "{x: key {t}}",
          "sort": "out = {}\nfor key, x in sorted({g}):\n    out.setdefault(x, key)\nout",
          "table": "out = {}\n@out[x] = min(key, out.get(x, key))\nout"},
         flawed=("builtin",), domain="dictionaries"),
    Fold("group", ("item",), "groups", ("a dict from value to its sorted keys of",),
         ("make a dict from value to its sorted keys",), ("table", "sort", "builtin"),
         {"table": "out = {}\n@out.setdefault(x, []).append(key)\nout",
          "sort": "out = {}\nfor key, x in sorted({g}):\n    out.setdefault(x, []).append(key)\nout",
          "builtin": "out = {l}\n{x: sorted(a for a, b in out if b == x) for key, x in out}"},
         flawed=("table",), domain="dictionaries"),
    Fold("frequencies", ("int",), "groups", ("a dict of how often each occurs among",),
         ("make a dict of how often each occurs",), ("table", "builtin", "sort"),
         {"table": "counts = {}\n@counts[{e}] = counts.get({e}, 0) + 1\ncounts",
          "builtin": "out = {l}\n{x: out.count(x) for x in out}",
          "sort": "out = sorted({g})\n{x: out.count(x) for x in out}"},
         domain="dictionaries"),
)

WHOLES = (
    Whole("merge", "dict", "dict", "{key: {v}.get(key, 0) + {b}.get(key, 0) for key in {v} | {b}}",
          ("{v} with the values of {b} added key by key",), ("add the values of {b} to {v} key by key",),
          ("table", "builtin", "accumulate"),
          {"table": "out = dict({v})\nfor key, x in {b}.items():\n    out[key] = out.get(key, 0) + x\nout",
           "builtin": "{key: {v}.get(key, 0) + {b}.get(key, 0) for key in {v} | {b}}",
           "accumulate": "out = dict({v})\nfor key, x in {b}.items():\n    if key in out:\n"
                         "        x += out[key]\n    out[key] = x\nout"},
          extra="dict", state=1, domain="dictionaries", family="two"),
    Whole("lifted", "dict", "dict", "{key: x + {c} for key, x in {v}.items()}",
          ("{v} with {c} added to each value",), ("add {c} to each value of {v}",),
          constants=SMALL, domain="dictionaries", family="affine"),
    Whole("sortedkeys", "dict", "words", "sorted({v})", ("the sorted keys of {v}",),
          ("sort the keys of {v}",), domain="dictionaries", family="keyorder"),
    Whole("byvalue", "dict", "words", "sorted({v}, key=lambda w: ({v}[w], w))",
          ("the keys, sorted by value (alphabetically on ties), of {v}",),
          ("sort the keys of {v} by value (alphabetically on ties)",),
          ("sort", "table", "accumulate", "recursion"),
          {"sort": "sorted({v}, key={v}.get)",
           "table": "out = {}\nfor key in sorted({v}):\n    out.setdefault({v}[key], []).append(key)\n"
                    "[key for x in sorted(out) for key in out[x]]",
           "accumulate": "out = []\nwhile len(out) < len({v}):\n"
                         "    out.append(min((x, key) for key, x in {v}.items() if key not in out)[1])\nout",
           "recursion": "if not {v}:\n    return []\nx, key = min((x, key) for key, x in {v}.items())\n"
                        "[key] + {f}({a: b for a, b in {v}.items() if a != key})"},
          flawed=("sort",), domain="dictionaries", family="keyorder"),
    Whole("sortedvalues", "dict", "ints", "sorted({v}.values())", ("the sorted values of {v}",),
          ("sort the values of {v}",), domain="dictionaries", family="sorting"),
    Whole("entrycount", "dict", "int", "len({v})", ("the number of entries in {v}",),
          ("count the entries of {v}",), domain="dictionaries", family="count"),
    Whole("totalvalue", "dict", "int", "sum({v}.values())", ("the total value of {v}",),
          ("add up the values of {v}",), domain="dictionaries", family="sum"),
    Whole("topvalue", "dict", "int", "max({v}.values(), default=0)",
          ("the largest value (0 if empty) of {v}",),
          ("take the largest value (0 if empty) of {v}",), ("accumulate", "builtin", "sort"),
          {"accumulate": "best = 0\nfor x in {v}.values():\n    best = max(best, x)\nbest",
           "builtin": "max({v}.values(), default=0)",
           "sort": "out = sorted({v}.values())\nout[-1] if out else 0"},
          flawed=("accumulate",), domain="dictionaries", family="extreme"),
    Whole("overlap", "dict", "int", "len({v}.keys() & {b}.keys())",
          ("the number of keys shared by {v} and {b}",),
          ("count the keys shared by {v} and {b}",), ("table", "builtin", "accumulate"),
          {"table": "len({v}.keys() & {b}.keys())", "builtin": "sum(key in {b} for key in {v})",
           "accumulate": "total = 0\nfor key in {v}:\n    if key in {b}:\n        total += 1\ntotal"},
          extra="dict", domain="dictionaries", family="two"),
    Whole("distinct", "dict", "bool", "len(set({v}.values())) == len({v})",
          ("whether the values of {v} are all different",),
          ("tell whether the values of {v} are all different",),
          ("table", "sort", "accumulate"),
          {"table": "len(set({v}.values())) == len({v})",
           "sort": "out = sorted({v}.values())\nall(a != b for a, b in zip(out, out[1:]))",
           "accumulate": "out = []\nfor x in {v}.values():\n    if x in out:\n        return False\n"
                         "    out.append(x)\nTrue"},
          domain="dictionaries"),
)
