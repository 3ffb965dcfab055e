"Public names and their docments (the comments behind parameters and fields), read from the package's source."

import ast
import io
import re
import tokenize
from bisect import bisect
from dataclasses import dataclass
from functools import cache

from settings import ROOT

PACKAGE = ROOT / 'trm_nbdev'
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Row:
    "A parameter, a field, or what a function returns."

    name: str
    kind: str  # its annotation
    default: str
    comment: str


class Module:
    "The source of a module."

    def __init__(self, name: str):
        self.name, self.file = name, PACKAGE / f'{name.replace(".", "/")}.py'
        self.text = self.file.read_text(encoding='utf-8')
        self.tree = ast.parse(self.text)
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        comments = {t.start[0]: t.string for t in tokens if t.type == tokenize.COMMENT}
        self.comments = {k: re.sub(r'^#\s*(type: \S+\s*#?\s*)?', '', text) for k, text in comments.items()}
        marks = re.finditer(r'^# %% (\S+) #(\w+)$', self.text, flags=re.MULTILINE)
        self.cells = [(self.text.count('\n', 0, m.start()) + 1, m[2]) for m in marks]
        (source,) = re.findall(r'File to edit: (\S+\.ipynb)', self.text)
        self.chapter = (self.file.parent / source).resolve()

    @property
    def public(self) -> dict[str, ast.stmt]:
        "Name -> definition, for what the module exports, as the chapter has it."
        (exported,) = [a.value for a in self.tree.body if isinstance(a, ast.Assign) and _names(a) == ['__all__']]
        names = ast.literal_eval(exported)
        return {name: node for node in self.tree.body for name in _names(node) if name in names}

    def cell(self, node: ast.stmt) -> str:
        "The id of the notebook's cell that defines something."
        return self.cells[bisect(self.cells, (node.lineno, '~')) - 1][1]

    def comment(self, node: ast.arg | ast.AnnAssign) -> str:
        "The comment behind a parameter or a field: on its first line, or on its last."
        return self.comments.get(node.lineno, '') or self.comments.get(node.end_lineno or 0, '')

    def lines(self, node: ast.stmt) -> list[str]:
        "The source of a definition."
        return self.text.splitlines()[node.lineno - 1 : node.end_lineno]

    def rows(self, node: ast.AST) -> list[Row]:
        "The docments of a function, or of a class: its fields, else what is passed to build it."
        if isinstance(node, Function):
            return self._parameters(node.args)
        if not isinstance(node, ast.ClassDef):
            return []
        fields = [f for f in node.body if isinstance(f, ast.AnnAssign)]
        rows = [Row(_source(f.target), _source(f.annotation), _source(f.value), self.comment(f)) for f in fields]
        init = [f for f in node.body if isinstance(f, Function) and f.name == '__init__']
        return rows or [row for f in init for row in self.rows(f)]

    def _parameters(self, given: ast.arguments) -> list[Row]:
        "One row a parameter, but for `self`."
        plain = [*given.posonlyargs, *given.args]
        defaults: dict[ast.arg, ast.expr | None] = dict(zip(plain[::-1], given.defaults[::-1], strict=False))
        defaults |= dict(zip(given.kwonlyargs, given.kw_defaults, strict=True))
        stars = {a: star for a, star in ((given.vararg, '*'), (given.kwarg, '**')) if a}
        rows = [
            Row(stars.get(a, '') + a.arg, _source(a.annotation), _source(defaults.get(a)), self.comment(a))
            for a in [*plain, *filter(None, [given.vararg]), *given.kwonlyargs, *filter(None, [given.kwarg])]
        ]
        return [row for row in rows if row.name not in ('self', 'cls')]

    def returned(self, node: ast.AST) -> str:
        "What a function returns, in a line of Markdown; '' if it returns nothing or says nothing."
        if not isinstance(node, Function) or not node.returns:
            return ''
        kind, comment = _source(node.returns), self.comments.get(node.returns.end_lineno or 0, '')
        return '' if kind == 'None' else f'Returns `{kind}`' + (f': {comment}' if comment else '')


def _source(node: ast.AST | None) -> str:
    return ast.unparse(node) if node else ''


def _names(node: ast.stmt) -> list[str]:
    "What a statement at the top of a module defines."
    if isinstance(node, Function | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [t.id for target in targets for t in ast.walk(target) if isinstance(t, ast.Name)]


@cache
def modules() -> dict[str, Module]:
    "Every module that a chapter exports, by its name in the package."
    files = sorted(path for path in PACKAGE.rglob('*.py') if not path.name.startswith('_'))
    names = [path.relative_to(PACKAGE).with_suffix('').as_posix().replace('/', '.') for path in files]
    return {name: Module(name) for name in names}


@cache
def documented(module: str) -> dict[str, str]:
    "Public name -> id of the cell that defines it."
    m = modules().get(module)
    return {name: m.cell(node) for name, node in m.public.items()} if m else {}


@cache
def entries() -> dict[str, list[str]]:
    "Public name, or `Class.method` -> the modules that have it."
    found: dict[str, list[str]] = {}
    for name, module in modules().items():
        for public, node in module.public.items():
            methods = [f'{public}.{m.name}' for m in methods_of(node)]
            for entry in [public, *methods]:
                found.setdefault(entry, []).append(name)
    return found


@cache
def arguments() -> set[str]:
    "Names of parameters and fields: in prose, such a name need not mean the function that has it, too."
    return {row.name for m in modules().values() for node in m.public.values() for row in m.rows(node)}


def methods_of(node: ast.stmt) -> list[Function]:
    "The public methods of a class."
    body = node.body if isinstance(node, ast.ClassDef) else []
    return [f for f in body if isinstance(f, Function) and not f.name.startswith('_')]


def docstring(node: ast.AST) -> str:
    return (ast.get_docstring(node) or '') if isinstance(node, Function | ast.ClassDef | ast.Module) else ''
