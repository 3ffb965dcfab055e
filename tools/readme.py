"Write README.md, and the pictures in it, from nbs/index.ipynb (what `make readme` runs)."

import re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from nbformat import NotebookNode

root = Path(__file__).resolve().parent.parent
pictures = root / 'README_files'


def at_root(match: re.Match) -> str:
    "A relative link as it must be written in README.md, one folder above the notebook."
    before, target = match.groups()
    return before + (root / 'nbs' / target).resolve().relative_to(root).as_posix()


def relink(text: str) -> str:
    "`text` with its relative links rewritten, in Markdown and HTML; code, in which `a[0](x)` is no link, stays."
    parts = re.split(r'(```.*?```|`[^`\n]*`)', text, flags=re.DOTALL)
    links = r'(\]\(|(?:src|href)=")(?![a-z]+:|#|/)([^)"\s]+)'
    return ''.join(part if i % 2 else re.sub(links, at_root, part) for i, part in enumerate(parts))


def for_readers(nb: NotebookNode) -> NotebookNode:
    "`nb` without the cells that nbdev hides, without the code of those that say `echo: false`, and without directives."
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
    text, resources = MarkdownExporter().from_notebook_node(nb, resources={'output_files_dir': pictures.name})
    text = re.sub(r'\n{3,}', '\n\n', text.strip())  # nbconvert leaves empty lines where code was hidden
    (root / 'README.md').write_text(text + '\n', encoding='utf-8')
    for old in pictures.glob('*'):
        old.unlink()
    for name, data in resources['outputs'].items():
        pictures.mkdir(exist_ok=True)
        (root / name).write_bytes(data)


if __name__ == '__main__':
    main()
