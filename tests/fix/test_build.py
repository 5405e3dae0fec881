"""Edits built from nodes: what stands around them keeps its form, and odd places are refused."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import libcst as cst
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tricklint.fix import build
from tricklint.fix.edits import apply_edits
from tricklint.source.tree import Tree, walk


def tree_of(text: str, name: str = "case.py") -> Tree:
    return Tree(Path(name), text)


def code_of(text: str) -> str:
    return textwrap.dedent(text).lstrip("\n")


def find(tree: Tree, code: str, kind: type | tuple[type, ...] = cst.CSTNode) -> cst.CSTNode:
    """The outermost node of `kind` that reads `code`."""
    for node in walk(tree.module):
        if isinstance(node, kind) and not isinstance(node, (cst.Module, cst.BaseSuite)) and tree.code(node) == code:
            return node
    raise LookupError(code)


def made(tree: Tree, edits: build.Edits | None) -> str:
    assert edits is not None
    text = apply_edits(tree.text, edits)
    ast.parse(text)
    return text


def test_replace_keeps_parentheses_and_comments() -> None:
    tree = tree_of("x = f( (a + b) ,  # sum\n      c)\n")
    assert made(tree, build.replace(tree, find(tree, "a + b"), "total")) == "x = f( (total) ,  # sum\n      c)\n"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("step", ["    ", "  ", "\t", "   "])
def test_insertions_take_indent_and_newline_of_the_place(newline: str, step: str) -> None:
    text = newline.join(["def f():", f"{step}# why", f"{step}a = 1  # one", f"{step}b = 2", ""])
    tree = tree_of(text)
    line = find(tree, "a = 1", cst.Assign)
    before = made(tree, build.insert_before(tree, line, ["x = 0", "y = 0"]))
    assert before == text.replace(f"{step}a = 1", f"{step}x = 0{newline}{step}y = 0{newline}{step}a = 1")
    after = made(tree, build.insert_after(tree, line, ["x = 0", "if x:", "    y = 0"]))
    assert after == text.replace("# one", f"# one{newline}{step}x = 0{newline}{step}if x:{newline}{step}{step}y = 0")


def test_insert_before_a_decorated_function_stands_above_its_decorators() -> None:
    tree = tree_of("import a\n\n\n# note\n@a.b\n@a.c\ndef f():\n    pass\n")
    node = next(n for n in walk(tree.module) if isinstance(n, cst.FunctionDef))
    assert made(tree, build.insert_before(tree, node, ["x = 1"])) == (
        "import a\n\n\n# note\nx = 1\n@a.b\n@a.c\ndef f():\n    pass\n"
    )


def test_insert_after_a_loop_follows_its_else_and_its_own_trailing_comments() -> None:
    text = code_of(
        """
        for x in y:
            if x:
                f(x)
        else:
            g()  # end
            # still the else's
        # the next step
        h()
        """
    )
    tree = tree_of(text)
    node = next(n for n in walk(tree.module) if isinstance(n, cst.For))
    expected = text.replace("# still the else's\n", "# still the else's\ndone()\n")
    assert made(tree, build.insert_after(tree, node, ["done()"])) == expected


@pytest.mark.parametrize(
    "statement",
    [
        "try:\n    a()\nexcept E:\n    b()\nfinally:\n    c()",
        "try:\n    a()\nexcept E:\n    b()",
        "if a:\n    b()\nelif c:\n    d()\nelse:\n    e()",
        "with a as b:\n    c()",
        "while a:\n    b('''\nx\n''')",
        "class A:\n    def f(self):\n        pass",
        "if a: b()",
        "for x in y: a(); b()",
        "async def f():\n    async for x in y:\n        pass",
        "x = [\n    1,\n]",
        "match a:\n    case 1:\n        b()\n    case _:\n        c()",
    ],
)
@pytest.mark.parametrize("end", ["\n", "", "\nnext_one()\n"])
def test_insert_after_any_statement(statement: str, end: str) -> None:
    tree = tree_of(statement + end)
    text = made(tree, build.insert_after(tree, tree.module.body[0], ["new()"]))
    assert text == statement + "\nnew()" + end


def test_insert_at_the_end_of_a_file_without_newline() -> None:
    tree = tree_of("def f():\n    return 1")
    assert made(tree, build.insert_after(tree, find(tree, "return 1"), ["x()"])) == "def f():\n    return 1\n    x()"


@pytest.mark.parametrize(
    ("text", "code"),
    [("if x: stop()\n", "stop()"), ("for a in b: x = 1; y = 2\n", "y = 2"), ("class A: x = 1\n", "x = 1")],
)
def test_one_line_suites_are_refused(text: str, code: str) -> None:
    tree = tree_of(text)
    node = find(tree, code, cst.BaseSmallStatement)
    assert build.insert_before(tree, node, ["a()"]) is None
    assert build.insert_after(tree, node, ["a()"]) is None
    assert build.wrap_block(tree, node, node, "with a:") is None


def test_an_elif_is_no_place_of_its_own() -> None:
    tree = tree_of("if a:\n    b()\nelif c:\n    d()\n")
    inner = next(n for n in walk(tree.module) if isinstance(n, cst.If) and tree.code(n.test) == "c")
    assert build.insert_before(tree, inner, ["x()"]) is None


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        ("a = 1\nb = 2\nc = 3\n", "b = 2", "a = 1\nc = 3\n"),
        ("a = 1; b = 2; c = 3\n", "b = 2", "a = 1; c = 3\n"),
        ("a = 1; b = 2\n", "b = 2", "a = 1\n"),
        ("a = 1; b = 2\n", "a = 1", "b = 2\n"),
        ("def f():\n    b = 2\n", "b = 2", "def f():\n    pass\n"),
        ("if x: b = 2\n", "b = 2", "if x: pass\n"),
        ("if x: b = 2; c = 3\n", "b = 2", "if x: c = 3\n"),
        ("a = 1\r\n# why\r\nb = 2\r\nc = 3\r\n", "b = 2", "a = 1\r\n# why\r\nc = 3\r\n"),
        ("a = 1\nb = 2", "b = 2", "a = 1\n"),
    ],
)
def test_remove_statement(text: str, code: str, expected: str) -> None:
    tree = tree_of(text)
    assert made(tree, build.remove_statement(tree, find(tree, code, cst.BaseSmallStatement))) == expected


def test_remove_statement_refuses_to_lose_a_comment() -> None:
    tree = tree_of("a = 1\nb = 2  # keep me\n")
    assert build.remove_statement(tree, find(tree, "b = 2", cst.BaseSmallStatement)) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f()", "f(lr=0.1)"),
        ("f(a)", "f(a, lr=0.1)"),
        ("f(a,)", "f(a, lr=0.1,)"),
        ("f(a, lr = 3)", "f(a, lr = 0.1)"),
        ("f(a, lr=(3), b=1)", "f(a, lr=0.1, b=1)"),
        ("f((a))", "f((a), lr=0.1)"),
        ("f(*a)", "f(*a, lr=0.1)"),
        ("(f(a))", "(f(a, lr=0.1))"),
        ("f(\n    a,\n    b=1,  # one\n)", "f(\n    a,\n    b=1,\n    lr=0.1,  # one\n)"),
        ("f(a,\n  b)", "f(a,\n  b,\n  lr=0.1)"),
        ("f(\n    a, b\n)", "f(\n    a, b, lr=0.1\n)"),
        ("f([x for x in y])", "f([x for x in y], lr=0.1)"),
    ],
)
def test_set_argument(text: str, expected: str) -> None:
    tree = tree_of(text + "\n")
    call = next(n for n in walk(tree.module) if isinstance(n, cst.Call))
    assert made(tree, build.set_argument(tree, call, "lr", "0.1")) == expected + "\n"


@pytest.mark.parametrize("text", ["f(**kw)", "f(a, **kw)", "f(x for x in y)"])
def test_set_argument_refuses(text: str) -> None:
    tree = tree_of(text + "\n")
    call = next(n for n in walk(tree.module) if isinstance(n, cst.Call))
    assert build.set_argument(tree, call, "lr", "0.1") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f(lr=1)", "f()"),
        ("f(lr=1, )", "f( )"),
        ("f(a, lr=1)", "f(a)"),
        ("f(lr=1, b=2)", "f(b=2)"),
        ("f(a, lr=(1), b=2)", "f(a, b=2)"),
        ("f(\n    a,\n    lr=1,\n    b=2,\n)", "f(\n    a,\n    b=2,\n)"),
        ("f(a)", "f(a)"),
    ],
)
def test_remove_argument(text: str, expected: str) -> None:
    tree = tree_of(text + "\n")
    call = next(n for n in walk(tree.module) if isinstance(n, cst.Call))
    assert made(tree, build.remove_argument(tree, call, "lr")) == expected + "\n"


def test_remove_argument_refuses_to_lose_a_comment() -> None:
    tree = tree_of("f(\n    lr=1,  # why\n    b=2,\n)\n")
    call = next(n for n in walk(tree.module) if isinstance(n, cst.Call))
    assert build.remove_argument(tree, call, "lr") is None


@pytest.mark.parametrize(
    ("text", "statement", "expected"),
    [
        ("import a\n\nx = 1\n", "import torch", "import a\nimport torch\n\nx = 1\n"),
        ('"""Doc."""\nx = 1\n', "import torch", '"""Doc."""\n\nimport torch\nx = 1\n'),
        (
            "#!/usr/bin/env python\n# note\nx = 1\n",
            "import torch",
            "#!/usr/bin/env python\n# note\nimport torch\n\nx = 1\n",
        ),
        (
            "from __future__ import annotations\nx = 1\n",
            "import torch",
            "from __future__ import annotations\nimport torch\nx = 1\n",
        ),
        (
            "import os\nos.environ['A'] = '1'\nimport b\nx = 1\n",
            "import c",
            "import os\nos.environ['A'] = '1'\nimport b\nimport c\nx = 1\n",
        ),
        ("import a\ndef f():\n    pass\nimport b\n", "import c", "import a\nimport c\ndef f():\n    pass\nimport b\n"),
        ("import torch\n", "import torch.nn as nn", "import torch\nimport torch.nn as nn\n"),
        ("import torch as t\n", "import torch", "import torch as t\nimport torch\n"),
        ("import torch\n", "import torch.nn", "import torch\nimport torch.nn\n"),
        ("", "import torch", "import torch\n"),
        ("import a\r\nx = 1\r\n", "from b import c", "import a\r\nfrom b import c\r\nx = 1\r\n"),
        ("import a  # why\n", "from b import c", "import a  # why\nfrom b import c\n"),
        ("from a import (\n    b,\n)\n", "from c import d", "from a import (\n    b,\n)\nfrom c import d\n"),
        (
            "try:\n    import a\nexcept ImportError:\n    a = None\nimport z\nx = 1\n",
            "import c",
            "try:\n    import a\nexcept ImportError:\n    a = None\nimport z\nimport c\nx = 1\n",
        ),
    ],
)
def test_add_import(text: str, statement: str, expected: str) -> None:
    tree = tree_of(text)
    assert made(tree, build.add_import(tree, statement)) == expected


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("import torch\n", "import torch"),
        ("import torch.nn\n", "import torch"),
        ("import torch.nn as nn\n", "import torch.nn as nn"),
        ("from torch import nn as layers\n", "from torch import nn as layers"),
        ("from . import x\n", "from . import x"),
    ],
)
def test_add_import_leaves_what_is_there(text: str, statement: str) -> None:
    assert build.add_import(tree_of(text), statement) == ()


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("import numpy as torch\n", "import torch"),
        ("torch = 3\n", "import torch"),
        ("def torch():\n    pass\n", "import torch"),
        ("for nn in range(3):\n    pass\n", "import torch.nn as nn"),
        ("from other import nn\n", "from torch import nn"),
        ("if x:\n    torch = 1\n", "import torch"),
    ],
)
def test_add_import_refuses_a_name_that_means_something_else(text: str, statement: str) -> None:
    assert build.add_import(tree_of(text), statement) is None


def test_add_import_in_a_notebook_goes_to_the_first_imports() -> None:
    tree = tree_of("import a\nimport b\nx = 1\nimport c\n", "case.ipynb")
    assert made(tree, build.add_import(tree, "import torch")) == "import a\nimport b\nimport torch\nx = 1\nimport c\n"


def test_wrap_block_moves_code_but_no_line_inside_a_string() -> None:
    text = code_of(
        '''
        def f():
            a()
            # about b
            b("""
        left
            right
        """, f"""
          {x}
        """)

            if c:
                d(
              odd)
            # tail
            e()
        '''
    )
    tree = tree_of(text)
    wrapped = made(tree, build.wrap_block(tree, find(tree, "a()"), find(tree, "e()"), "with no_grad():"))
    assert wrapped == code_of(
        '''
        def f():
            with no_grad():
                a()
                # about b
                b("""
        left
            right
        """, f"""
          {x}
        """)

                if c:
                    d(
                  odd)
                # tail
                e()
        '''
    )


def test_wrap_block_keeps_tabs_crlf_and_end_comments() -> None:
    tree = tree_of("def f():\r\n\ta()  # x\r\n\tif b:\r\n\t\tc()  # y\r\n\td()\r\n")
    edits = build.wrap_block(tree, find(tree, "a()", cst.Expr), find(tree, "c()", cst.Expr), "with g:")
    assert edits is None  # not of one block
    last = next(n for n in walk(tree.module) if isinstance(n, cst.If))
    text = made(tree, build.wrap_block(tree, find(tree, "a()"), last, "with g:"))
    assert text == "def f():\r\n\twith g:\r\n\t\ta()  # x\r\n\t\tif b:\r\n\t\t\tc()  # y\r\n\td()\r\n"


def test_name_for_avoids_every_name_of_the_file() -> None:
    tree = tree_of("decay = 1\ndef f(decay_2):\n    for no_decay in decay:\n        pass\n")
    scope = tree.module.body[1]
    assert build.name_for(tree, scope, "decay") == "decay_3"
    assert build.name_for(tree, scope, "no_decay") == "no_decay_2"
    assert build.name_for(tree, scope, "list") == "list_2"
    assert build.name_for(tree, scope, "plain") == "plain"


# -- programs made at random ------------------------------------------------------------------------------------------

_SIMPLE = [
    "a = 1",
    "f(x)",
    "pass",
    's = """\n in\nside\n"""',
    "y = (1,\n  2)",
    "a; b",
    "g('#')  # c",
    "x = 1 \\\n  + 2",
]
_HEADS = ["if a:", "for x in y:", "while a:", "with a as b:", "def f(x):", "class A:", "try:"]


@st.composite
def _block(draw: st.DrawFn, depth: int, indent: str, step: str) -> str:
    out = []
    for _ in range(draw(st.integers(1, 3))):
        if depth and draw(st.booleans()):
            head = draw(st.sampled_from(_HEADS))
            out.append(f"{indent}{head}\n{draw(_block(depth - 1, indent + step, step))}")
            if head == "try:":
                out.append(f"{indent}finally:\n{draw(_block(0, indent + step, step))}")
        else:
            out.append(f"{indent}{draw(st.sampled_from(_SIMPLE))}\n")
        if draw(st.booleans()):
            out.append(draw(st.sampled_from(["\n", f"{indent}# note\n"])))
    return "".join(out)


@st.composite
def _programs(draw: st.DrawFn) -> str:
    text = draw(_block(2, "", draw(st.sampled_from(["    ", "  ", "\t"]))))
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


def _shape(text: str) -> str:
    return ast.dump(ast.parse(text))


@settings(max_examples=150, deadline=None)
@given(_programs(), st.data())
def test_any_statement_of_any_program_can_be_joined_wrapped_and_removed(text: str, data: st.DataObject) -> None:
    tree = tree_of(text)
    blocks = [n for n in walk(tree.module) if isinstance(n, (cst.Module, cst.IndentedBlock))]
    block = data.draw(st.sampled_from(blocks))
    at = data.draw(st.integers(0, len(block.body) - 1))
    end = data.draw(st.integers(at, len(block.body) - 1))
    statement = block.body[at]
    total = len(list(ast.walk(ast.parse(text))))
    new = len(list(ast.walk(ast.parse("new()")))) - 1
    for edits in (build.insert_before(tree, statement, ["new()"]), build.insert_after(tree, statement, ["new()"])):
        assert len(list(ast.walk(ast.parse(made(tree, edits))))) == total + new
    wrapped = made(tree, build.wrap_block(tree, statement, block.body[end], "with NEW:"))
    assert _shape(_unwrapped(wrapped)) == _shape(text)
    removed = build.remove_statement(tree, statement)
    if removed is not None and len(tree.module.body) > 1:
        made(tree, removed)


def _unwrapped(text: str) -> str:
    class Unwrap(ast.NodeTransformer):
        def visit_With(self, node: ast.With) -> object:
            self.generic_visit(node)
            if isinstance(node.items[0].context_expr, ast.Name) and node.items[0].context_expr.id == "NEW":
                return node.body
            return node

    return ast.unparse(ast.fix_missing_locations(Unwrap().visit(ast.parse(text))))
