"The book as a site: every page is opened in a browser that has no network."

import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup
from conftest import CHROMIUM, ENV, ROOT, needs_chromium
from playwright.sync_api import Page, sync_playwright

WIDTHS = 1280, 390
TOOL = ROOT / 'tools' / 'book'


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Path:
    "The whole site."
    work = tmp_path_factory.mktemp('book')
    command = [sys.executable, TOOL, '--work', work / 'work', '--out', work / 'site']
    done = subprocess.run(command, cwd=ROOT, env=ENV, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return work / 'site'


@pytest.fixture(scope='module')
def pages(site) -> dict[str, str]:
    "Address -> HTML."
    files = sorted(site.rglob('*.html'))
    return {path.relative_to(site).as_posix(): path.read_text(encoding='utf-8') for path in files}


@pytest.fixture(scope='module')
def browser_page() -> Iterator[Page]:
    "A tab of a browser without network."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield browser.new_context(offline=True).new_page()
        browser.close()


FAULTS = """async () => {
    if (window.MathJax) await MathJax.startup.promise
    await document.fonts.ready
    const equations = [...document.querySelectorAll('.math')]
    return [
        ...[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => `no picture: ${i.src}`),
        ...equations.filter(e => !e.querySelector('mjx-container') || e.querySelector('mjx-merror'))
            .map(e => `no equation: ${e.textContent}`),
        ...[...document.fonts].filter(f => f.status == 'error').map(f => `no font: ${f.family}`),
    ]
}"""


@needs_chromium
def test_every_page_opens_without_network_errors_or_sideways_scrolling(site, pages, browser_page):
    faults: list[tuple[str, str]] = []
    name = ''

    def wrong(what: str):
        faults.append((name, what))

    browser_page.on('console', lambda m: wrong(f'console: {m.text}') if m.type == 'error' else None)
    browser_page.on('pageerror', lambda e: wrong(f'error: {e}'))
    browser_page.on('requestfailed', lambda r: wrong(f'failed: {r.url}'))
    browser_page.on('request', lambda r: wrong(f'asks for {r.url}') if re.match('http|ws', r.url) else None)
    for name in pages:
        browser_page.set_viewport_size({'width': WIDTHS[0], 'height': 900})
        browser_page.goto((site / name).as_uri())
        for fault in browser_page.evaluate(FAULTS):
            wrong(fault)
        for width in WIDTHS:
            browser_page.set_viewport_size({'width': width, 'height': 900})
            if (found := browser_page.evaluate('document.documentElement.scrollWidth')) > width:
                wrong(f'{found} pixels wide in a window of {width}')
    assert faults == []


@needs_chromium
def test_search_finds_a_function_and_a_chapter(site, browser_page):
    browser_page.goto((site / 'search.html').as_uri() + '?q=latent_recursion')
    browser_page.wait_for_selector('#search-results li a')
    found = {
        a.get_attribute('href').split('?')[0].split('#')[0]
        for a in browser_page.query_selector_all('#search-results li a')
    }
    assert {'api/recursion.html', '1_idea/03_recursion.html'} <= found


@needs_chromium
@pytest.mark.parametrize('width', WIDTHS)
def test_the_solving_page_is_whole_on_the_front_page_and_as_dark(width, site, browser_page):
    browser_page.set_viewport_size({'width': width, 'height': 900})
    browser_page.goto((site / 'index.html').as_uri())
    hero = next(frame for frame in browser_page.frames if frame.url.endswith('/solve.html'))
    whole = """() => {
        const root = document.documentElement, { height } = document.body.getBoundingClientRect()
        const scrolls = root.scrollWidth > root.clientWidth || root.scrollHeight > root.clientHeight
        return !scrolls && innerHeight - height < 1
    }"""
    hero.wait_for_function(whole)
    low = hero.evaluate('innerHeight')
    hero.locator('[data-is=chains]').select_option('16')
    hero.get_by_role('button', name='One step').click()
    hero.locator('.t-chain').nth(15).wait_for()
    hero.wait_for_function(whole)
    assert hero.evaluate('innerHeight') > low
    hero.get_by_role('button', name='8×8 maze').click()
    hero.locator('.t-chain').first.wait_for(state='hidden')
    hero.wait_for_function(whole)
    for theme, ground in (('dark', 'rgb(20, 24, 29)'), ('light', 'rgb(255, 255, 255)')):
        browser_page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        hero.wait_for_function(f"getComputedStyle(document.body).backgroundColor === '{ground}'")


@needs_chromium
@pytest.mark.parametrize('width', WIDTHS)
def test_the_commands_of_the_front_page_can_be_copied(width, site, browser_page):
    browser_page.set_viewport_size({'width': width, 'height': 900})
    browser_page.goto((site / 'index.html').as_uri())
    block = browser_page.locator('div.highlight', has_text='make results')
    block.hover()
    block.get_by_role('button', name='Copy').click()
    block.locator('button.success').wait_for()
    browser_page.evaluate("document.body.prepend(document.createElement('textarea'))")
    browser_page.locator('body > textarea').focus()
    browser_page.keyboard.press('Control+V')
    pasted = browser_page.locator('body > textarea').input_value()
    assert [line.split('#')[0].strip() for line in pasted.splitlines()] == ['make results', 'make test', 'make book']


@needs_chromium
def test_a_button_opens_the_records_of_a_number(site, browser_page):
    browser_page.goto((site / '3_experiments' / 'results.html').as_uri())
    browser_page.click('button.record >> nth=0')
    assert browser_page.is_visible('.records:popover-open a')


def test_links_lead_somewhere_and_nothing_comes_from_elsewhere(site, pages):
    ids = {name: {html.unescape(i) for i in re.findall(r'\bid="([^"]+)"', text)} for name, text in pages.items()}
    lost = []
    for name, text in pages.items():
        loaded = re.findall(r'<(?:script|img|iframe|source|link)\b[^>]*? (?:src|href)="([^"]*)"', text)
        lost += [(name, url) for url in loaded if re.match(r'(https?:)?//', url)]
        for url in {*loaded, *re.findall(r'<a\b[^>]*? href="([^"]*)"', text)}:
            if re.match(r'[a-z]+:', url):
                continue
            path, _, fragment = unquote(html.unescape(url)).partition('#')
            target = Path(os.path.normpath(site / Path(name).parent / path.split('?')[0])) if path else site / name
            place = os.path.relpath(target, site)
            known = target.is_file() and (not fragment or place not in ids or fragment in ids[place])
            if not known:
                lost.append((name, url))
    assert lost == []


def test_notebooks_show_what_a_reader_wants(pages):
    chapters = {name: text for name, text in pages.items() if re.match(r'\d', name)}
    for name, text in chapters.items():
        assert not re.search(r'#\|\s*(export|hide|default_exp|echo)\b|nbdev\.nbdev_export', text), name
    experiments = [n for n in chapters if n.startswith('3_') and not n.endswith('/index.html')]
    said = re.compile('Executed with the profile|Not executed yet')
    assert experiments and [name for name in experiments if not said.search(pages[name])] == []
    assert 'Show the code' in pages['4_engine_room/14_runs.html']


def test_every_public_name_is_in_the_reference(pages):
    reference = ''.join(text for name, text in pages.items() if name.startswith('api/'))
    for module in sorted((ROOT / 'trm_nbdev').rglob('[!_]*.py')):
        exported = re.search(
            r'^__all__ = \[(.*?)\]', module.read_text(encoding='utf-8'), flags=re.DOTALL | re.MULTILINE
        )
        dotted = module.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')
        assert exported, module
        for name in re.findall(r"'(\w+)'", exported[1]):
            assert f'id="{dotted}.{name}"' in reference


def test_reference_has_docments_and_prose_leads_there(pages):
    entry = BeautifulSoup(pages['api/recursion.html'], 'html.parser').find(id='trm_nbdev.recursion.latent_recursion')
    rows = [
        [cell.get_text().strip() for cell in row.find_all('td')] for row in entry.parent.find('table').find_all('tr')
    ]
    assert ['n', 'int', '6', 'latent updates before the answer is updated'] in rows
    assert 'href="../api/training.html#trm_nbdev.training.TrainConfig"' in pages['1_idea/09_training.html']


@pytest.mark.parametrize('name', ['results/quick/notebooks/results.html', '3_experiments/results.html'])
def test_numbers_of_the_results_lead_to_their_records(site, pages, name):
    page = BeautifulSoup(pages[name], 'html.parser')
    table = next(table for table in page.find_all('table') if table.caption)
    columns = [head.get_text() for head in table.thead.find_all('th')]
    checked = 0
    for cells in (line.find_all('td') for line in table.tbody.find_all('tr')):
        assert not cells[columns.index('paper %')].find(class_='record')
        number, link = (
            cells[columns.index('averaged %')].find(**what) for what in ({'string': True}, {'class_': 'record'})
        )
        if number and number not in ('not run', 'quoted'):
            links = [link] if link.name == 'a' else page.find(id=link['popovertarget']).find_all('a')
            records = [json.loads((site / Path(name).parent / a['href']).read_text(encoding='utf-8')) for a in links]
            mean = sum(record['results']['ema']['exact'] for record in records) / len(records)
            assert number == f'{100 * mean:.1f}'
            checked += 1
    assert checked


def test_what_the_site_is_made_from_is_the_same_every_time(site, tmp_path):
    "Made again by another process, in which sets have another order. (Two whole sites were compared by hand.)"
    code = 'import runpy, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);'
    code += "runpy.run_path(sys.argv[1])['stage'](*map(Path, sys.argv[2:]))"
    again = tmp_path / 'src', tmp_path / 'site'
    done = subprocess.run([sys.executable, '-c', code, TOOL, *again], env=ENV, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for first, second in ((site.parent / 'work' / 'src', again[0]), (site, again[1])):
        made = [path.relative_to(second) for path in second.rglob('*') if path.is_file()]
        assert len(made) > 50
        assert [name for name in made if (first / name).read_bytes() != (second / name).read_bytes()] == []


def test_nothing_names_the_folder_that_it_was_made_in(site):
    for path in site.rglob('*'):
        assert path.is_dir() or str(ROOT).encode() not in path.read_bytes(), path
