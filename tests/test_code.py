"""A digest of code changes with whatever the code reaches, and with nothing else."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.backtest.market import PLAIN, books, random_market, random_targets
from tests.executed import executed
from tests.features.crowd import crowd_panel
from tests.report.conftest import made_up_run
from tests.training.conftest import (
    HORIZON,
    N_FEATURES,
    N_SESSIONS,
    N_SYMBOLS,
    N_TRAIN,
    SESSIONS,
    STEPS,
    build_dataset,
)

from alpha_assets.backtest import CostsSpec
from alpha_assets.backtest.simulator import backtest
from alpha_assets.code import CACHED_VERSIONS, Code, installed
from alpha_assets.dataset import Split
from alpha_assets.errors import BadInput
from alpha_assets.evaluation.metrics import DataFacts, evaluate
from alpha_assets.evaluation.regimes import volatility_regimes
from alpha_assets.features import CATALOG, compute_features
from alpha_assets.features.cross_symbol import Across
from alpha_assets.models import LinearSpec, TransformerSpec
from alpha_assets.models.losses import ICHuberSpec, ICSpec, MSESpec, SoftSpearmanSpec
from alpha_assets.report.inputs import ReportInputs
from alpha_assets.report.tearsheet import tear_sheet
from alpha_assets.training import GuardSpec, Learner, TrainingSpec, WindowSpec
from alpha_assets.training.month import train_month

SOURCE = installed().root

# A small package with one construct a module.  Each edit is (module, from, to).
PACKAGE: Mapping[str, str] = {
    "__init__": '"""Prose."""\n',
    "kernels": '''
        """Kernels."""
        import numpy as np

        SCALE = 2  # why
        UNUSED = 3

        def scaled(x, *, by=SCALE):
            """Return x, scaled."""
            return np.multiply(x, by)

        def other(x):
            return x - 1

        class Base:
            """A base."""

            factor = 1

            def value(self, x: int) -> int:
                return x * self.factor
    ''',
    "room/__init__": """
        from alpha_assets.room import helper
        from alpha_assets.room.inner import exported

        HELPS = helper.helps
    """,
    "room/helper": """
        def helps(x): return x + 5
        def idle(x): return x + 6
    """,
    "room/inner": """
        from ..kernels import Base
        from .. import kernels as k

        class Derived(Base):
            def value(self, x):
                return super().value(x) + 1

        def exported(x):
            return Derived().value(k.scaled(x))

        def takes(thing: Base, x):
            return thing.value(x)

        def takes_named(thing: "Base", x):
            return thing.value(x)
    """,
    "table": """
        from alpha_assets import kernels

        def one(x): return x + 1
        def two(x): return x + 2
        TABLE = {"one": one, "two": two}
        BOTH = (one, kernels.other)

        def chosen(kind, x):
            return TABLE[kind](x)
    """,
    "registered": """
        REGISTRY = {}
        LIMITS = {"low": 1}
        COUNT = 0

        def register(name):
            def declare(fn):
                REGISTRY[name] = fn
                return fn
            return declare

        def call(name, x):
            return REGISTRY[name](x)

        def low():
            return LIMITS["low"]

        def count():
            return COUNT
    """,
    "entries": """
        import alpha_assets.registered
        from alpha_assets.registered import LIMITS, register

        @register("plus")
        def plus(x):
            return x + 10

        LIMITS["low"] = 5
        LIMITS.update(high=6)

        def set_count():
            alpha_assets.registered.COUNT = 7
    """,
    "computed": """
        import alpha_assets.kernels as kernels

        def by_name(name, x):
            return getattr(kernels, name)(x)
    """,
    "lazy": """
        from functools import partial
        import importlib

        def inside(x):
            from alpha_assets.kernels import other as o
            return (lambda y: o(y))(x)

        def by_text(x):
            return importlib.import_module("alpha_assets.kernels").scaled(x)

        def curried():
            from alpha_assets import kernels
            return partial(kernels.scaled, by=4)

        try:
            from alpha_assets.kernels import UNUSED as maybe
        except ImportError:
            maybe = 99

        def conditional():
            return maybe
    """,
    "starry": """
        from alpha_assets.kernels import *

        def through_star(x):
            return scaled(x)
    """,
    "shapes": """
        from typing import Protocol
        from dataclasses import dataclass, field
        from alpha_assets.kernels import scaled, UNUSED

        class HasArea(Protocol):
            def area(self) -> float: ...

        class Square:
            def area(self): return 4.0

        class Line:
            def length(self): return 2.0

        @dataclass
        class Options:
            size: int = UNUSED
            '''Prose of the field.'''
            names: list = field(default_factory=lambda: [scaled(1)])

        def measure(thing: HasArea):
            return thing.area()

        def made():
            return Options()
    """,
    "quiet": """
        import warnings

        warnings.filterwarnings("ignore")

        def after(x):
            return x
    """,
    "pages": """
        from importlib.resources import files

        def page():
            return files("alpha_assets").joinpath("page.html").read_text()
    """,
    "dynamic": """
        from alpha_assets import magic

        def lazily():
            return magic.anything
    """,
    "literal": """
        from typing import Literal

        class Kind:
            name: Literal["mean", "sum"] = "mean"

        def beside(x): return x + 7
    """,
    "magic": """
        HIDDEN = 1

        def __getattr__(name):
            return HIDDEN
    """,
}


def written(root: Path, package: Mapping[str, str] = PACKAGE) -> Path:
    """Write a package of sources, and a data file, below `root`."""
    place = root / "alpha_assets"
    for name, text in package.items():
        path = place / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = text.split("\n")
        pad = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        path.write_text("\n".join(line[pad:] for line in lines))
    (place / "page.html").write_text("<p>one</p>")
    return place


def edited(root: Path, module: str, old: str, new: str) -> Path:
    """Write the package with one edit."""
    place = written(root)
    path = place / (module if "." in module else f"{module}.py")
    text = path.read_text()
    assert text.count(old) == 1, (module, old, text.count(old))
    path.write_text(text.replace(old, new))
    return place


# The root, and an edit that changes what it returns.
MUST_CHANGE = [
    ("kernels:scaled", "kernels", "np.multiply", "np.divide"),
    ("kernels:scaled", "kernels", "SCALE = 2", "SCALE = 4"),
    ("kernels:scaled", "kernels", "by=SCALE", "by=UNUSED"),
    ("kernels:scaled", "kernels", "numpy as np", "cupy as np"),
    ("room:exported", "kernels", "x * self.factor", "x - self.factor"),
    ("room:exported", "kernels", "factor = 1", "factor = 2"),
    ("room:exported", "room/inner", "super().value(x) + 1", "super().value(x) + 2"),
    ("room:exported", "kernels", "SCALE = 2", "SCALE = 4"),
    ("room.inner:takes", "kernels", "x * self.factor", "x - self.factor"),
    ("room.inner:takes", "room/inner", "value(x) + 1", "value(x) + 2"),
    ("room.inner:takes_named", "kernels", "x * self.factor", "x - self.factor"),
    ("table:chosen", "table", "return x + 2", "return x + 3"),
    ("table:chosen", "table", '"two": two', '"two": one'),
    ("table:BOTH", "kernels", "return x - 1", "return x - 2"),
    ("registered:call", "entries", "x + 10", "x + 11"),
    ("registered:call", "entries", '"plus"', '"minus"'),
    ("registered:low", "entries", '["low"] = 5', '["low"] = 6'),
    ("registered:low", "entries", "high=6", "high=7"),
    ("registered:count", "entries", "COUNT = 7", "COUNT = 8"),
    ("computed:by_name", "kernels", "UNUSED = 3", "UNUSED = 4"),
    ("computed:by_name", "kernels", "return x - 1", "return x - 2"),
    ("lazy:inside", "kernels", "return x - 1", "return x - 2"),
    ("lazy:by_text", "kernels", "np.multiply", "np.divide"),
    ("lazy:curried", "lazy", "by=4", "by=5"),
    ("lazy:curried", "kernels", "np.multiply", "np.divide"),
    ("lazy:conditional", "kernels", "UNUSED = 3", "UNUSED = 4"),
    ("lazy:conditional", "lazy", "maybe = 99", "maybe = 98"),
    ("starry:through_star", "kernels", "np.multiply", "np.divide"),
    ("shapes:measure", "shapes", "return 4.0", "return 5.0"),
    ("shapes:made", "kernels", "UNUSED = 3", "UNUSED = 4"),
    ("shapes:made", "kernels", "np.multiply", "np.divide"),
    ("shapes:made", "shapes", "size: int", "size: float"),
    ("quiet:after", "quiet", '"ignore"', '"error"'),
    ("pages:page", "page.html", "one", "two"),
    ("room:HELPS", "room/helper", "x + 5", "x + 7"),
    ("dynamic:lazily", "magic", "HIDDEN = 1", "HIDDEN = 2"),
]
# The root, and an edit that changes nothing that it returns.
MUST_STAY = [
    ("kernels:scaled", "kernels", "Return x, scaled.", "Return more."),
    ("kernels:scaled", "kernels", "# why", "# another reason"),
    ("kernels:scaled", "kernels", "SCALE = 2", "SCALE = (\n    2\n)"),
    ("kernels:scaled", "kernels", "return x - 1", "return x - 2"),
    ("kernels:scaled", "kernels", "UNUSED = 3", "UNUSED = 4"),
    ("room:exported", "kernels", "x: int", "x: float"),
    ("room:exported", "kernels", "A base.", "The base."),
    ("shapes:made", "shapes", "Prose of the field.", "More prose."),
    ("shapes:measure", "shapes", "return 2.0", "return 3.0"),
    ("kernels:scaled", "page.html", "one", "two"),
    ("room.inner:takes", "table", "return x + 2", "return x + 3"),
    ("registered:low", "entries", "x + 10", "x + 11"),
    ("literal:Kind", "literal", "x + 7", "x + 8"),
    ("room:HELPS", "room/helper", "x + 6", "x + 7"),
]


KERNEL = "def scaled(x): return x * 2\ndef other(x): return x - 1"
ADDS = "def three(x): return x + 3\n"
# Ways by which `m:use` comes to run code: the modules, and the edit of one of them.
INDIRECT: Mapping[str, tuple[Mapping[str, str], str, str]] = {
    "a decorator's wrapper": (
        {
            "d": """
                def deco(n):
                    def outer(fn):
                        def inner(*a): return fn(*a) + 1 + n
                        return inner
                    return outer
            """,
            "m": "from alpha_assets import d\nfive = d.deco(5)\n@five\ndef use(x): return x",
        },
        "+ 1",
        "+ 2",
    ),
    "a decorator given later": (
        {
            "d": "from alpha_assets import m\nm.use = (lambda fn: lambda x: fn(x) + 1)(m.use)",
            "m": "def use(x): return x",
        },
        "+ 1",
        "+ 2",
    ),
    "a class attribute": (
        {
            "k": KERNEL,
            "m": """
                from alpha_assets import k
                class A:
                    op = staticmethod(k.scaled)
                def make(): return A()
                def use(x): return make().op(x)
            """,
        },
        "x * 2",
        "x * 4",
    ),
    "an attribute by setattr": (
        {
            "e": "import alpha_assets.m as m\nsetattr(m, 'use', lambda x: x + 3)",
            "m": "def use(x): return x",
        },
        "+ 3",
        "+ 4",
    ),
    "an attribute by setattr, whichever": (
        {
            "e": "import alpha_assets.m as m\nname = 'use'\nsetattr(m, name, lambda x: x + 3)",
            "m": "def use(x): return x",
        },
        "+ 3",
        "+ 4",
    ),
    "a default argument": (
        {"k": KERNEL, "m": "from alpha_assets import k\ndef use(x, fn=k.scaled): return fn(x)"},
        "x * 2",
        "x * 4",
    ),
    "a registry by comprehension": (
        {
            "k": KERNEL,
            "m": """
                from alpha_assets.k import scaled, other
                TABLE = {fn.__name__: fn for fn in (scaled, other)}
                def use(x): return TABLE["scaled"](x)
            """,
        },
        "x * 2",
        "x * 4",
    ),
    "a registry by another name": (
        {
            "e": f"{ADDS}from alpha_assets import m\ntable = m.TABLE\ntable['three'] = three",
            "m": "TABLE = {}\ndef use(x): return TABLE['three'](x)",
        },
        "x + 3",
        "x + 4",
    ),
    "a registry by another name in a loop": (
        {
            "e": f"{ADDS}from alpha_assets import m\nfor t in (m.TABLE,):\n    t['three'] = three",
            "m": "TABLE = {}\ndef use(x): return TABLE['three'](x)",
        },
        "x + 3",
        "x + 4",
    ),
    "a registry by its bound method": (
        {
            "e": f"{ADDS}from alpha_assets.m import TABLE\nadd = TABLE.append\nadd(three)",
            "m": "TABLE = []\ndef use(x): return [f(x) for f in TABLE]",
        },
        "x + 3",
        "x + 4",
    ),
    "a registry given to a method": (
        {
            "e": f"""
{ADDS}
from alpha_assets.m import TABLE
class Filler:
    def fill(self, table): table["three"] = three
Filler().fill(TABLE)
""",
            "m": "TABLE = {}\ndef use(x): return TABLE['three'](x)",
        },
        "x + 3",
        "x + 4",
    ),
    "subclasses that are asked for": (
        {
            "e": """
                from alpha_assets.m import Base
                class Three(Base):
                    def run(self, x): return x + 3
            """,
            "m": """
                class Base: pass
                def use(x): return [c().run(x) for c in Base.__subclasses__()]
            """,
        },
        "x + 3",
        "x + 4",
    ),
    "a partial in a table": (
        {
            "k": KERNEL,
            "m": """
                from functools import partial
                from alpha_assets import k
                TABLE = {"half": partial(k.scaled)}
                def use(x): return TABLE["half"](x)
            """,
        },
        "x * 2",
        "x * 4",
    ),
    "a comprehension in a class": (
        {
            "m": """
                def scaled(x): return x * 2
                class A:
                    scaled = None  # not seen by the comprehension
                    VALUES = [scaled(x) for x in (1, 2)]
                def use(): return A.VALUES
            """,
        },
        "x * 2",
        "x * 4",
    ),
    "an import under a condition": (
        {
            "k": KERNEL,
            "m": """
                import sys
                if sys.platform == "none":
                    from fast import scaled
                else:
                    from alpha_assets.k import scaled
                def use(x): return scaled(x)
            """,
        },
        "x * 2",
        "x * 4",
    ),
    "an import by a text put together": (
        {
            "k": KERNEL,
            "m": """
                from importlib import import_module
                def use(n, x): return import_module(f"alpha_assets.{n}").scaled(x)
            """,
        },
        "x * 2",
        "x * 4",
    ),
    "an import by a relative text": (
        {
            "k": KERNEL,
            "m": """
                import importlib
                def use(x): return importlib.import_module(".k", __package__).scaled(x)
            """,
        },
        "x * 2",
        "x * 4",
    ),
    "an import by a text that is given": (
        {
            "k": KERNEL,
            "m": """
                from importlib import import_module
                def use(name, x): return import_module(name).scaled(x)
            """,
        },
        "x * 2",
        "x * 4",
    ),
    "a module by its name": (
        {
            "m": """
                import sys
                def scaled(x): return x * 2
                def use(x): return getattr(sys.modules[__name__], "scaled")(x)
            """,
        },
        "x * 2",
        "x * 4",
    ),
    "what importing a.b sets": (
        {
            "e": "import numpy as np\nnp.seterr(all='ignore')",
            "m": "import alpha_assets.e\ndef use(x): return x",
        },
        "'ignore'",
        "'raise'",
    ),
}


@pytest.mark.parametrize("way", INDIRECT)
def test_code_that_is_reached_indirectly_counts(tmp_path: Path, way: str) -> None:
    modules, old, new = INDIRECT[way]
    assert sum(text.count(old) for text in modules.values()) == 1, way
    after = {name: text.replace(old, new) for name, text in modules.items()}
    digests = [
        Code(written(tmp_path / str(n), {"__init__": "", **texts})).digest("alpha_assets.m:use")
        for n, texts in enumerate((modules, after))
    ]
    assert digests[0] != digests[1]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Code:
    return Code(written(tmp_path_factory.mktemp("small")))


@pytest.mark.parametrize(("root", "module", "old", "new"), MUST_CHANGE)
def test_an_edit_of_what_is_reached_changes_the_digest(
    small: Code, tmp_path: Path, root: str, module: str, old: str, new: str
) -> None:
    after = Code(edited(tmp_path, module, old, new))
    assert after.digest(f"alpha_assets.{root}") != small.digest(f"alpha_assets.{root}")


@pytest.mark.parametrize(("root", "module", "old", "new"), MUST_STAY)
def test_prose_layout_and_what_is_not_reached_leave_the_digest(
    small: Code, tmp_path: Path, root: str, module: str, old: str, new: str
) -> None:
    after = Code(edited(tmp_path, module, old, new))
    assert after.digest(f"alpha_assets.{root}") == small.digest(f"alpha_assets.{root}")


def test_the_order_of_functions_leaves_the_digest(small: Code, tmp_path: Path) -> None:
    one, two = "def one(x): return x + 1\n", "def two(x): return x + 2\n"
    after = Code(edited(tmp_path, "table", one + two, two + one))
    assert after.digest("alpha_assets.table:chosen") == small.digest("alpha_assets.table:chosen")


def test_a_selected_key_leaves_out_the_other_entries(small: Code, tmp_path: Path) -> None:
    root, only_one = "alpha_assets.table:chosen", {"alpha_assets.table:TABLE": ("one",)}
    assert "alpha_assets.table:two" in small.reached(root)
    assert "alpha_assets.table:two" not in small.reached(root, select=only_one)
    other = Code(edited(tmp_path / "two", "table", "return x + 2", "return x + 3"))
    assert other.digest(root, select=only_one) == small.digest(root, select=only_one)
    own = Code(edited(tmp_path / "one", "table", "return x + 1", "return x + 3"))
    assert own.digest(root, select=only_one) != small.digest(root, select=only_one)
    none = {"alpha_assets.table:TABLE": ()}
    assert own.digest(root, select=none) == small.digest(root, select=none)


def test_a_class_that_is_left_out_leaves_out_what_derives_from_it(small: Code) -> None:
    root, base = "alpha_assets.room.inner:takes", "alpha_assets.kernels:Base"
    assert "alpha_assets.room.inner:Derived" in small.reached(root)
    assert "alpha_assets.room.inner:Derived" not in small.reached(root, select={base: ()})


def test_what_is_unpacked_side_by_side_is_given_to_its_own_name(tmp_path: Path) -> None:
    kept = "LISTS = {}\nNAN = 1.0\ndef reads():\n    return NAN\n"
    used = "def grows():\n    {0}, day = {1}\n    {0}.update(a=1)\n"
    for names, changes in (("LISTS, NAN", False), ("NAN, LISTS", True), ("both()", False)):
        place = tmp_path / names / "alpha_assets"
        place.mkdir(parents=True)
        (place / "__init__.py").touch()
        (place / "kept.py").write_text(kept)
        text = "from alpha_assets.kept import LISTS, NAN\n" + used.format("found", names)
        (place / "used.py").write_text(text)
        is_changed = "alpha_assets.used:grows" in Code(place).reached("alpha_assets.kept:reads")
        assert is_changed == changes, names


def test_what_does_not_exist_is_refused(small: Code) -> None:
    with pytest.raises(BadInput, match="has no such definition; want module:name"):
        small.digest("alpha_assets.table:three")
    with pytest.raises(BadInput, match="no entry 'three'; it has one, two"):
        small.digest("alpha_assets.table:chosen", select={"alpha_assets.table:TABLE": ["three"]})


ROOT, TABLE = "alpha_assets.table:chosen", "alpha_assets.table:TABLE"


def asked(code: Code) -> list[str]:
    """Return three digests: of a root, of it with a chosen entry, and without its decorators."""
    found = [
        code.digest(ROOT),
        code.digest(ROOT, select={TABLE: ("one",)}),
        code.digest(bare=["alpha_assets.entries:plus"]),
    ]
    code.keep()
    return found


def unparsed(code: Code) -> Code:
    """Return code whose files cannot be parsed: what it answers, it was given."""
    vars(code)["_modules"] = None
    return code


def only(cache: Path) -> Path:
    """Return the one file of a cache."""
    (file,) = cache.iterdir()
    return file


def test_kept_digests_are_those_that_are_computed_and_nothing_is_parsed(tmp_path: Path) -> None:
    place, cache = written(tmp_path / "one"), tmp_path / "cache"
    plain = asked(Code(place))
    assert len(set(plain)) == 3
    assert asked(Code(place, cache)) == plain
    assert asked(unparsed(Code(place, cache))) == plain
    elsewhere = written(tmp_path / "two")  # equal files in another folder
    assert asked(unparsed(Code(elsewhere, cache))) == plain
    with pytest.raises(AttributeError):  # what was not kept is computed
        unparsed(Code(place, cache)).digest("alpha_assets.kernels:scaled")


@pytest.mark.parametrize(
    ("module", "old", "new"), [("table", "return x + 2", "return x + 3"), ("page.html", "one", "1")]
)
def test_digests_that_are_kept_of_other_files_are_not_read(
    tmp_path: Path, module: str, old: str, new: str
) -> None:
    cache, roots = tmp_path / "cache", (ROOT, "alpha_assets.pages:page")
    before = Code(written(tmp_path / "one"), cache)
    found = [before.digest(root) for root in roots]
    before.keep()
    after = Code(edited(tmp_path / "two", module, old, new), cache)
    assert [after.digest(root) for root in roots] != found
    after.keep()
    assert len(list(cache.iterdir())) == 2
    # One that lies under the name of the other is not taken for it.
    one, two = sorted(cache.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    two.write_bytes(one.read_bytes())
    again = Code(tmp_path / "two" / "alpha_assets", cache)
    assert [again.digest(root) for root in roots] == [after.digest(root) for root in roots]


DAMAGES: Mapping[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "cut off": lambda whole: whole[:-9],
    "a letter of a digest": lambda whole: whole[:-4] + bytes([whole[-4] ^ 1]) + whole[-3:],
    "no text": lambda whole: b"\xff" + whole,
    "no JSON": lambda whole: b"\n\n[",
    "more lines": lambda whole: whole + b"\n",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: str) -> None:
    place, cache = written(tmp_path / "one"), tmp_path / "cache"
    plain = asked(Code(place, cache))
    whole = only(cache).read_bytes()
    only(cache).write_bytes(DAMAGES[damage](whole))
    assert asked(Code(place, cache)) == plain
    assert only(cache).read_bytes() == whole


def test_digests_of_two_processes_are_kept_together(tmp_path: Path) -> None:
    place, cache = written(tmp_path / "one"), tmp_path / "cache"
    one, two = Code(place, cache), Code(place, cache)
    roots = {"alpha_assets.table:one": one, "alpha_assets.table:two": two}
    found = [code.digest(root) for root, code in roots.items()]
    one.keep()
    two.keep()
    assert [unparsed(Code(place, cache)).digest(root) for root in roots] == found


def test_a_cache_that_cannot_be_written_is_none(tmp_path: Path) -> None:
    place, cache = written(tmp_path / "one"), tmp_path / "cache"
    cache.write_text("no folder")
    assert asked(Code(place, cache)) == asked(Code(place))
    assert cache.read_text() == "no folder"


def test_versions_that_were_made_long_ago_leave_the_cache(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for number in range(CACHED_VERSIONS + 2):
        place = edited(tmp_path / str(number), "table", "x + 2", f"x + 1{number}")
        asked(Code(place, cache))
    assert len(list(cache.iterdir())) == CACHED_VERSIONS


# Of this package: what each root is, and which edits change the digest of which.
ROOTS = {
    "panel": "alpha_assets.panel.build:build_panel",
    "cross_section": "alpha_assets.features.cross_section:cross_section",
    "label": "alpha_assets.labels:forward_returns",
    "train": "alpha_assets.training.month:train_month",
    "score": "alpha_assets.training.predict:score_session",
    "simulate": "alpha_assets.backtest.simulator:simulate",
    "evaluate": "alpha_assets.evaluation.metrics:evaluate",
    "report": "alpha_assets.report.tearsheet:tear_sheet",
}
ROOTS_CHANGED_BY = {
    # What is edited: file, from, to, and the roots that change.
    # A card names the loss that its model was trained with: `pipeline.identity` cuts that off, too.
    # Training names a protocol that contexts fit, and contexts know markets and their catalogue:
    # `pipeline.identity` cuts them off.
    "kernel": ("arrays/windows.py", "variance_DN)", "variance_DN + 1)", {"train"}),
    "feature": (
        "features/price.py",
        "shift(last_close, MONTH) / shift(last_close, YEAR) - 1",
        "shift(last_close, MONTH) / shift(last_close, YEAR) - 2",
        {"train"},
    ),
    "input": (
        "features/inputs.py",
        "return np.log(high / low)",
        "return np.log(low / high)",
        {"train"},
    ),
    "label": ("labels.py", "moved_DN *= factor_DN", "moved_DN /= factor_DN", {"label"}),
    "loss": (
        "models/losses/distance.py",
        "return error_SN.square()",
        "return error_SN.abs()",
        {"train", "score"},
    ),
    "model": (
        "models/linear.py",
        "[:, :, -1], batch.valid",
        "[:, :, 0], batch.valid",
        {"train", "score"},
    ),
    "optimiser": ("training/fit.py", "set_to_none=True", "set_to_none=False", {"train"}),
    "simulator": ("backtest/simulator.py", "DUST = 1e-13", "DUST = 1e-12", {"simulate"}),
    "cost": ("backtest/costs.py", "commission_bps * BPS", "commission_bps / BPS", {"simulate"}),
    "statistic": (
        "evaluation/sharpe.py",
        "return mean / sd if",
        "return sd / mean if",
        {"evaluate"},
    ),
    "chart": ("report/signal_charts.py", '"mean rank IC", 100', '"mean rank IC", 10', {"report"}),
    "page": ("report/template.html", "<body", "<body class='x'", {"report"}),
    "comment": ("arrays/windows.py", "def shift(", "# Prose.\ndef shift(", {}),
}


def copied(root: Path) -> Path:
    """Copy the sources of this package below `root`."""
    place = root / "alpha_assets"
    shutil.copytree(SOURCE, place, ignore=shutil.ignore_patterns("__pycache__"))
    return place


@contextmanager
def one_edit(place: Path, name: str, old: str, new: str) -> Iterator[Code]:
    """Give the code of a copy with one edit, and take the edit back."""
    path = place / name
    text = path.read_text(encoding="utf-8")
    assert old in text, (name, old)
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    try:
        yield Code(place)
    finally:
        path.write_text(text, encoding="utf-8")


def test_each_edit_of_this_package_changes_what_reaches_it_and_no_more(tmp_path: Path) -> None:
    place = copied(tmp_path)
    plain = Code(place)
    before = {name: plain.digest(root) for name, root in ROOTS.items()}
    assert before == {name: installed().digest(root) for name, root in ROOTS.items()}
    found = {}
    for edit, (name, old, new, _) in ROOTS_CHANGED_BY.items():
        with one_edit(place, name, old, new) as code:
            found[edit] = {key for key, root in ROOTS.items() if code.digest(root) != before[key]}
    assert found == {edit: set(wanted) for edit, (*_, wanted) in ROOTS_CHANGED_BY.items()}


def test_all_that_runs_in_a_backtest_is_reached() -> None:
    market, targets = random_market(3), random_targets(3)
    ran = executed(lambda: books(targets, market, 60, costs=CostsSpec(), portfolio=PLAIN))
    assert len(ran) > 30
    assert ran <= installed().reached(backtest)


def test_all_that_runs_in_features_is_reached() -> None:
    panel = crowd_panel()
    days = panel["session"].unique().sort()
    own = [item for item in CATALOG if not item.feeds or isinstance(item, Across)]
    ran = executed(lambda: compute_features(panel, own, days[-3], days[-1]))
    assert len(ran) > 80
    assert ran <= installed().reached(compute_features, "alpha_assets.features:CATALOG")


def test_all_that_runs_in_evaluation_and_report_is_reached() -> None:
    run = made_up_run()
    ran = executed(lambda: tear_sheet(run))
    assert len(ran) > 30
    assert ran <= installed().reached(tear_sheet)
    ran = executed(made_up_run)
    assert len(ran) > 30
    assert ran <= installed().reached(evaluate, volatility_regimes, ReportInputs, DataFacts)


@pytest.mark.parametrize("model", [LinearSpec(), TransformerSpec(d_model=8, heads=2)])
def test_all_that_runs_in_training_is_reached(model: LinearSpec | TransformerSpec) -> None:
    draw = np.random.default_rng(0)
    shape = (N_SESSIONS, N_SYMBOLS)
    data = build_dataset(
        draw.standard_normal((*shape, N_FEATURES)).astype(np.float32), draw.normal(size=shape)
    )
    training = TrainingSpec(batch_sessions=16, max_epochs=1, seeds=(0,))
    fold = Split(
        month="2020-04",
        first_session=SESSIONS[-1] + 1,
        last_known=SESSIONS[-1],
        train=SESSIONS[STEPS - 1 : STEPS - 1 + N_TRAIN],
        valid=SESSIONS[STEPS - 1 + N_TRAIN + HORIZON :],
        status="ready",
        first_month="2020-04",
    )
    guard = GuardSpec(rank_ic_max=1.0)
    for loss in (ICSpec(), ICHuberSpec(), MSESpec(), SoftSpearmanSpec()):
        learner = Learner(
            model=model,
            loss=(loss,),
            window=WindowSpec(sequence=STEPS),
            training=training,
            guard=guard,
        )
        ran = executed(lambda learner=learner: train_month(data, fold, learner))
        assert len(ran) > 30
        assert ran <= installed().reached(train_month)
