"A file or a parameter that is read is data: nothing in the package or in an experiment can make it run code."

import ast

import pytest
from conftest import ROOT
from test_packaging import code

PICKLES = {'pickle', 'dill', 'cloudpickle', 'joblib', 'marshal', 'shelve'}  # their loaders call whatever a file names
LOADERS = {'load', 'loads', 'open', 'Unpickler'}
RUNNERS = {'eval', 'exec', 'compile', '__import__'}
YAML = {'load', 'load_all', 'full_load', 'full_load_all', 'unsafe_load', 'unsafe_load_all'}
MODULES = sorted((ROOT / 'trm_nbdev').rglob('*.py'))
SOURCES = {str(path.relative_to(ROOT)): path.read_text(encoding='utf-8') for path in MODULES}
SOURCES |= {path.name: code(path) for path in sorted((ROOT / 'nbs' / '3_experiments').glob('*.ipynb'))}


def imports_a_loader(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.ImportFrom)
        and node.module in PICKLES
        and bool({alias.name for alias in node.names} & LOADERS)
    )


def runs_what_it_is_given(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    module, _, name = ast.unparse(node.func).rpartition('.')
    given = {k.arg: ast.unparse(k.value) for k in node.keywords}
    return (
        name in RUNNERS
        and module in {'', 'builtins'}
        or name in LOADERS
        and module in PICKLES
        or name in YAML
        and module == 'yaml'
        or name == 'read_pickle'
        or f'{module}.{name}' == 'torch.load'
        and given.get('weights_only') != 'True'
        or given.get('allow_pickle', 'False') != 'False'
    )


def risks(source: str) -> list[str]:
    "What in Python `source` could execute what a file or a parameter says."
    return [
        f'line {node.lineno}: {ast.unparse(node)}'
        for node in ast.walk(ast.parse(source))
        if imports_a_loader(node) or runs_what_it_is_given(node)
    ]


@pytest.mark.parametrize(
    'source',
    [
        'pickle.load(f)',
        'from joblib import load',
        'eval(x)',
        'exec(x)',
        '__import__(x)',
        'torch.load(f)',
        'torch.load(f, weights_only=False)',
        'torch.load(f, weights_only=w)',
        'np.load(f, allow_pickle=True)',
        'yaml.load(f)',
        'pd.read_pickle(f)',
    ],
)
def test_what_is_risky_is_seen(source):
    assert len(risks(source)) == 1


def test_what_is_not_risky_is_let_through():
    source = (
        'torch.load(f, weights_only=True); np.load(f, allow_pickle=False); model.eval(); torch.compile(m); '
        'yaml.safe_load(f); json.load(f); ast.literal_eval(x)'
    )
    assert risks(source) == []


def test_the_whole_package_is_looked_at():
    assert {'puzzles', 'engine'} <= {path.parent.name for path in MODULES}


@pytest.mark.parametrize('name', SOURCES)
def test_nothing_risky_is_used(name):
    assert risks(SOURCES[name]) == []
