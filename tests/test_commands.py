"What the commands and the notebooks refuse before they work, without starting a process; what they make of a notebook."

import ast
from types import SimpleNamespace

import nbformat
import papermill
import pytest
from conftest import ROOT, cells

from trm_nbdev.engine import bench, rerun
from trm_nbdev.engine.files import check_writable
from trm_nbdev.engine.plan import check_parameters, notebook_name, out_folder
from trm_nbdev.engine.rerun import changes_of, check_mode, execute, parse, parser

EXPERIMENTS = sorted((ROOT / 'nbs' / '3_experiments').glob('*.ipynb'))


# ---- trm-bench


@pytest.mark.parametrize('seconds', ['0', '-1', 'nan', 'inf', '-inf', 'x'])
def test_bench_refuses_seconds_that_never_end_or_are_no_time(monkeypatch, capsys, seconds):
    monkeypatch.setattr(bench, 'bench', lambda *_: pytest.fail('measured'))
    with pytest.raises(SystemExit) as e:
        bench.main([f'--seconds={seconds}'])
    assert e.value.code == 2 and '--seconds' in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize('out', ['', 'file', 'file/folder'])
def test_bench_checks_where_to_write_before_it_measures(monkeypatch, capsys, tmp_path, out):
    monkeypatch.setattr(bench, 'bench', lambda *_: pytest.fail('measured'))
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').touch()
    with pytest.raises(SystemExit) as e:
        bench.main(['--out', out])
    assert e.value.code == 2 and 'expected a folder' in capsys.readouterr().err.splitlines()[-1]


def test_bench_prints_what_it_cannot_write(monkeypatch, capsys, tmp_path):
    measured = SimpleNamespace(numbers={})
    monkeypatch.setattr(bench, 'bench', lambda *_: measured)
    monkeypatch.setattr(bench, 'bench_page', lambda *_: 'all that was measured')
    monkeypatch.setattr(bench, 'write_bench', full)
    assert bench.main(['--out', str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.out == 'all that was measured\n' and said.err == f'trm-bench: {tmp_path} cannot be written: full\n'


def full(*_):
    raise OSError('full')


def test_a_folder_that_can_be_written_is_made_and_stays_empty(tmp_path):
    assert check_writable(tmp_path / 'a' / 'b') == tmp_path / 'a' / 'b'
    assert [*(tmp_path / 'a' / 'b').iterdir()] == []


def test_a_full_or_read_only_disk_is_named(monkeypatch, tmp_path):
    def full(**_):
        raise OSError(30, 'Read-only file system')

    monkeypatch.setattr('trm_nbdev.engine.files.TemporaryFile', full)
    with pytest.raises(ValueError, match=r'out is .*, expected a folder that can be written to: Read-only file system'):
        out_folder(tmp_path, 'smoke')


# ---- trm-rerun


@pytest.mark.parametrize('name', ['out', 'data', 'notebooks'])
def test_an_empty_folder_name_is_refused(capsys, name):
    assert rerun.main([f'--{name}', '']) == 2
    assert capsys.readouterr().err == f"trm-rerun: {name} is '', expected a folder\n"
    if name != 'notebooks':
        assert rerun.main(['--run', 'HRM', f'--{name}', '']) == 2


@pytest.mark.parametrize(
    'words',
    [
        '--run HRM n=3 T=3 --profile smoke --seeds 0 1',
        '--run HRM --profile smoke n=3 T=3 --seeds 0 1',
        '--run HRM n=3 --profile smoke T=3 --seeds 0 1',
        '--run HRM --profile smoke --seeds 0 1 n=3 T=3',
        '--seeds 0 n=3 1 --run HRM T=3 --profile=smoke',
        'n=3 --run=HRM --profile smoke --seeds 0 1 --force T=3',
    ],
)
def test_fields_stand_anywhere_on_the_line_of_run(words):
    a = parse(words.split())
    assert a.run[0] == 'HRM' and sorted(a.run[1:]) == ['T=3', 'n=3'] and a.fields == []
    assert a.seeds == ['0', '1'] and a.profile == 'smoke'
    assert changes_of(*a.run) == changes_of('HRM', 'n=3', 'T=3')


def test_a_field_without_a_row_and_a_word_that_is_no_field_are_refused(capsys):
    assert rerun.main(['--profile', 'smoke', 'n=3']) == 2
    assert "'n=3' without --run" in capsys.readouterr().err
    assert rerun.main(['layers']) == 2
    assert "'layers' without --run" in capsys.readouterr().err
    assert rerun.main(['--run', 'HRM', '--profile', 'smoke', 'lion']) == 2
    assert "'lion' changes no field" in capsys.readouterr().err
    check_mode(parser().parse_args([]))


# ---- notebooks


def small(folder, *sources):
    "A notebook of these cells; the first holds its parameters."
    made = [nbformat.v4.new_code_cell(source) for source in sources]
    made[0].metadata.tags = ['parameters']
    kernel = dict(name='python3', display_name='python3', language='python')
    path = folder / 'my try.ipynb'
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=dict(kernelspec=kernel)), path)
    return path


PIECES = """import os, sys
for text in ('one', '\\n', 'two', '\\n'):
    sys.stdout.write(text)
    sys.stdout.flush()
print(os.environ['TRM_NOTEBOOK'], profile)"""


def test_an_executed_notebook_has_one_piece_for_each_stream_and_knows_its_name(monkeypatch, tmp_path):
    monkeypatch.setenv('TRM_NOTEBOOK', '')  # restores it afterwards
    notebook = small(tmp_path, "profile = 'quick'", PIECES)
    (tmp_path / 'scratch').mkdir()
    done = execute('my try', notebook, {'profile': 'smoke'}, tmp_path / 'out', tmp_path / 'scratch')
    assert done.error == ''
    outputs = cells(tmp_path / 'out' / 'notebooks' / 'my try.ipynb')[-1]['outputs']
    assert [''.join(o['text']) for o in outputs] == [f'one\ntwo\n{notebook} smoke\n']


@pytest.mark.parametrize(
    'path, name',
    [
        ('nbs/3_experiments/my_try.ipynb', 'my_try'),
        ('mine/my try.ipynb', 'my try'),
        ('console-1-ab', 'idea'),
        ('', 'idea'),
    ],
)
def test_the_name_of_a_notebook(monkeypatch, path, name):
    monkeypatch.delenv('TRM_NOTEBOOK', raising=False)
    monkeypatch.setenv('JPY_SESSION_NAME', path)
    assert notebook_name('idea') == name
    monkeypatch.setenv('TRM_NOTEBOOK', 'nbs/another.ipynb')
    assert notebook_name('idea') == 'another'


OWN = "profile = 'quick'  # smoke\nseeds = None\nout = None"


def test_a_parameter_that_the_notebook_lacks_is_refused():
    check_parameters(['', OWN, 'sedes = 1'])  # not set by papermill
    check_parameters(['', OWN, '# Parameters\nseeds = [0]\nprofile = "smoke"\n', 'a = 1'])
    expected = 'sedes, rows is not a parameter of this notebook, expected profile, seeds, out'
    with pytest.raises(ValueError, match=expected):
        check_parameters(['', OWN, '# Parameters\nsedes = [0]\nout = "x"\nrows = {}\n', 'sedes = 1'])
    check_parameters()  # outside of a notebook


@pytest.mark.parametrize('notebook', EXPERIMENTS, ids=lambda p: p.stem)
def test_every_experiment_checks_its_parameters_before_it_uses_them(notebook):
    code = [c for c in cells(notebook) if c['cell_type'] == 'code']
    at = next(k for k, c in enumerate(code) if 'parameters' in c['metadata'].get('tags', []))
    first = next(
        s for s in ast.parse(''.join(code[at + 1]['source'])).body if not isinstance(s, ast.Import | ast.ImportFrom)
    )
    assert ast.unparse(first) == 'check_parameters()'


def test_plain_papermill_ends_with_the_unknown_name(tmp_path):
    source = next(p for p in EXPERIMENTS if p.stem == 'check_records')
    wrong = {'profile': 'smoke', 'sedes': 0, 'out': str(tmp_path / 'results')}
    with pytest.raises(papermill.PapermillExecutionError, match='sedes is not a parameter of this notebook'):
        papermill.execute_notebook(
            str(source), str(tmp_path / 'o.ipynb'), wrong, progress_bar=False, kernel_name='python3'
        )
    assert not (tmp_path / 'results').exists()


@pytest.mark.parametrize(
    'words, message',
    [
        (['--run', 'HRM', 'n=3', 'n=4'], 'n is given more than once'),
        (['--run', 'HRM', '--benchmark', ''], "benchmark is '', expected"),
        (['--verify', '--out', ''], "out is '', expected a folder"),
        (['--run', 'HRM', '--data', '~nobodyhere'], '~nobodyhere: Could not determine home directory'),
        (['--run', 'HRM', 'optimizer=adam-atan2', 'lr=1e300'], 'lr is'),
        (['--run', 'HRM', '--out', 'x\udcff'], 'expected a folder that can be written to'),
    ],
)
def test_what_cannot_be_meant_is_refused(words, message, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert rerun.main(['--profile', 'smoke', *words]) == 2
    assert message in capsys.readouterr().err


def test_options_are_not_abbreviated(capsys):
    with pytest.raises(SystemExit):
        rerun.main(['--f'])
    assert 'unrecognized arguments: --f' in capsys.readouterr().err
