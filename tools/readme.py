"Write README.md from nbs/index.ipynb (what `make readme` runs)."

import re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from nbformat import NotebookNode

root = Path(__file__).resolve().parent.parent


def at_root(match: re.Match) -> str:
    "A relative link of the notebook, as README.md needs it, one folder above."
    before, target = match.groups()
    return before + (root / 'nbs' / target).resolve().relative_to(root).as_posix()


def relink(text: str) -> str:
    "Rewrite the relative links of `text`, in Markdown and HTML, but not in code, where `a[0](x)` is no link."
    parts = re.split(r'(```.*?```|`[^`\n]*`)', text, flags=re.DOTALL)
    links = r'(\]\(|(?:src|href)=")(?![a-z]+:|#|/)([^)"\s]+)'
    return ''.join(part if i % 2 else re.sub(links, at_root, part) for i, part in enumerate(parts))


def for_readers(nb: NotebookNode) -> NotebookNode:
    "Leave out the cells that nbdev hides, the code of those that say `echo: false`, and all directives."
    nb.metadata.language_info = {'name': 'python'}  # nbdev_clean drops it, and the code blocks are marked with it
    nb.cells = [c for c in nb.cells if not re.match(r'#\|\s*(hide|default_exp)\b', c.source)]
    for c in nb.cells:
        if re.match(r'#\|\s*echo:\s*false\b', c.source):
            c.metadata['transient'] = {'remove_source': True}
        for o in c.get('outputs', []):
            if 'text/markdown' in o.get('data', {}):
                o.data['text/markdown'] = relink(o.data['text/markdown'])
        c.source = relink(c.source) if c.cell_type == 'markdown' else re.sub(r'^#\|.*\n', '', c.source, flags=re.M)
    return nb


def main():
    nb = for_readers(nbformat.read(root / 'nbs' / 'index.ipynb', as_version=4))
    text, _ = MarkdownExporter().from_notebook_node(nb)
    text = re.sub(r'\n{3,}', '\n\n', text.strip())  # nbconvert leaves empty lines where code was hidden
    (root / 'README.md').write_text(text + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
