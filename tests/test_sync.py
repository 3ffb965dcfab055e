"Package, README and notebooks say the same: each is made again in a copy of the checkout, and must not change."

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import ROOT, cells

EXPERIMENTS = sorted((ROOT / 'nbs' / '3_experiments').glob('*.ipynb'))
BOOK = sorted({*(ROOT / 'nbs').rglob('*.ipynb')} - {*EXPERIMENTS})
EXECUTED = sorted((ROOT / 'results').glob('*/notebooks/*.ipynb'))


def contents(folder: Path) -> dict[str, str | bytes]:
    "Each file under `folder`, by its path; text as text, so that a difference can be read."

    def read(path):
        return path.read_text(encoding='utf-8') if path.suffix in {'.py', '.ipynb'} else path.read_bytes()

    skipped = {'__pycache__', '.ipynb_checkpoints'}
    return {
        path.relative_to(folder).as_posix(): read(path)
        for path in sorted(folder.rglob('*'))
        if path.is_file() and not skipped & set(path.parts)
    }


def nbdev(command: str, folder: Path):
    "Run one of nbdev's commands in `folder`."
    done = subprocess.run([Path(sys.executable).parent / command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_package_is_what_the_notebooks_export(root, tree):
    for file in (tree / 'trm_nbdev').rglob('*.py'):
        if file.name != '__init__.py':  # no notebook has it: nbdev writes its version only
            file.unlink()  # so that a module whose notebook is gone is found, too
    nbdev('nbdev_export', tree)
    assert contents(tree / 'trm_nbdev') == contents(root / 'trm_nbdev'), 'run `make export`'


def test_notebooks_are_clean(root, tree):
    nbdev('nbdev_clean', tree)
    assert contents(tree / 'nbs') == contents(root / 'nbs'), 'run `make export`'


def test_readme_is_what_the_index_says(root, tree):
    subprocess.run([sys.executable, tree / 'tools' / 'readme.py'], check=True)
    assert (tree / 'README.md').read_text(encoding='utf-8') == (root / 'README.md').read_text(encoding='utf-8'), (
        'run `make readme`'
    )


@pytest.mark.parametrize('notebook', BOOK + EXPERIMENTS, ids=lambda p: p.stem)
def test_cell_ids_are_there_once(notebook):
    "nbdev writes them into the modules: without ids of their own, every export would change every file."
    counts = Counter(cell.get('id') for cell in cells(notebook))
    assert None not in counts
    assert max(counts.values()) == 1, counts.most_common(1)


@pytest.mark.parametrize('notebook', EXPERIMENTS, ids=lambda p: p.stem)
def test_experiments_have_one_parameters_cell_and_export_nothing(notebook):
    tags = [tag for cell in cells(notebook) for tag in cell['metadata'].get('tags', [])]
    assert tags.count('parameters') == 1
    assert not [cell for cell in cells(notebook) if ''.join(cell['source']).startswith('#| export')]


@pytest.mark.parametrize('executed', EXECUTED, ids=lambda p: f'{p.parent.parent.name}-{p.stem}')
def test_results_show_the_code_that_the_notebooks_have(executed):
    "Apart from the parameters that papermill has put in."

    def code(notebook):
        shown = (
            cell for cell in cells(notebook) if cell['cell_type'] == 'code' and cell['id'] != 'injected-parameters'
        )
        return [''.join(cell['source']) for cell in shown]

    assert code(executed) == code(ROOT / 'nbs' / '3_experiments' / executed.name), 'run `make results`'


@pytest.mark.parametrize('notebook', BOOK + EXPERIMENTS + EXECUTED, ids=lambda p: p.stem)
def test_no_output_names_a_folder_of_the_machine_that_made_it(notebook):
    outputs = json.dumps([cell.get('outputs', []) for cell in cells(notebook)])
    assert re.findall(r'site-packages|/home/\w+|/root/|[A-Z]:\\\\Users', outputs) == []


LINK = re.compile(r'\]\(([^)#\s]+)[^)]*\)')


@pytest.mark.parametrize('file', [ROOT / 'README.md', *BOOK, *EXPERIMENTS, *EXECUTED], ids=lambda p: p.stem)
def test_links_within_the_checkout_lead_somewhere(file):
    text = (
        file.read_text(encoding='utf-8')
        if file.suffix == '.md'
        else '\n'.join(''.join(c['source']) for c in cells(file) if c['cell_type'] == 'markdown')
    )
    within = [link for link in LINK.findall(text) if not re.match(r'\w+:', link)]
    assert [link for link in within if not (file.parent / link).exists()] == []
