"Make pages from notebooks: what a reader wants to see, with links that lead to other pages."

import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nbformat
from api import folded_definitions, link_names
from docments import documented
from nbformat import NotebookNode
from records import with_records
from settings import NBS, RESULTS, ROOT, on_code_host

# whose executed notebook is an experiment's page: the first that has one
PROFILES = ['laptop', 'quick', 'overnight-real', 'overnight']
LONG = 30  # lines of code; a longer cell is folded
IMPORTS = 6  # a cell with nothing but imports is folded if it has more lines
CODE = re.compile(r'(^ {0,3}```.*?^ {0,3}```|`[^`\n]+`)', flags=re.DOTALL | re.MULTILINE)
LINK = re.compile(r'(\]\(|(?:src|href)=")(?![a-z]+:|#|/)([^)"\s#]+)')


def slug(title: str) -> str:
    "The anchor of a heading, as JupyterLab makes it."
    return title.replace(' ', '-')


@cache
def pages() -> dict[Path, str]:
    "File of the checkout -> its place in the site. An experiment's page is made from an executed notebook."
    places = {path: path.relative_to(NBS).as_posix() for path in sorted(NBS.rglob('*.ipynb'))}
    places = {path: place for path, place in places.items() if '.ipynb_checkpoints' not in place}
    executed = sorted(RESULTS.glob('*/notebooks/*.ipynb'))
    places |= {path: path.relative_to(ROOT).as_posix() for path in executed}
    for path in executed:
        if path == source_of(NBS / '3_experiments' / path.name):
            places[path] = f'3_experiments/{path.name}'
    for path in RESULTS.glob('*/[!R]*.md'):  # a table, which the notebook that made it shows
        if notebook := notebook_of(path, executed):
            places[path] = places[notebook]
    return places | {ROOT / 'README.md': 'index.ipynb'}


def notebook_of(table: Path, executed: list[Path]) -> Path | None:
    "The notebook whose name a table's name begins with, else that of the results."
    mine = [path for path in executed if path.parent.parent == table.parent]
    named = [path for path in mine if f'{table.stem}_'.startswith(f'{path.stem}_')]
    return (
        max(named, key=lambda path: len(path.stem), default=table.parent / 'notebooks' / 'results.ipynb')
        if mine
        else None
    )


def source_of(notebook: Path) -> Path:
    "The notebook that a page shows: an experiment as it was executed."
    executed = [RESULTS / profile / 'notebooks' / notebook.name for profile in PROFILES]
    inside = notebook.parent.name == '3_experiments'
    return next((path for path in executed if inside and path.is_file()), notebook)


class Linker:
    "Rewrites the links of one file, and remembers which files of the checkout the site needs because of them."

    def __init__(self, source: Path, place: str):
        self.folder, self.place, self.needed = source.parent, place, set[Path]()

    def __call__(self, text: str, html: bool = False) -> str:
        parts = [text] if html else CODE.split(text)
        return ''.join(p if i % 2 else LINK.sub(lambda m: self._target(m, html), p) for i, p in enumerate(parts))

    def _target(self, match: re.Match, html: bool) -> str:
        before, link = match.groups()
        path = Path(os.path.normpath(self.folder / link))
        if not path.is_relative_to(ROOT) or not path.is_file():
            return match[0]
        image = before.startswith('src') or path.suffix in ('.png', '.gif', '.svg')
        if path not in pages() and path.suffix != '.md' and not image and (address := on_code_host(path)):
            return before + address
        self.needed |= {path} - pages().keys()
        place = pages().get(path, path.relative_to(ROOT).as_posix())
        if html or before.endswith('"'):
            place = re.sub(r'\.(ipynb|md)$', '.html', place)
        return before + os.path.relpath(place, Path(self.place).parent).replace(os.sep, '/')


def page(source: Path, place: str) -> tuple[NotebookNode, set[Path]]:
    "A notebook as the site shows it, and the files that it links to."
    nb, links = nbformat.read(source, as_version=4), Linker(source, place)
    module = next((m[1] for c in nb.cells if (m := re.match(r'#\|\s*default_exp (\S+)', c.source))), '')
    nb.cells = [new for cell in nb.cells for new in shown(cell, links, module)]
    if source.parent.name in ('3_experiments', 'notebooks'):
        nb.cells.insert(1, nbformat.v4.new_markdown_cell(links(about_profile(source))))
    if source.is_relative_to(RESULTS):
        nb = with_records(nb, source, place) if source.stem == 'results' else nb
    for i, cell in enumerate(nb.cells):
        cell.id = f'cell-{i}'
    nb.metadata = NotebookNode(
        kernelspec=dict(name='python3', display_name='Python 3', language='python'),
        language_info=dict(name='python', pygments_lexer='ipython3'),
    )
    return nb, links.needed


def shown(cell: NotebookNode, links: Callable[..., str], module: str) -> list[NotebookNode]:
    "The cells that stand in the site for one of a notebook."
    if cell.cell_type == 'markdown':
        cell.source = link_names(links(cell.source), module)
        return [cell]
    if re.match(r'#\|\s*(hide|default_exp)\b', cell.source):
        return []
    tags = ['remove-input'] if re.match(r'#\|\s*echo:\s*false\b', cell.source) else []
    exported = module if re.match(r'#\|\s*export\b', cell.source) else ''
    cell.source = re.sub(r'^#\|.*\n?', '', cell.source, flags=re.MULTILINE).strip('\n')
    folded = long(cell.source) or cell.metadata.get('jupyter', {}).get('source_hidden')
    before = anchors(cell, exported, bool(folded)) if exported else []
    cell.metadata['tags'] = tags or ['hide-input'] * bool(folded)
    for output in cell.outputs:
        show_output(output, links)
    return [*before, cell] if cell.source or cell.outputs else []


def long(source: str) -> bool:
    "Whether to fold a cell."
    lines = [line for line in source.splitlines() if line.strip()]
    imports = all(re.match(r'from |import |\s|\)|#', line) for line in lines)
    return len(lines) > (IMPORTS if imports else LONG)


def anchors(cell: NotebookNode, module: str, folded: bool) -> list[NotebookNode]:
    "What stands before an exported cell: a place that the API reference links to, and tables if the code is folded."
    names = [name for name in documented(module) if documented(module)[name] == cell.id]
    if not names:
        return []
    tables = folded_definitions(module, names) if folded else ''
    return [nbformat.v4.new_markdown_cell(f'<span id="{cell.id}"></span>\n\n{tables}'.strip())]


def show_output(output: NotebookNode, links: Callable[..., str]):
    "Rewrite the links of an output, in place."
    data = output.get('data', {})
    if 'text/markdown' in data:
        data['text/markdown'] = links(data['text/markdown'])
    if 'text/html' in data:
        data['text/html'] = links(data['text/html'], html=True)


def about_profile(source: Path) -> str:
    "Under the title of an experiment: whose numbers these are, and where there are others."
    if not source.is_relative_to(RESULTS):
        return ':::{note}\nNot executed yet, so this page has no numbers.\n:::'
    profile, *_ = source.relative_to(RESULTS).parts
    others = [path for path in sorted(RESULTS.glob(f'*/notebooks/{source.name}')) if path != source]
    readme = source.parent.parent / 'README.md'
    links = [f'[{p.parent.parent.name}]({os.path.relpath(p, source.parent)})' for p in others]
    lines = [
        ':::{note}',
        f'Executed with the profile **{profile}**.',
        '[All its tables and pictures](../README.md) are on one page.' if readme.is_file() else '',
        f'The same notebook with other profiles: {", ".join(links)}.' if links else '',
        ':::',
    ]
    return '\n'.join(filter(None, lines))
