"settings.ini, environment.yml, requirements.lock and what is imported agree, and the package installs."

import ast
import json
import os
import re
import runpy
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from trm_nbdev.engine.weights import shipped_models

MODULES = sorted((ROOT / 'trm_nbdev').rglob('*.py'))
NOTEBOOKS = sorted((ROOT / 'nbs').rglob('*.ipynb'))
REFERENCE = sys.version_info[:2] == (3, 11) and sys.platform == 'linux' and version('torch').endswith('+cpu')


def names(requirements: str) -> set[str]:
    return {canonicalize_name(Requirement(r).name) for r in requirements.split()}


def lock(root: Path) -> dict[str, str]:
    "Name and version of each line of requirements.lock."
    lines = (root / 'requirements.lock').read_text(encoding='utf-8').splitlines()
    return dict(line.split()[0].split('==') for line in lines if line and not line.startswith(('#', ' ')))


def imported(source: str) -> set[str]:
    "The distributions from which Python `source` imports something; those of Python and of this project aside."
    nodes = list(ast.walk(ast.parse(source)))
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    tops = (
        {module.split('.')[0] for module in modules}
        - sys.stdlib_module_names
        - {'trm_nbdev', 'conftest', 'test_packaging', *(path.stem for path in ROOT.glob('tools/book/*.py'))}
    )
    where = packages_distributions()
    return {canonicalize_name(where[top][0]) for top in tops}


def code(notebook: Path) -> str:
    "The Python of a notebook, without the lines that only IPython understands."
    cells = json.loads(notebook.read_text(encoding='utf-8'))['cells']
    text = '\n'.join(''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code')
    return re.sub(r'^\s*[%!].*$', '', text, flags=re.MULTILINE)


def test_imported_sees_each_kind_of_import():
    assert imported('import os, yaml\nfrom numpy.linalg import norm\nfrom .sudoku import x') == {'pyyaml', 'numpy'}


def test_locked_versions_are_those_that_settings_ask_for(root, settings):
    locked = lock(root)
    for req in map(Requirement, (settings['requirements'] + settings['dev_requirements']).split()):
        assert req.specifier.contains(locked[canonicalize_name(req.name)]), f'{req}: run `make lock`'


def test_installed_versions_are_the_locked_ones(root):
    installed = {name: version(name).split('+')[0] for name in lock(root)}
    assert installed == lock(root)


@pytest.mark.skipif(not REFERENCE, reason='elsewhere pip adds what some packages need there only')
def test_lock_is_complete(root):
    assert runpy.run_path(str(root / 'tools' / 'lock.py'))['all_versions']() == lock(root), 'run `make lock`'


def test_conda_environment_is_the_locked_one(root, settings):
    env = yaml.safe_load((root / 'environment.yml').read_text(encoding='utf-8'))
    assert env['dependencies'] == [f'python={settings["min_python"]}', 'pip']
    makefile = (root / 'Makefile').read_text(encoding='utf-8').replace('--quiet ', '')
    commands = re.findall(r'^#   pip (.*)$', (root / 'environment.yml').read_text(encoding='utf-8'), flags=re.MULTILINE)
    assert len(commands) == 2
    assert all(c in makefile.replace('--constraint $(VENV)/pins.txt ', '') for c in commands)


@pytest.mark.parametrize('module', MODULES, ids=lambda p: p.stem)
def test_package_requires_what_it_imports(module, settings):
    assert imported(module.read_text(encoding='utf-8')) <= names(settings['requirements'])


@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_import_only_what_is_required(notebook, settings):
    assert imported(code(notebook)) <= names(settings['requirements'] + settings['dev_requirements'])


def test_tests_and_tools_import_only_what_is_required(root, settings):
    for file in [*root.glob('tests/*.py'), *root.glob('tools/**/*.py'), root / 'setup.py']:
        known = names(settings['requirements'] + settings['dev_requirements']) | {'setuptools'}
        assert imported(file.read_text(encoding='utf-8')) <= known, file.name


def test_citation_names_the_paper_and_this_version(root, settings):
    cff = yaml.safe_load((root / 'CITATION.cff').read_text(encoding='utf-8'))
    assert {'cff-version', 'message', 'title', 'authors'} <= cff.keys()
    assert (cff['version'], cff['license']) == (settings['version'], settings['license'])
    paper = cff['preferred-citation']
    assert paper['title'] == 'Less is More: Recursive Reasoning with Tiny Networks'
    assert paper['authors'][0]['family-names'] == 'Jolicoeur-Martineau'
    assert paper['identifiers'][0]['value'] == 'arXiv:2510.04871'


def test_package_built_from_its_source_archive_imports_and_its_commands_answer(tree, tmp_path, settings):
    "The wheel is built from the sdist, so a file that MANIFEST.in forgets is missed here."

    def run(*args, **kwargs):
        done = subprocess.run([str(a) for a in args], cwd=tmp_path, capture_output=True, text=True, **kwargs)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, '-m', 'build', '--no-isolation', '--outdir', tmp_path / 'dist', tree)
    (wheel,) = (tmp_path / 'dist').glob('*.whl')
    with zipfile.ZipFile(wheel) as archive:
        meta = next(n for n in archive.namelist() if n.endswith('.dist-info/METADATA'))
        assert f'License: {settings["license"]}' in archive.read(meta).decode()
        assert [n for n in archive.namelist() if n.endswith('/LICENSE')]
        assert {f'trm_nbdev/page/{p.name}' for p in (ROOT / 'trm_nbdev' / 'page').iterdir()} <= {*archive.namelist()}

    site = tmp_path / 'site'
    run(sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index', '--target', site, wheel)
    env = {**os.environ, 'PYTHONPATH': str(site)}
    found = run(sys.executable, '-c', 'import trm_nbdev as t; print(t.__version__, t.__file__)', env=env).split()
    assert found == [settings['version'], str(site / 'trm_nbdev' / '__init__.py')]
    load = 'from trm_nbdev.engine.weights import load_model, shipped_models; print(*map(load_model, shipped_models()))'
    assert run(sys.executable, '-c', load, env=env).count('TRM(') == len(shipped_models())
    for command in settings['console_scripts'].split():
        assert 'usage' in run(site / 'bin' / command.split('=')[0], '--help', env=env)
