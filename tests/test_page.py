"The page that solves: the same numbers as PyTorch, the same rules as Python, and a browser that clicks and types."

import json
import runpy
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CHROMIUM, ROOT, needs_chromium
from playwright.sync_api import Browser, Page, sync_playwright

from trm_nbdev.baselines import VARIANTS
from trm_nbdev.engine import page
from trm_nbdev.engine.page import entry, page_html, page_models, puzzle_of, shipped_entry, write_page
from trm_nbdev.engine.sudoku_solver import check_clues
from trm_nbdev.engine.weights import load_model, shipped_models
from trm_nbdev.model import TRM, TRMConfig
from trm_nbdev.puzzles import maze, sudoku
from trm_nbdev.thinking_longer import choose_answer

NODE = shutil.which('node')
needs_node = pytest.mark.skipif(NODE is None, reason='no node, which runs JavaScript outside a browser')
REPLAY = runpy.run_path(str(ROOT / 'tools' / 'replay.py'))
SHELF = json.loads((page.PAGE / 'puzzles.json').read_text(encoding='utf-8'))
SMALL = TRMConfig(vocab_size=8, seq_len=36, hidden_size=16, heads=2, multiple=16, n=2, T=2)
KINDS = VARIANTS | {
    'puzzle embeddings': dict(num_puzzle_identifiers=3, puzzle_emb_ndim=24, puzzle_emb_len=2, positions='learned'),
    'attention that knows no positions': dict(mixer='attention', positions='none'),
}


def js(code: str, **given: Any) -> Any:
    "What a function of TRM, Puzzles and `given`, written in JavaScript, returns."
    start = f'const TRM = require("{page.PAGE}/trm.js"), Puzzles = require("{page.PAGE}/puzzles.js");'
    program = (
        f'{start} const given = JSON.parse(require("fs").readFileSync(0)); console.log(JSON.stringify(({code})()))'
    )
    done = subprocess.run([NODE, '-e', program], input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_node
def test_the_rules_in_javascript():
    done = subprocess.run([NODE, '--test', ROOT / 'tests' / 'page.test.js'], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# ---- the same numbers


def largest_difference(model: TRM, questions: np.ndarray, steps: int) -> float:
    "Between PyTorch and JavaScript, over all puzzles, steps, cells and tokens."
    identifiers = np.arange(len(questions)) % model.config.num_puzzle_identifiers
    page, _ = REPLAY['replayed'](model, questions, identifiers, steps)
    return np.abs(page - REPLAY['recorded'](model, questions, identifiers, steps)).max()


@needs_node
@pytest.mark.parametrize('name', page_models())
def test_a_shipped_model_computes_in_the_page_what_it_computes_in_pytorch(name):
    """In float64: the recursion magnifies the rounding of float32, until two ways to add up the same numbers differ.
    On a puzzle that a model does not solve, rounding may grow tenfold a step even then, so eight steps are compared."""
    model = load_model(name)
    key = puzzle_of(model.config)['key']
    texts = SHELF[key]['random'][:1] + [SHELF[key]['examples'][2][1]]  # and one that is impossible
    questions = np.array([['.123456789'.index(c) + 1 for c in t] if name[0] == 's' else _maze(t) for t in texts])
    assert largest_difference(model, questions, 8) < 1e-6


def test_every_shipped_model_has_been_replayed():
    found = json.loads((ROOT / 'results' / 'page.json').read_text(encoding='utf-8'))
    assert [*found] == shipped_models()
    for name, told in found.items():
        assert told['puzzles'] == 200 and told['page and float64']['largest'] < 1e-4, name
        assert told['compared'] == REPLAY['compared'](name), f'{name} or trm.js has changed: python tools/replay.py'


def _maze(text: str) -> list[int]:
    return maze.parse_maze(text.replace('.', ' '), isqrt(len(text))).tolist()


@needs_node
@pytest.mark.parametrize('name', KINDS)
def test_every_kind_of_model_computes_in_the_page_what_it_computes_in_pytorch(name):
    torch.manual_seed(0)
    model = TRM(replace(SMALL, **KINDS[name]))
    for p in model.parameters():  # a head or an embedding of zeros would hide a mistake
        torch.nn.init.normal_(p, std=0.1)  # larger weights make it chaotic
    questions = np.random.default_rng(0).integers(1, 8, (3, 36))
    assert largest_difference(model, questions, 3) < 1e-9


# ---- the same rules


@needs_node
@pytest.mark.parametrize('box', [(2, 3), (3, 3)])
def test_javascript_and_python_agree_about_sudokus(box):
    rng, side = np.random.default_rng(0), box[0] * box[1]
    grids = []
    for text in SHELF[f'sudoku-{side}x{side}']['random']:
        grid = sudoku.parse_grid(text, box)
        grids.append(grid.copy())
        grid[rng.choice(np.flatnonzero(grid), 2, replace=False)] = 0, rng.integers(1, side + 1)  # one less, one changed
        grids.append(grid)
    found = js(
        '() => given.grids.map(g => Puzzles.sudoku(...given.box).check(g.map(d => d + 1)))',
        grids=np.array(grids).tolist(),
        box=box,
    )
    for grid, said in zip(grids, found, strict=True):
        count, solution = check_clues(grid, box, on_conflict='solve')
        assert said['good'] == (count == 1), sudoku.format_grid(grid, box)
        if count == 1:
            assert (np.array(said['solution']) - 1 == solution).all()
        else:
            assert said['text'].startswith('Ambiguous' if count else 'Impossible')


@needs_node
@pytest.mark.parametrize('side', [8, 10])
def test_javascript_and_python_agree_about_mazes(side):
    rng = np.random.default_rng(0)
    questions = np.array([_maze(text) for text in SHELF[f'maze-{side}x{side}']['random']], np.uint8)
    answers = np.concatenate([maze.solve_many(questions, side)[1]] * 3)
    for answer in answers[24:]:
        answer[rng.choice(np.flatnonzero(answer != maze.WALL), 1)] = rng.choice([maze.FREE, maze.PATH])
    asked = np.concatenate([questions] * 3)
    judged = js(
        '() => given.answers.map((a, i) => Puzzles.maze(given.side).judge(given.questions[i], a).right)',
        answers=answers.tolist(),
        questions=asked.tolist(),
        side=side,
    )
    assert judged == maze.is_shortest_path(answers, asked, side).tolist()
    assert 24 < sum(judged) < 72


@needs_node
def test_javascript_and_python_choose_the_same_answer():
    rng = np.random.default_rng(0)
    tokens, q = rng.integers(0, 3, (5, 200, 4)).astype(np.uint8), rng.normal(size=(5, 200))
    code = """() => given.q.map((qs, n) => {
        const answers = given.tokens[n];
        return [Puzzles.vote(answers, qs, false), Puzzles.vote(answers, qs, true), answers[Puzzles.surest(qs)]];
    })"""
    found = np.array(js(code, tokens=tokens.swapaxes(0, 1).tolist(), q=q.T.tolist()))
    for k, choose in enumerate(['vote of cells', 'vote of answers', 'surest']):
        assert (found[:, k] == choose_answer(tokens, q, choose)).all(), choose


# ---- one file


def test_the_page_is_small_and_whole_and_the_same_every_time(tmp_path):
    path = write_page(tmp_path / 'new' / 'solve.html')
    text = path.read_text(encoding='utf-8')
    assert path.stat().st_size < 5e6 and text == page_html() and [*path.parent.iterdir()] == [path]
    manifest = json.loads(text.split('id="manifest">')[1].split('</script>')[0])
    assert len(manifest['models']) == len(page_models()) and manifest['puzzles'] == SHELF
    assert list(dict.fromkeys(m['puzzle']['key'] for m in manifest['models'])) == [
        'sudoku-6x6',
        'sudoku-9x9',
        'maze-8x8',
        'maze-10x10',
    ]


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(ValueError, match='expected models for'):
        page_html([])
    with pytest.raises(ValueError, match="entries have {'sudoku-4x4'}, expected models for sudoku-6x6"):
        page_html([entry(TRM(replace(SMALL, vocab_size=6, seq_len=16)), 'small')])
    with pytest.raises(ValueError, match='seq_len is 36 and vocab_size 7'):
        entry(TRM(replace(SMALL, vocab_size=7)), 'strange')


def test_the_command_writes_the_page_or_says_why_not(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(page, 'page_html', lambda entries: 'a page')
    assert page.main([str(tmp_path / 'solve.html')]) == 0
    assert 'Open it in a browser' in capsys.readouterr().out
    (tmp_path / 'file').touch()
    with pytest.raises(SystemExit) as e:
        page.main([str(tmp_path / 'file' / 'solve.html')])
    assert e.value.code == 2 and 'cannot be written' in capsys.readouterr().err.splitlines()[-1]


# ---- in a browser


@pytest.fixture(scope='module')
def browser() -> Iterator[Browser]:
    with sync_playwright() as p:
        yield p.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])


@pytest.fixture(scope='module')
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A page with two models for 6×6 Sudokus."
    torch.manual_seed(0)
    entries = [shipped_entry(name) for name in ('sudoku-6x6', 'maze-8x8')]
    untrained = entry(TRM(SMALL), 'untrained', 'It has learned nothing.')
    return write_page(tmp_path_factory.mktemp('page') / 'solve.html', [entries[0], untrained, entries[1]])


@pytest.fixture(params=[1280, 390])
def shown(request: pytest.FixtureRequest, browser: Browser, file: Path) -> Iterator[Page]:
    "The page, at two widths, without a network; in the end nothing was asked for and nothing went wrong."
    context = browser.new_context(viewport=dict(width=request.param, height=900), offline=True)
    shown, asked, wrong = context.new_page(), [], []
    shown.on('request', lambda r: asked.append(r.url))
    shown.on('console', lambda m: wrong.append(m.text) if m.type in ('error', 'warning') else None)
    shown.on('pageerror', lambda e: wrong.append(str(e)))
    shown.goto(file.as_uri())
    yield shown
    assert (asked, wrong) == ([file.as_uri()], [])
    assert shown.evaluate('document.documentElement.scrollWidth <= innerWidth')
    context.close()


def press(shown: Page, name: str) -> None:
    shown.get_by_role('button', name=name, exact=True).click()


def verdict(shown: Page) -> str:
    "What is said about the answer once the model has stopped."
    shown.get_by_role('button', name='Think', exact=True).wait_for()
    return shown.locator('[data-is=verdict]').inner_text()


@needs_chromium
def test_a_sudoku_is_typed_and_solved(shown):
    text, box = SHELF['sudoku-6x6']['random'][0], (2, 3)
    press(shown, 'Clear')
    assert 'many solutions' in shown.locator('[data-is=word]').inner_text()
    shown.get_by_role('gridcell').first.click()
    for i, digit in enumerate(text):  # by keys alone, then by the buttons that a phone needs
        if i % 6 == 0 and i:
            shown.keyboard.press('Home')
            shown.keyboard.press('ArrowDown')
        if digit != '.' and i < 18:
            shown.keyboard.press(digit)
        elif digit != '.':
            press(shown, digit)
            shown.get_by_role('gridcell').nth(i).click()
        shown.keyboard.press('ArrowRight')
    assert shown.locator('[data-is=word]').inner_text() == 'This puzzle has exactly one solution.'
    shown.get_by_role('button', name='Think', exact=True).focus()
    shown.keyboard.press('Enter')
    assert verdict(shown) == 'Solved: the rules are kept.'
    tokens = np.array(shown.locator('[data-is=answer]').get_attribute('data-tokens').split(), int)
    assert (tokens - 1 == check_clues(sudoku.parse_grid(text, box), box)[1]).all()


@needs_chromium
def test_a_maze_is_drawn_and_solved(shown):
    press(shown, '8×8 maze')
    press(shown, 'Clear')
    text, cells = SHELF['maze-8x8']['examples'][1][1], shown.get_by_role('gridcell')
    walls = [i for i, c in enumerate(text) if c == '#']
    for i in walls:  # each run of walls is a drag, as the mouse goes from left to right
        cells.nth(i).hover()
        if i - 1 not in walls or i % 8 == 0:
            shown.mouse.down()
        if i + 1 not in walls or i % 8 == 7:
            shown.mouse.up()
    press(shown, 'Start')
    start, goal = text.index('S'), text.index('G')
    cells.nth(start).click()
    for arrow, times in (('ArrowDown', goal // 8 - start // 8), ('ArrowRight', goal % 8 - start % 8)):
        for _ in range(abs(times)):
            shown.keyboard.press(arrow if times > 0 else dict(ArrowDown='ArrowUp', ArrowRight='ArrowLeft')[arrow])
    shown.keyboard.press('g')
    labels = [cells.nth(i).get_attribute('aria-label').split(': ')[1] for i in range(64)]
    assert labels == [{'#': 'wall', '.': 'free', 'S': 'start', 'G': 'goal'}[c] for c in text]
    press(shown, 'Think')
    assert verdict(shown) == 'Solved: a shortest path.'


@needs_chromium
def test_an_impossible_puzzle_may_be_thought_about_and_everything_can_be_pressed(shown):
    shown.locator('[data-is=examples]').select_option(label='impossible: two 1s in a row')
    assert 'Impossible: there are two 1s in row 2. You may' in shown.locator('[data-is=word]').inner_text()
    when = shown.locator('[data-is=when]')
    for k in (1, 2):
        press(shown, 'One step')
        shown.wait_for_function(f'document.querySelector("[data-is=when]").textContent.startsWith("Step {k}.")')
    shown.locator('[data-is=back]').fill('1')
    assert when.inner_text().startswith('Step 1.')
    shown.locator('[data-is=chains]').select_option('4')
    shown.locator('[data-is=by]').select_option('cells')
    shown.locator('[data-is=limit]').fill('3')
    press(shown, 'Think')
    assert verdict(shown) == 'Wrong: 1 given digit changed.'
    assert shown.locator('.t-chain').count() == 4
    press(shown, 'Restart from noise')
    verdict(shown)
    assert ', from noise' in when.inner_text()
    press(shown, 'Random puzzle')
    shown.locator('[data-is=models]').select_option(label='untrained')
    press(shown, 'Think')
    assert verdict(shown).startswith(('Wrong', 'Not solved'))
    assert 'learned nothing' in shown.locator('[data-is=about]').inner_text()


# The contrast of each text with what lies behind it, as WCAG 2 defines it: at least 4.5, or 3 if the text is large.
PALE = """() => {
    const brush = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d');
    const paint = colour => { brush.fillStyle = colour; brush.fillRect(0, 0, 1, 1); };
    const light = () => [...brush.getImageData(0, 0, 1, 1).data].slice(0, 3)
        .map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const pale = [];
    for (const e of document.querySelectorAll('main *')) {
        const text = [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.textContent.trim()).join('');
        if (!text || !e.checkVisibility() || e.disabled || e.closest('option')) continue;
        const style = getComputedStyle(e), behind = [];
        for (let up = e; up; up = up.parentElement) behind.unshift(getComputedStyle(up).backgroundColor);
        behind.forEach(paint);
        const ground = light();
        paint(e.closest('svg') ? style.fill : style.color);
        const [dark, bright] = [ground, light()].sort((a, b) => a - b), ratio = (bright + 0.05) / (dark + 0.05);
        const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && style.fontWeight >= 600;
        if (ratio < (large ? 3 : 4.5)) pale.push(`${e.className.baseVal ?? e.className} ${text}: ${ratio.toFixed(2)}`);
    }
    return pale;
}"""


@needs_chromium
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_text_stands_out_from_what_is_behind_it(scheme, browser, file):
    shown = browser.new_page(viewport=dict(width=1280, height=900), color_scheme=scheme)
    shown.goto(file.as_uri())
    assert shown.evaluate(PALE) == []
    trained = 'MLP over positions, 2 layers, n=6, T=3 (trained on sudoku-6x6-minimal)'
    for model in (trained, 'untrained'):  # a changed digit, wrong digits
        shown.locator('[data-is=models]').select_option(label=model)
        shown.locator('[data-is=examples]').select_option(index=2 if model != 'untrained' else 0)
        press(shown, 'One step')
        shown.wait_for_function('document.querySelector("[data-is=when]").textContent.startsWith("Step 1.")')
        assert shown.locator('.t-changed, .t-wrong').count()
        assert shown.evaluate(PALE) == []
    press(shown, '8×8 maze')
    press(shown, 'One step')
    shown.wait_for_function('document.querySelector("[data-is=when]").textContent.startsWith("Step 1.")')
    assert shown.evaluate(PALE) == []
    shown.close()
