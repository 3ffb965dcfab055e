"The interface in a notebook: what the kernel answers, what is shown without a browser, and both together."

from base64 import b64decode, b64encode
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CHROMIUM, needs_chromium
from playwright.sync_api import sync_playwright

from trm_nbdev.baselines import VARIANTS
from trm_nbdev.engine.thinker import Thinker, watched_step
from trm_nbdev.engine.weights import load_model
from trm_nbdev.model import TRM, TRMConfig
from trm_nbdev.puzzles.arc_maker import made_splits
from trm_nbdev.tokens import PuzzleSet

SMALL = TRMConfig(vocab_size=8, seq_len=36, hidden_size=16, heads=2, multiple=16, n=2, T=2, n_sup=3)
PNG = b'\x89PNG\r\n\x1a\n'


@pytest.fixture(scope='module')
def tasks() -> PuzzleSet:
    "The tests of three generated ARC tasks."
    return made_splits(1, 6, n_train=3, n_valid=1, n_test=2, n_augmentations=0).test


def arc_model(tasks: PuzzleSet) -> TRM:
    torch.manual_seed(0)
    rules = int(tasks.identifiers.max()) + 1
    model = TRM(replace(SMALL, vocab_size=12, num_puzzle_identifiers=rules, puzzle_emb_ndim=16, puzzle_emb_len=1))
    torch.nn.init.normal_(model.embed.puzzles.weight)
    return model


def ask(thinker: Thinker, **message: Any) -> tuple[dict[str, Any], list[bytes]]:
    "What the kernel replies to the browser."
    replies: list = []
    thinker.send = lambda content, buffers=None: replies.append((content, buffers))
    thinker._answer(thinker, message, [])
    (reply,) = replies
    return reply


@pytest.mark.parametrize('name', VARIANTS)
def test_a_watched_step_is_a_step(name):
    torch.manual_seed(0)
    model = TRM(replace(SMALL, **VARIANTS[name]))
    tokens, none = torch.randint(1, 8, (1, 36)), torch.zeros(1, dtype=torch.long)
    state, logits, q, moved = watched_step(model, tokens, model.initial(1), none)
    with torch.no_grad():
        same, expected, halting = model(tokens, model.initial(1), none)
    assert torch.equal(logits[0], expected[0].float()) and q == halting[0, 0]
    assert all(map(torch.equal, state, same)) and len(logits) == min(2, len(state))
    assert len(moved) == (model.config.T * model.config.n if model.config.features == 'y,z' else 0)


def test_the_kernel_knows_the_task_of_an_example(tasks):
    model = arc_model(tasks)
    thinker, questions = Thinker(model, tasks), tasks.inputs.tolist()
    found = []
    for example in (0, len(tasks) - 1):  # the same grid, asked under the rule of another task
        ask(thinker, id='a', begin=[questions[0]], noise=0, example=example)
        (result,) = ask(thinker, id='b', task='a', step=[0])[0]['results']
        state = model.initial(1)
        grid, which = torch.tensor(questions[:1]), torch.from_numpy(tasks.identifiers[[example]])
        assert result['q'] == watched_step(model, grid, state, which)[2]
        found.append(ask(thinker, id='c', task='a', step=[0])[1][0])
    assert tasks.identifiers[0] != tasks.identifiers[-1] and found[0] != found[1]


def test_noise_has_numbers():
    thinker, question = Thinker(load_model('sudoku-6x6')), [[1] * 36] * 2

    def thought(noise: int) -> list[bytes]:
        ask(thinker, id='a', begin=question, noise=noise, example=0)
        return ask(thinker, id='b', task='a', step=[0, 1])[1]

    usual, one, again, other = map(thought, (0, 1, 1, 2))
    assert usual[0] == usual[2] and one == again and len({usual[0], one[0], one[2], other[0]}) == 4


def test_an_error_is_told_to_the_browser_that_waits():
    thinker = Thinker(TRM(SMALL))
    assert 'another view' in ask(thinker, id='a', task='x', step=[0])[0]['error']
    ask(thinker, id='b', begin=[[1] * 35], noise=0, example=0)
    reply, _ = ask(thinker, id='c', task='b', step=[0])
    assert reply['id'] == 'c' and reply['error'] == 'ValueError: tokens have shape (1, 35), expected (batch, 36)'


def test_puzzles_that_do_not_fit_are_refused(tasks):
    with pytest.raises(ValueError, match='no examples for arc-6x6'):
        Thinker(arc_model(tasks))
    with pytest.raises(ValueError, match='at least one, of 36 cells'):
        Thinker(arc_model(tasks), tasks.subset(slice(0, 0)))


@pytest.mark.parametrize('kind', ['sudoku', 'maze', 'arc'])
def test_without_a_browser_there_is_a_picture(kind, tasks, monkeypatch):
    for name in ('JPY_SESSION_NAME', 'VSCODE_PID', 'TRM_NOTEBOOK'):
        monkeypatch.delenv(name, raising=False)
    if kind == 'arc':
        thinker = Thinker(arc_model(tasks), tasks)
    else:
        thinker = Thinker(TRM(SMALL if kind == 'sudoku' else replace(SMALL, vocab_size=6, seq_len=64)))
    shown = thinker._repr_mimebundle_()
    assert shown.keys() == {'image/png', 'text/plain'} and b64decode(shown['image/png']).startswith(PNG)
    monkeypatch.setenv('JPY_SESSION_NAME', 'a.ipynb')
    shown, _ = thinker._repr_mimebundle_()
    assert {'image/png', 'application/vnd.jupyter.widget-view+json'} <= shown.keys()
    monkeypatch.setenv('TRM_NOTEBOOK', 'a.ipynb')  # trm-rerun in a cell of JupyterLab
    assert thinker._repr_mimebundle_().keys() == {'image/png', 'text/plain'}


# Stands for JupyterLab: what the widget sends goes to `kernel`, a Python function, and its reply to the widget.
HOST = """async ([source, html, manifest]) => {
    const place = document.createElement('div'), listeners = [];
    document.body.append(place);
    const model = {
        get: name => ({html, manifest})[name],
        on: (event, listener) => listeners.push(listener),
        send: async message => {
            const [reply, buffers] = await kernel(message);
            const bytes = buffers.map(b => Uint8Array.from('?' + atob(b), c => c.charCodeAt(0)));
            const views = bytes.map(b => new DataView(b.buffer, 1)); // not aligned, as in JupyterLab
            for (const listener of listeners) listener(reply, views);
        },
    };
    const widget = await import(URL.createObjectURL(new Blob([source], {type: 'text/javascript'})));
    widget.default.render({model, el: place});
}"""


@needs_chromium
@pytest.mark.parametrize('system', ['light', 'dark'])
def test_the_colours_are_those_of_jupyterlab_or_else_of_the_system(system):
    thinker, grounds = Thinker(load_model('sudoku-6x6')), dict(light='rgb(255, 255, 255)', dark='rgb(20, 24, 29)')
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        shown = browser.new_page(color_scheme=system)
        shown.set_content('<body></body>')
        shown.add_style_tag(content=thinker._css)
        shown.evaluate(HOST, [thinker._esm, thinker.html, thinker.manifest])
        ground = "getComputedStyle(document.querySelector('.thinker')).backgroundColor"
        assert shown.evaluate(ground) == grounds[system]
        for light, theme in (('false', 'dark'), ('true', 'light')):
            shown.evaluate(f"document.body.dataset.jpThemeLight = '{light}'")  # as JupyterLab says it
            assert shown.evaluate(ground) == grounds[theme]


@needs_chromium
def test_in_a_browser_pytorch_thinks(tasks):
    model = arc_model(tasks)
    thinker, wrong = Thinker(model, tasks), []

    def kernel(message: dict[str, Any]) -> list:
        reply, buffers = ask(thinker, **message)
        return [reply, [b64encode(b).decode() for b in buffers or []]]

    with sync_playwright() as p:
        shown = p.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox']).new_page()
        shown.on('console', lambda m: wrong.append(m.text) if m.type in ('error', 'warning') else None)
        shown.on('pageerror', lambda e: wrong.append(str(e)))
        shown.expose_function('kernel', kernel)
        shown.evaluate(HOST, [thinker._esm, thinker.html, thinker.manifest])
        shown.locator('[data-is=examples]').select_option(label='puzzle 2')
        shown.get_by_role('button', name='One step').click()
        shown.wait_for_function('document.querySelector("[data-is=when]").textContent.startsWith("Step 1.")')
        tokens = np.array(shown.locator('[data-is=answer]').get_attribute('data-tokens').split(), int)
        grid, which = torch.from_numpy(tasks.inputs[[1]]).long(), torch.from_numpy(tasks.identifiers[[1]])
        expected = watched_step(model, grid, model.initial(1), which)[1][0].argmax(-1).numpy()
        assert (tokens == expected).all()
        apart = int(((tasks.labels[1] > 0) & (tasks.labels[1] != expected)).sum())
        assert f'Not solved: {apart} cells are wrong.' == shown.locator('[data-is=verdict]').inner_text()
        thinker._task = None
        shown.get_by_role('button', name='One step').click()
        shown.wait_for_function('document.querySelector("[data-is=verdict]").textContent.includes("another view")')
    assert wrong == []
