"""Texts and words: characters, neighbouring characters, word lists.

Kind "twin" is a pair of characters x, y.
"""

from diffucode.tasks.minicode.language import Each, Fold, Keep, Source, Whole

LENGTHS = ("3", "4", "5")
FIRSTS = ("'e'", "'s'", "'t'")
INSIDE = ("'a'", "'o'", "'r'")
TEXT = ("word", "char")

# fmt: off
SOURCES = (
    Source("characters", "str", "char", ("characters",), "of {v}", (("c", "{v}"),), "c",
           empty="not {v}", head="{v}[0]", rest="{v}[1:]", domain="strings"),
    Source("split", "str", "word", ("words",), "of {v}", (("w", "{v}.split()"),), "w", domain="strings"),
    Source("names", "words", "word", ("words", "strings"), "in {v}", (("w", "{v}"),), "w",
           empty="not {v}", head="{v}[0]", rest="{v}[1:]", domain="strings"),
)

KEEPS = (
    Keep("vowel", "char", ("{x} in 'aeiou'",), ("are lowercase vowels", "are one of 'aeiou'"),
         family="class", domain="strings"),
    Keep("letter", "char", ("{x}.isalpha()",), ("are letters",), family="class", domain="strings"),
    Keep("longer", "word", ("len({x}) > {c}",), ("are longer than {c} characters",), constants=LENGTHS,
         family="length", domain="strings"),
    Keep("starting", "word", ("{x}[:1] == {c}", "{x}.startswith({c})"), ("start with {c}",), constants=FIRSTS,
         family="affix", domain="strings"),
    Keep("containing", "word", ("{c} in {x}",), ("contain {c}",), constants=INSIDE,
         family="holding", domain="strings"),
    Keep("bookended", "word", ("{x}[:1] == {x}[-1:]",), ("start and end alike",),
         family="mirrored", domain="strings", unseen=True),
)

EACHES = (
    Each("raised", "char", "char", ("{x}.upper()",), ("uppercase forms of",), ("convert each to uppercase",),
         "its uppercase form", family="case", domain="strings"),
    Each("code", "char", "int", ("ord({x})",), ("code points of",), ("take the code point of each",),
         "its code point", family="code", domain="strings"),
    Each("length", "word", "int", ("len({x})",), ("lengths of",), ("take the length of each",), "its length",
         domain="strings"),
    Each("shout", "word", "word", ("{x}.upper()",), ("uppercase forms of",), ("convert each to uppercase",),
         "its uppercase form", family="case", domain="strings"),
    Each("flip", "word", "word", ("{x}[::-1]",), ("reversals of",), ("reverse each",), "its reversal",
         family="mirrored", domain="strings"),
    Each("initial", "word", "word", ("{x}[:1]",), ("first letters of",), ("take the first letter of each",),
         "its first letter", family="cut", domain="strings"),
    Each("rotated", "word", "word", ("{x}[1:] + {x}[:1]",), ("left rotations by one of",),
         ("rotate each left by one",), "its left rotation by one", family="cut", domain="strings",
         unseen=True),
)

FOLDS = (
    Fold("joined", TEXT, "str", ("the concatenation of",), ("concatenate them", "join them into a string"),
         ("builtin", "accumulate", "recursion", "stack"),
         {"builtin": "''.join({g})", "accumulate": "out = ''\n@out += {e}\nout",
          "stack": "stack, out = list({g}), ''\nwhile stack:\n    out = stack.pop() + out\nout"},
         base="''", step="{e} + rest", family="joining", domain="strings"),
    Fold("distinctly", ("char",), "str", ("the string (repeats removed, in order) of",),
         ("join them without repeats, in order",), ("sort", "table", "accumulate"),
         {"sort": "''.join(sorted(set({g})))", "table": "''.join(dict.fromkeys({g}))",
          "accumulate": "out = ''\n@if {y} not in out:\n@    out += {y}\nout"},
         flawed=("sort",), family="joining", domain="strings"),
    Fold("longest", ("word",), "element", ("the longest (first on ties, '' if none) of",),
         ("find the longest (first on ties, '' if none)",), ("sort", "accumulate", "builtin", "recursion"),
         {"sort": "out = sorted({g}, key=len)\nout[-1] if out else ''",
          "accumulate": "best = ''\n@if len({y}) > len(best):\n@    best = {y}\nbest",
          "builtin": "max({g}, key=len, default='')"},
         base="''", step="max({e}, rest, key=len)", flawed=("sort",), family="extreme", domain="strings"),
    Fold("earliest", TEXT, "element", ("the alphabetically first ('' if none) of",),
         ("find the alphabetically first ('' if none)",), ("builtin", "sort", "accumulate"),
         {"builtin": "min({g})", "sort": "out = sorted({g})\nout[0] if out else ''",
          "accumulate": "best = None\n@if best is None or {y} < best:\n@    best = {y}\nbest or ''"},
         flawed=("builtin",), family="extreme", domain="strings"),
    Fold("runs", TEXT, "int", ("the number of runs of equal ones (0 if none) among",),
         ("count the runs of equal ones (0 if none)",), ("builtin", "accumulate", "stack"),
         {"builtin": "out = {l}\nsum(a != b for a, b in zip(out, out[1:])) + 1",
          "accumulate": "out, total = {l}, 0\nfor i in range(len(out)):\n"
                        "    total += i == 0 or out[i] != out[i - 1]\ntotal",
          "stack": "stack, total = list({g}), 0\nwhile stack:\n    x = stack.pop()\n"
                   "    total += stack[-1:] != [x]\ntotal"},
         flawed=("builtin",), state=1, domain="strings"),
    Fold("streak", ("char",), "str", ("the longest run of one character (first on ties) among",),
         ("find the longest run of one character (first on ties)",), ("accumulate", "builtin", "two-pointer"),
         {"accumulate": "best = run = ''\n@run = run + {y} if {y} in run else {y}\n"
                        "@best = max(best, run, key=len)\nbest",
          "builtin": "from itertools import groupby\n"
                     "max((''.join(b) for a, b in groupby({g})), key=len, default='')",
          "two-pointer": "w = ''.join({g})\ni, j, best = 0, 0, ''\nwhile j < len(w):\n"
                         "    i, j = i if w[i] == w[j] else j, j + 1\n"
                         "    best = max(best, w[i:j], key=len)\nbest"},
         state=2, domain="strings"),
)

WHOLES = (
    Whole("backward", "str", "str", "{v}[::-1]", ("the reverse of {v}",), ("reverse {v}",),
          ("builtin", "accumulate", "recursion", "stack"),
          {"builtin": ("{v}[::-1]", "''.join(reversed({v}))"),
           "accumulate": "out = ''\nfor c in {v}:\n    out = c + out\nout",
           "recursion": "if not {v}:\n    return ''\n{f}({v}[1:]) + {v}[0]",
           "stack": "stack, out = list({v}), ''\nwhile stack:\n    out += stack.pop()\nout"},
          family="mirrortext", domain="strings"),
    Whole("collapsed", "str", "str", "''.join(c for i, c in enumerate({v}) if c != {v}[i - 1:i])",
          ("the form with runs shortened to one character of {v}",),
          ("shorten each run of one character in {v} to one",),
          ("accumulate", "stack", "builtin", "recursion"),
          {"accumulate": "out = ''\nfor c in {v}:\n    if c != out[-1:]:\n        out += c\nout",
           "stack": "stack = []\nfor c in {v}:\n    if stack and stack[-1] == c:\n        stack.pop()\n"
                    "    stack.append(c)\n''.join(stack)",
           "builtin": "''.join(c for i, c in enumerate({v}) if c != {v}[i - 1:i])",
           "recursion": "if not {v}:\n    return ''\nrest = {f}({v}[1:])\n"
                        "rest if {v}[0] == rest[:1] else {v}[0] + rest"},
          state=1, domain="strings"),
    Whole("ahead", "str", "str", "{v}[:{c}]", ("the first {c} characters of {v}",),
          ("take the first {c} characters of {v}",), constants=LENGTHS, family="slice", domain="strings"),
    Whole("backwords", "str", "str", "' '.join({v}.split()[::-1])", ("the words in reverse order of {v}",),
          ("reverse the word order of {v}",), ("builtin", "stack", "accumulate", "two-pointer"),
          {"builtin": "' '.join({v}.split()[::-1])",
           "stack": "stack, out = {v}.split(), []\nwhile stack:\n    out.append(stack.pop())\n' '.join(out)",
           "accumulate": "out = ''\nfor w in {v}.split():\n    out = w + ' ' + out\nout[:-1]",
           "two-pointer": "out = {v}.split()\ni, j = 0, len(out) - 1\nwhile i < j:\n"
                          "    out[i], out[j] = out[j], out[i]\n    i, j = i + 1, j - 1\n' '.join(out)"},
          family="mirrortext", domain="strings"),
    Whole("shared", "str", "str", "''.join(c for c in {v} if c in {b})",
          ("the characters also found in {b} of {v}",), ("keep the characters of {v} that are also in {b}",),
          ("builtin", "accumulate", "table", "recursion"),
          {"builtin": "''.join(c for c in {v} if c in {b})",
           "accumulate": "out = ''\nfor c in {v}:\n    if c in {b}:\n        out += c\nout",
           "table": "seen = set({b})\n''.join(c for c in {v} if c in seen)",
           "recursion": "if not {v}:\n    return ''\nrest = {f}({v}[1:])\n"
                        "{v}[0] + rest if {v}[0] in {b} else rest"},
          extra="str", family="two", domain="strings"),
    Whole("vowelcount", "str", "int", "sum(c in 'aeiou' for c in {v}.lower())",
          ("the number of vowels, of either case, in {v}",), ("count the vowels, of either case, in {v}",),
          ("builtin", "accumulate", "recursion"),
          {"builtin": "sum(c in 'aeiou' for c in {v})",
           "accumulate": "total = 0\nfor c in {v}.lower():\n    if c in 'aeiou':\n        total += 1\ntotal",
           "recursion": "if not {v}:\n    return 0\n({v}[0].lower() in 'aeiou') + {f}({v}[1:])"},
          flawed=("builtin",), domain="strings"),
    Whole("ispalindromic", "str", "bool", "{v}.lower() == {v}.lower()[::-1]",
          ("whether {v} is a palindrome, ignoring case",),
          ("tell whether {v} is a palindrome, ignoring case",),
          ("builtin", "two-pointer", "stack", "recursion"),
          {"builtin": "{v} == {v}[::-1]",
           "two-pointer": "w = {v}.lower()\ni, j = 0, len(w) - 1\nwhile i < j and w[i] == w[j]:\n"
                          "    i, j = i + 1, j - 1\ni >= j",
           "stack": "stack = list({v}.lower())\nall(c == stack.pop() for c in {v}.lower())",
           "recursion": "w = {v}.lower()\nif len(w) < 2:\n    return True\nw[0] == w[-1] and {f}(w[1:-1])"},
          flawed=("builtin",), family="case", domain="strings"),
    Whole("isanagram", "str", "bool", "sorted({v}) == sorted({b})", ("whether {v} is an anagram of {b}",),
          ("tell whether {v} is an anagram of {b}",), ("table", "sort", "builtin", "accumulate"),
          {"table": "set({v}) == set({b})", "sort": "sorted({v}) == sorted({b})",
           "builtin": "all({v}.count(c) == {b}.count(c) for c in {v} + {b})",
           "accumulate": "w = {b}\nfor c in {v}:\n    if c not in w:\n        return False\n"
                         "    w = w.replace(c, '', 1)\nw == ''"},
          flawed=("table",), extra="str", family="two", domain="strings"),
    Whole("balanced", "str", "bool",
          "{v}.count('(') == {v}.count(')') and "
          "all({v}[:i].count(')') <= {v}[:i].count('(') for i in range(len({v})))",
          ("whether the parentheses in {v} balance",), ("tell whether the parentheses in {v} balance",),
          ("builtin", "stack", "accumulate"),
          {"builtin": "{v}.count('(') == {v}.count(')')",
           "stack": "stack = []\nfor c in {v}:\n    if c == ')' and stack[-1:] == ['(']:\n"
                    "        stack.pop()\n"
                    "    elif c in '()':\n        stack.append(c)\nnot stack",
           "accumulate": "total = low = 0\nfor c in {v}:\n    total += (c == '(') - (c == ')')\n"
                         "    low = min(low, total)\ntotal == low == 0"},
          flawed=("builtin",), state=1, family="case", domain="strings"),
    Whole("sortwords", "words", "words", "sorted({v})", ("the words in alphabetical order of {v}",),
          ("sort {v} alphabetically",), ("sort",), {"sort": "sorted({v})"}, family="sorting",
          domain="strings"),
    Whole("once", "words", "words", "list(dict.fromkeys({v}))",
          ("the words without repeats, in order, of {v}",),
          ("remove repeats from {v}, keeping first ones",), ("sort", "table", "accumulate"),
          {"sort": "sorted(set({v}))", "table": "list(dict.fromkeys({v}))",
           "accumulate": "out = []\nfor w in {v}:\n    if w not in out:\n        out.append(w)\nout"},
          flawed=("sort",), domain="strings"),
)
