"""Makes Python 3 of Autobahn's test suite, which is Python 2: convert.py FOLDER

Reads the `autobahntestsuite` that is installed beside this Python and writes its fuzzing client and its cases to
FOLDER/autobahntestsuite. Grammar and names are converted by fissix (a lib2to3 that does not end with Python 3.12).

A string of Python 2 is a string of octets. Here it becomes a `str` whose characters are those octets: the sources are
read as Latin-1, so that all literals, escaped or not, mean the same octets as before, and nothing that the cases do
with strings needs a change. `wstest.py` turns such strings into `bytes` and back where they reach the library.
What is left to change is in `CHANGES`; each must be found exactly as often as it says, or nothing is written.
"""

import importlib.util
import pathlib
import re
import shutil
import sys

from fissix import refactor

# What the fuzzing client consists of; the rest (other programs, WAMP, HTML reports) is not needed.
FILES = ["_version.py", "caseset.py", "fuzzing.py", "case/*.py"]

# File, pattern, replacement, how often.
CHANGES = [
    # In no list of cases, and made with a `zope.interface` of old.
    ("case/__init__.py", r"from case9_9_1 import \*\n", "", 1),
    # The encoding that the file is written in, whatever it was.
    ("case/*.py", r"\A# coding=utf-8\n", "", 12),
    # Classes are new-style by themselves.
    ("case/*.py", r"\(object, Case, ?\)", "(Case,)", 6),
    ("case/*.py", r"binascii\.b2a_hex\(([^()]*)\)", r'\1.encode("latin-1").hex()', 21),
    ("case/case6_x_x.py", r"v\.validate\(vss\[:i\]\)", 'v.validate(vss[:i].encode("latin-1"))', 1),
    ("case/case10_1_1.py", r"len\(self\.payload\) / ", "len(self.payload) // ", 1),
    # Which of two equal strings are one object is nothing that a case should depend on.
    ("case/case.py", r"pickle\.dumps\((obj\d)\)", r"\1", 2),
    # The library has other names for these.
    ("case/case12_x_x.py", r"\b(request|accept)NoContextTakeover\b", r"\1_no_context_takeover", 22),
    ("case/case12_x_x.py", r"\b(request|accept)MaxWindowBits\b", r"\1_max_window_bits", 23),
    # These cases hash what they receive and decode it themselves.
    ("case/case12_x_x.py", r"(def onMessage\(self, msg, binary\):\n)", '\\1   msg = msg.encode("latin-1")\n', 1),
    # setuptools no longer brings `pkg_resources`; only the files of this package are looked up by it.
    ("case/case12_x_x.py", r"import copy, os, pkg_resources, ", "import copy, os, pathlib, ", 1),
    (
        "case/case12_x_x.py",
        r'pkg_resources\.resource_filename\("autobahntestsuite", (.*)\)\n',
        r"pathlib.Path(__file__).parents[1] / (\1)\n",
        3,
    ),
    ("fuzzing.py", r", textwrap, pkg_resources\n", ", textwrap\n", 1),
    # Not an escape sequence; Python has begun to refuse such.
    ("caseset.py", r"'\\\.'", "'[.]'", 3),
    # Only HTML reports need it.
    ("fuzzing.py", r"from report import (.*\\\n)+.*\n", "", 1),
    # TLS, which is not tested here, would need pyOpenSSL.
    ("fuzzing.py", r"import reactor, ssl\n", "import reactor\n", 1),
    ("fuzzing.py", r"ssl\.ClientContextFactory\(\)", "None", 1),
    # The library has no such options any more.
    ("fuzzing.py", r"debug = debug, debugCodePaths = debug", "", 2),
    # The client that `wstest.py` makes of it.
    ("fuzzing.py", r"proto = FuzzingClientProtocol\(\)", "proto = self.protocol()", 1),
    ("fuzzing.py", r"''\.join\(payload\)", "b''.join(payload)", 1),
]


def main(folder):
    source = pathlib.Path(importlib.util.find_spec("autobahntestsuite").origin).parent
    target = pathlib.Path(folder) / "autobahntestsuite"
    paths = [path for pattern in FILES for path in sorted(source.glob(pattern))]
    texts = {path.relative_to(source): path.read_text("latin-1") for path in paths}

    for pattern, old, new, expected in CHANGES:
        found = 0
        for path in filter(lambda path: path.match(pattern), texts):
            texts[path], times = re.subn(old, new, texts[path])
            found += times
        if found != expected:
            sys.exit(f"{pattern} has {old!r} {found} times, not {expected}: not the release that this is written for")

    tool = refactor.RefactoringTool(refactor.get_fixers_from_package("fissix.fixes"))
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source / "testdata", target / "testdata")
    for path, text in texts.items():
        text = str(tool.refactor_string(text + "\n", str(source / path)))
        compile(text, path, "exec")
        (target / path).parent.mkdir(exist_ok=True)
        (target / path).write_text(text, "utf-8")
    (target / "__init__.py").write_text("from ._version import __version__ as version\n", "utf-8")


main(*sys.argv[1:])
