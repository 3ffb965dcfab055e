"The API reference, read from the package's source: every public name with its docments."

import ast
import io
import re
import tokenize
from bisect import bisect
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from settings import ROOT

PACKAGE = ROOT / 'trm_nbdev'
Function = ast.FunctionDef | ast.AsyncFunctionDef
SHOWN = 8  # lines of a constant that are shown
CODE = re.compile(r'(?P<skip>^ {0,3}```.*?^ {0,3}```|^#.*?$|\[[^\]\n]*\]\([^)\n]*\))|`(?P<name>[A-Za-z_][\w.]*)(?P<call>\(\))?`', re.S | re.M)


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
        self.name, self.file = f'trm_nbdev.{name}', PACKAGE / f'{name.replace(".", "/")}.py'
        self.text = self.file.read_text(encoding='utf-8')
        self.tree = ast.parse(self.text)
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        self.comments = {t.start[0]: t.string.lstrip('# ') for t in tokens if t.type == tokenize.COMMENT}
        marks = re.finditer(r'^# %% (\S+) #(\w+)$', self.text, flags=re.MULTILINE)
        self.cells = [(self.text.count('\n', 0, m.start()) + 1, m[2]) for m in marks]
        source = re.search(r'File to edit: (\S+\.ipynb)', self.text)
        self.chapter = (self.file.parent / source[1]).resolve() if source else None

    @property
    def public(self) -> dict[str, ast.stmt]:
        "Name -> definition, for what the module exports, as the chapter has it."
        exported = {a.targets[0].id: a.value for a in self.tree.body if isinstance(a, ast.Assign) and isinstance(a.targets[0], ast.Name)}
        names = ast.literal_eval(exported['__all__']) if '__all__' in exported else []
        return {name: node for node in self.tree.body for name in _names(node) if name in names}

    def cell(self, node: ast.stmt) -> str:
        "The id of the notebook's cell that defines something."
        return self.cells[bisect(self.cells, (node.lineno, '~')) - 1][1]

    def comment(self, node: ast.AST) -> str:
        "The comment behind a parameter: at the end of a line on which it stands, its first or its last."
        return self.comments.get(node.lineno, '') or self.comments.get(node.end_lineno, '')

    def lines(self, node: ast.stmt) -> list[str]:
        "The source of a definition."
        return self.text.splitlines()[node.lineno - 1 : node.end_lineno]

    def rows(self, node: ast.stmt) -> list[Row]:
        "The docments of a function, or of a class: its fields, else what is passed to build it."
        if isinstance(node, ast.ClassDef):
            fields = [f for f in node.body if isinstance(f, ast.AnnAssign) and isinstance(f.target, ast.Name)]
            init = [f for f in node.body if isinstance(f, Function) and f.name == '__init__']
            return [Row(f.target.id, _source(f.annotation), _source(f.value), self.comment(f)) for f in fields] or [row for f in init for row in self.rows(f)]
        if not isinstance(node, Function):
            return []
        given = node.args
        positional = [*given.posonlyargs, *given.args]
        defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults + given.kw_defaults
        all_args = [*positional, *given.kwonlyargs]
        rows = [Row(a.arg, _source(a.annotation), _source(d), self.comment(a)) for a, d in zip(all_args, defaults, strict=True)]
        stars = [(a, s) for a, s in ((given.vararg, '*'), (given.kwarg, '**')) if a]
        rows += [Row(s + a.arg, _source(a.annotation), '', self.comment(a)) for a, s in stars]
        return [row for row in rows if row.name not in ('self', 'cls')]

    def returned(self, node: ast.stmt) -> str:
        "What a function returns, in a line of Markdown; '' if it returns nothing or says nothing."
        if not isinstance(node, Function) or not node.returns:
            return ''
        kind, comment = _source(node.returns), self.comments.get(node.returns.end_lineno, '')
        return '' if kind == 'None' else f'Returns `{kind}`' + f': {comment}' * bool(comment)


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
            methods = [f'{public}.{m.name}' for m in _methods(node)]
            for entry in [public, *methods]:
                found.setdefault(entry, []).append(name)
    return found


@cache
def arguments() -> set[str]:
    "Names of parameters and fields: in prose, such a name need not mean the function that has it, too."
    return {row.name for m in modules().values() for node in m.public.values() for row in m.rows(node)}


def _methods(node: ast.stmt) -> list[Function]:
    "The public methods of a class."
    body = node.body if isinstance(node, ast.ClassDef) else []
    return [f for f in body if isinstance(f, Function) and not f.name.startswith('_')]


def link_names(text: str, module: str) -> str:
    "Make the first mention of each public name in a piece of Markdown a link to the API reference."
    seen = set()

    def link(match: re.Match) -> str:
        name, found = match['name'], entries().get(match['name'] or '', [])
        where = module if module in found else found[0] if len(found) == 1 else ''
        if not where or name in seen or name in arguments():
            return match[0]
        seen.add(name)
        return f'{{py:obj}}`{name}{match["call"] or ""} <trm_nbdev.{where}.{name}>`'

    return CODE.sub(link, text)


def table(rows: list[Row]) -> str:
    "Docments as a table."
    cells = [[f'`{row.name}`', _code(row.kind), _code(row.default), row.comment] for row in rows]
    used = [k for k in range(4) if any(line[k] for line in cells)]
    lines = [['name', 'type', 'default', 'meaning'], ['---'] * 4, *cells]
    return ''.join('| ' + ' | '.join(_escaped(line[k]) for k in used) + ' |\n' for line in lines)


def _code(text: str) -> str:
    return f'`{" ".join(text.split())}`' if text else ''


def _escaped(text: str) -> str:
    return text.replace('|', '\\|').replace('<', '&lt;' if '`' not in text else '<')


def parameter_tables(module: str, names: list[str]) -> str:
    "What a reader has to know of definitions whose code is folded."
    m = modules()[module]
    parts = []
    for name in names:
        node = m.public[name]
        rows, doc = m.rows(node), _docstring(node)
        if rows or doc:
            parts += [f'**`{name}`**: {doc}' if doc else f'**`{name}`**', table(rows) if rows else '', m.returned(node)]
    return '\n\n'.join(filter(None, parts))


def _docstring(node: ast.AST) -> str:
    return (ast.get_docstring(node) or '') if isinstance(node, Function | ast.ClassDef) else ''


def module_page(name: str, chapter: str) -> str:
    "The reference of a module; `chapter` is the address of its chapter's page, seen from here."
    m = modules()[name]
    title = ast.get_docstring(m.tree) or ''
    head = f'# {name}\n\n> {title}\n\n'
    about = f'```{{py:module}} {m.name}\n```\n\nExplained in the chapter [](../{chapter}).\n\n'
    return head + about + '\n'.join(_entry(m, name, node, chapter) for name, node in m.public.items())


def _entry(m: Module, name: str, node: ast.stmt, chapter: str) -> str:
    "A public name: how it is called, what it does, its docments, and where its code is."
    kind = 'class' if isinstance(node, ast.ClassDef) else 'function' if isinstance(node, Function) else 'data'
    code = f'<a class="to-code" href="../{chapter.replace(".ipynb", ".html")}#{m.cell(node)}">code</a>'
    parts = [_docstring(node), table(m.rows(node)), m.returned(node)]
    if kind == 'data':
        lines = m.lines(node)
        parts = ['```python\n' + '\n'.join([*lines[:SHOWN], *['# …'] * (len(lines) > SHOWN)]) + '\n```']
    parts += [_described('method', f, m, f'{f.name}') for f in _methods(node)] + [code]
    return _directive(kind, name + _signature(m, node), '\n\n'.join(filter(None, parts)), 5)


def _described(kind: str, node: ast.stmt, m: Module, name: str) -> str:
    parts = [_docstring(node), table(m.rows(node)), m.returned(node)]
    return _directive(kind, name + _signature(m, node), '\n\n'.join(filter(None, parts)), 4)


def _signature(m: Module, node: ast.stmt) -> str:
    "The call, without types, which are in the table."
    if not isinstance(node, Function | ast.ClassDef):
        return ''
    return '(' + ', '.join(f'{r.name}={r.default}' if r.default else r.name for r in m.rows(node)) + ')'


def _directive(kind: str, signature: str, body: str, colons: int) -> str:
    return f'{":" * colons}{{py:{kind}}} {" ".join(signature.split())}\n\n{body}\n{":" * colons}\n'


def write_reference(folder: Path, places: dict[Path, str]):
    "One page a module, and their index; `places` says where each chapter's page is."
    folder.mkdir(parents=True, exist_ok=True)
    order = sorted(modules(), key=lambda name: str(modules()[name].chapter))
    for name in order:
        chapter = modules()[name].chapter
        assert chapter, f'trm_nbdev.{name} names no notebook'
        (folder / f'{name}.md').write_text(module_page(name, places[chapter]), encoding='utf-8')
    lines = '\n'.join(order)
    text = f'# API reference\n\nEvery public name of the package, by module, in the order of the chapters.\n\n```{{toctree}}\n:maxdepth: 1\n\n{lines}\n```\n'
    (folder / 'index.md').write_text(text, encoding='utf-8')
