"""Build the book as a static site in _docs (what `make book` runs).

The pages are made from the notebooks with the outputs that they have: nothing is executed, nothing is fetched.
A link that leads nowhere, or any other warning of Sphinx, is an error.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

import nbformat
from api import link_names, write_reference
from nbformat import NotebookNode
from pages import Linker, page, pages, source_of
from records import copy_records
from settings import NBS, ROOT
from sphinx.cmd.build import build_main

from trm_nbdev.engine.page import write_page

HERO = 'solve.html'  # the page in which a model solves your puzzle, on top of the front page
WITH_HERO = """<script>
const hero = document.querySelector('iframe.hero'), book = document.documentElement;
const paint = () => hero.contentWindow.postMessage({ theme: book.dataset.theme }, '*');
new MutationObserver(paint).observe(book, { attributeFilter: ['data-theme'] });
addEventListener('message', ({ source, data }) => {
  if (source !== hero.contentWindow) return;
  hero.style.height = `${data.height}px`; // as high as what is in it
  paint();
});
</script>"""  # a page from file:// must not look into a frame, so the two send messages
LEFTOVERS = shutil.ignore_patterns('*webpack-macros.html', '*.map', '*.po', '*.mo', '.buildinfo')  # of theme and Sphinx
PART = re.compile(r'\| \*\*(\d\. .+?)\*\*: (.+?) \| (.+?) \|')


def write_notebooks(src: Path) -> set[Path]:
    "Write the page of each notebook; returns the other files that they link to."
    needed = set[Path]()
    for notebook, place in pages().items():
        source = source_of(notebook)
        if notebook.suffix != '.ipynb' or pages()[source] != place:
            continue
        nb, links = page(source, place)
        if place == 'index.ipynb':
            nb.cells = front(nb)
        (src / place).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nb, src / place)
        needed |= links
    return needed


def front(nb: NotebookNode) -> list[NotebookNode]:
    "The cells of the front page: the solving page below the title, and a table of contents that only Sphinx sees."
    title, *cells = nb.cells
    head, rest = title.source.split('\n\n', 1)
    frame = f'<iframe class="hero" src="{HERO}" title="A model solves your puzzle"></iframe>{WITH_HERO}'
    title.source = f'{head}\n\n{frame}\n\n<a href="{HERO}">The same on a page of its own</a>\n\n{rest}'
    parts = [f'{folder}/index' for folder, *_ in parts_of(nb)]
    return [title, *cells, toctree(['00_trm', *parts, 'api/index', 'results/index', 'CONTRIBUTING', 'DEPENDENCIES'])]


def toctree(names: list[str], options: str = ':hidden:\n') -> NotebookNode:
    text = '```{toctree}\n' + options + '\n' + '\n'.join(names) + '\n```'
    return nbformat.v4.new_markdown_cell(text, id='contents')  # else a random one


def parts_of(index: NotebookNode) -> list[tuple[str, str, str, list[str]]]:
    "Folder, title, subtitle and chapters of each part, from the map on the front page."
    outputs = [o for cell in index.cells for o in cell.get('outputs', [])]
    texts = [o['data']['text/markdown'] for o in outputs if 'text/markdown' in o.get('data', {})]
    found = []
    for title, subtitle, chapters in PART.findall('\n'.join(texts)):
        places = re.findall(r'\]\((\w+)/(\w+)\.ipynb\)', chapters)
        found.append((places[0][0], title, subtitle, [name for _, name in places]))
    return found


def write_parts(src: Path):
    "A page for each part, and one for what the experiments left behind."
    for folder, title, subtitle, chapters in parts_of(nbformat.read(NBS / 'index.ipynb', as_version=4)):
        (src / folder).mkdir(exist_ok=True)
        body = toctree(chapters, ':maxdepth: 1\n').source
        (src / folder / 'index.md').write_text(
            f'# {title}\n\n> {subtitle[0].upper()}{subtitle[1:]}\n\n{body}\n', encoding='utf-8'
        )
    results = src / 'results'
    places = sorted(
        path.relative_to(results).with_suffix('') for path in results.rglob('*') if path.suffix in ('.md', '.ipynb')
    )
    names = [f'{p.parts[0]}: {p.stem} <{p.as_posix()}>' if p.stem != 'README' else p.as_posix() for p in places]
    text = '# Tables, pictures, records\n\n> What the experiments left behind, by profile\n\n'
    (results / 'index.md').write_text(text + toctree(names, ':maxdepth: 1\n').source + '\n', encoding='utf-8')


def write_needed(src: Path, needed: set[Path]):
    "Copy the files that pages link to; in Markdown, links are rewritten, and what they lead to is needed, too."
    done = set[Path]()
    while todo := sorted(needed - done):
        for path in todo:
            place = path.relative_to(ROOT).as_posix()
            (src / place).parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == '.md':
                links, text = Linker(path, place), path.read_text(encoding='utf-8')
                (src / place).write_text(link_names(links(text), ''), encoding='utf-8')
                needed |= links.needed
            else:
                shutil.copyfile(path, src / place)
            done.add(path)


def stage(src: Path, extra: Path):
    "Write everything that Sphinx reads, and into `extra` what goes into the site as it is."
    needed = write_notebooks(src) | {ROOT / 'CONTRIBUTING.md', ROOT / 'DEPENDENCIES.md'}
    write_needed(src, needed)
    write_parts(src)
    write_reference(src / 'api', pages())
    copy_records(extra)
    write_page(extra / HERO)


def build(work: Path, out: Path) -> int:
    "Make the site; returns the exit status."
    shutil.rmtree(work, ignore_errors=True)
    stage(work / 'src', work / 'site')
    options = ['--quiet', '--fail-on-warning', '--jobs', 'auto', '--builder', 'html']
    folders = ['--doctree-dir', str(work / 'doctrees'), '--conf-dir', str(Path(__file__).parent)]
    status = build_main([*options, *folders, str(work / 'src'), str(work / 'site')])
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(work / 'site', out, ignore=LEFTOVERS)
    return status


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=ROOT / '_docs', help='the site (default: _docs)')
    parser.add_argument('--work', type=Path, default=ROOT / 'build' / 'book', help='for what Sphinx reads and keeps')
    args = parser.parse_args()
    sys.exit(build(args.work.resolve(), args.out.resolve()))
