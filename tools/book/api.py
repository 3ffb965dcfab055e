"The API reference: a page for each module, with a table for each docment; and links to it from prose."

import ast
import re
from pathlib import Path

from docments import Function, Module, Row, arguments, docstring, entries, methods_of, modules

SHOWN = 8  # lines of a constant that are shown
CODE = re.compile(r'(`[^`]*`)')
# what is no mention of a name: code blocks, headings and links; then a name alone in backticks
MENTION = re.compile(
    r'^ {0,3}```.*?^ {0,3}```|^\#.*?$|\[[^]\n]*\]\([^)\n]*\)|`(?P<name>[A-Za-z_][\w.]*)(?P<call>\(\))?`',
    flags=re.DOTALL | re.MULTILINE,
)


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

    return MENTION.sub(link, text)


def prose(text: str, module: str) -> str:
    "A comment or docstring as Markdown: no mathematics, no emphasis, but links."
    parts = CODE.split(text)
    return link_names(''.join(p if i % 2 else re.sub(r'([*<$\[])', r'\\\1', p) for i, p in enumerate(parts)), module)


def table(rows: list[Row], module: str) -> str:
    "Docments as a table; '' without any."
    cells = [[_code(row.name), _code(row.kind), _code(row.default), prose(row.comment, module)] for row in rows]
    used = [k for k in range(4) if any(line[k] for line in cells)]
    lines = [['name', 'type', 'default', 'meaning'], ['---'] * 4, *cells]
    body = ''.join('| ' + ' | '.join(line[k].replace('|', '\\|') for k in used) + ' |\n' for line in lines)
    return f':::{{table}}\n:class: docments\n\n{body}:::' if rows else ''


def _code(text: str) -> str:
    return f'`{" ".join(text.split())}`' if text else ''


def description(module: Module, node: ast.AST) -> list[str]:
    "What a definition does, takes and returns."
    name = module.name
    parts = [prose(docstring(node), name), table(module.rows(node), name), prose(module.returned(node), name)]
    return [part for part in parts if part]


def folded_definitions(module: str, names: list[str]) -> str:
    "What a reader has to know of definitions whose code is folded."
    m = modules()[module]
    return '\n\n'.join('\n\n'.join([f'**`{name}`**', *d]) for name in names if (d := description(m, m.public[name])))


def module_page(m: Module, chapter: str) -> str:
    "The reference of a module; `chapter` is the address of its chapter's page, seen from here."
    head = f'# {m.name}\n\n> {docstring(m.tree)}\n\n'
    about = f'```{{py:module}} trm_nbdev.{m.name}\n```\n\nExplained in the chapter [](../{chapter}).\n\n'
    return head + about + '\n'.join(_entry(m, name, node, chapter) for name, node in m.public.items())


def _entry(m: Module, name: str, node: ast.stmt, chapter: str) -> str:
    "A public name: how it is called, what it does, its docments, and where its code is."
    kind = 'class' if isinstance(node, ast.ClassDef) else 'function' if isinstance(node, Function) else 'data'
    lines = m.lines(node)
    shown = ['```python', *lines[:SHOWN], *['# …'] * (len(lines) > SHOWN), '```'] if kind == 'data' else []
    methods = [_method(m, f) for f in methods_of(node)]
    code = f'<a class="to-code" href="../{chapter.replace(".ipynb", ".html")}#{m.cell(node)}">code</a>'
    body = '\n\n'.join([*description(m, node), '\n'.join(shown), *methods, code])
    return _directive(kind, name + _signature(m, node), body, 5)


def _method(m: Module, node: Function) -> str:
    "A method or property of a class."
    if any('property' in ast.unparse(decorator) for decorator in node.decorator_list):
        return _directive('property', node.name, '\n\n'.join(description(m, node)), 4)
    return _directive('method', node.name + _signature(m, node), '\n\n'.join(description(m, node)), 4)


def _signature(m: Module, node: ast.AST) -> str:
    "The call, without types, which are in the table."
    if not isinstance(node, Function | ast.ClassDef):
        return ''
    return '(' + ', '.join(f'{r.name}={r.default}' if r.default else r.name for r in m.rows(node)) + ')'


def _directive(kind: str, signature: str, body: str, colons: int) -> str:
    return f'{":" * colons}{{py:{kind}}} {" ".join(signature.split())}\n\n{body}\n{":" * colons}\n'


def write_reference(folder: Path, places: dict[Path, str]):
    "One page a module, and their index; `places` says where each chapter's page is."
    folder.mkdir(parents=True, exist_ok=True)
    order = sorted(modules().values(), key=lambda m: m.chapter)
    for m in order:
        (folder / f'{m.name}.md').write_text(module_page(m, places[m.chapter]), encoding='utf-8')
    names = '\n'.join(m.name for m in order)
    text = 'Every public name of the package, by module, in the order of the chapters.'
    toctree = f'```{{toctree}}\n:maxdepth: 1\n\n{names}\n```'
    (folder / 'index.md').write_text(f'# API reference\n\n{text}\n\n{toctree}\n', encoding='utf-8')
