"Who may import whom: the order of the chapters is the order of the imports; parts know each other in one direction."

import ast
import re
import statistics
from pathlib import Path

import pytest
from conftest import ROOT, cells

CHAPTERS = sorted((ROOT / 'nbs').glob('[124]_*/*.ipynb'))  # in reading order; the experiments export nothing
MAY_KNOW = {'idea': {'idea'}, 'puzzles': {'puzzles'}, 'engine': {'idea', 'puzzles', 'engine'}}
SHARED = 'trm_nbdev.tokens', 'trm_nbdev.checks'  # what a puzzle is to a model, and what a value may be: for all parts


def module_of(notebook: Path) -> str | None:
    "The module that a chapter exports."
    for cell in cells(notebook):
        if found := re.match(r'#\|\s*default_exp (\S+)', ''.join(cell['source'])):
            return f'trm_nbdev.{found[1]}'
    return None


def part_of(module: str) -> str:
    return {'puzzles': 'puzzles', 'engine': 'engine'}.get(module.split('.')[1], 'idea')


def file_of(module: str) -> Path:
    return ROOT / f'{module.replace(".", "/")}.py'


def imported(module: str) -> set[str]:
    "The modules of the package that a module imports, wherever in it; of `from . import a`, a."
    found: set[str] = set()
    package = module.rsplit('.', 1)[0]
    for node in ast.walk(ast.parse(file_of(module).read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom):
            above = '.'.join(package.split('.')[: len(package.split('.')) - node.level + 1]) if node.level else ''
            base = '.'.join(filter(None, [above, node.module]))
            inside = {f'{base}.{alias.name}' for alias in node.names}
            found |= {m for m in inside if file_of(m).is_file()} or {base}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {m for m in found if m.startswith('trm_nbdev.')}


ORDER = [module for module in map(module_of, CHAPTERS) if module]


def test_every_module_has_a_chapter_of_its_own():
    files = {p for p in (ROOT / 'trm_nbdev').rglob('*.py') if not p.name.startswith('_')}
    assert sorted(map(file_of, ORDER)) == sorted(files)


@pytest.mark.parametrize('module', ORDER)
def test_a_chapter_imports_from_earlier_chapters_of_the_parts_that_it_may_know(module):
    for other in imported(module):
        assert other in ORDER, f'{module} imports {other}, which no chapter exports'
        allowed = other in SHARED or part_of(other) in MAY_KNOW[part_of(module)]
        assert allowed, f'{module} imports {other}: {part_of(module)} may know {MAY_KNOW[part_of(module)]}'
        if part_of(other) == part_of(module) and other not in SHARED:
            assert ORDER.index(other) < ORDER.index(module), f'{module} imports {other}, a later chapter'


def functions() -> dict[str, int]:
    "Lines of every function of the package, signature and comments included."
    return {
        f'{module}.{node.name}': node.end_lineno - node.lineno + 1
        for module in ORDER
        for node in ast.walk(ast.parse(file_of(module).read_text(encoding='utf-8')))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_functions_are_short():
    lengths = functions()
    assert {name: n for name, n in lengths.items() if n > 30} == {}
    assert statistics.median(lengths.values()) <= 8
