"Links from the numbers of a page of results to the records that they come from."

import os
import re
import shutil
from functools import cache
from itertools import count
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from nbformat import NotebookNode
from settings import RESULTS

from trm_nbdev.baselines import COLUMNS, ROWS, benchmark_of
from trm_nbdev.engine.plan import PROFILES
from trm_nbdev.engine.runs import every_seed
from trm_nbdev.engine.tables import CLAIMS

Records = dict[str, dict[str, list[dict]]]  # table -> row -> records, one per seed
NO_NUMBER = 'not run', 'quoted', ''


@cache
def records_of(profile: str) -> Records:
    "The records from which a profile's page of results was made, as that notebook reads them."
    out = RESULTS / profile
    return {table: every_seed(rows, profile, 'built-in', out, benchmark_of(table)) for table, rows in ROWS.items()}


def copy_records(folder: Path):
    "Put the records of all profiles into the site."
    for path in sorted(RESULTS.glob('*/runs/*.json')):
        target = folder / 'records' / path.parent.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def with_records(nb: NotebookNode, source: Path, place: str) -> NotebookNode:
    "A notebook of results whose tables link to records."
    profile, *_ = source.relative_to(RESULTS).parts
    if profile not in PROFILES:  # made from the real files, without which its rows cannot be told apart
        return nb
    base, names = os.path.relpath(f'records/{profile}', Path(place).parent), count()
    for output in (output for cell in nb.cells for output in cell.get('outputs', [])):
        html = output.get('data', {}).get('text/html', '')
        if '<caption>' in html:
            output.data['text/html'] = link_table(html, records_of(profile), base, names)
    return nb


def link_table(html: str, records: Records, base: str, names: count) -> str:
    "A table with a link, or a button that opens several, in each cell that was computed from records."
    soup = BeautifulSoup(html, 'html.parser')
    caption, head, *lines = soup.select('caption, thead, tbody tr')
    columns = columns_of(head)
    for line in lines:
        cells = line.find_all(['th', 'td'])
        entries = dict(zip(columns, (cell.get_text() for cell in cells), strict=True))
        for side in dict.fromkeys(side for side, _ in columns):
            if found := found_records(caption.get_text(), side, list(entries.values()), records):
                name = f'records-{next(names)}'
                ours = [c for c, (s, column) in zip(cells, columns, strict=True) if s == side and from_records(column)]
                ours = [c for c in ours if c.get_text() not in NO_NUMBER]
                add_links(soup, ours, found, base, name)
    return str(soup)


def columns_of(head: Tag) -> list[tuple[str, str]]:
    "Side and name of each column: a head has one line or, with sides, two."
    *above, below = [
        [(c.get_text(), int(str(c.get('colspan') or 1))) for c in line.find_all('th')] for line in head.find_all('tr')
    ]
    sides = [text for line in above for text, span in line for _ in range(span)] or [''] * len(below)
    return [(side.strip(), text) for side, (text, _) in zip(sides, below, strict=True)]


def from_records(column: str) -> bool:
    "Whether we measured what is in a column: the rest is the paper's, computed from a configuration, or a name."
    names = 'method', 'k, T', 'table', 'claim', 'row', 'profile', 'data'
    return not (column.startswith('paper') or column.endswith('computed') or column in names)


def found_records(caption: str, side: str, entries: list[str], records: Records) -> list[dict]:
    "The records behind a line of a table, or behind one side of it."
    first, second, *_ = entries
    if caption.startswith('Claims'):
        claim = next(c for c in CLAIMS[first] if c.statement == second)
        pair = [records[first].get(row, []) for row in (claim.better, claim.worse)]
        return [record for of_row in pair for record in of_row] if all(pair) else []
    if caption.startswith('Costs'):
        return records[first].get(second, [])
    table = COLUMNS.get(side) or re.split(r'[:,]', caption)[0]
    row = f'{side.split()[0]}, {first}' if table == 'Table 3' and side else first
    return records.get(table, {}).get(row, [])


def add_links(soup: BeautifulSoup, cells: list[Tag], records: list[dict], base: str, name: str):
    "Put a link into each cell; for several records a button, and the list that it opens."
    links = {record['id']: f'{base}/{record["id"]}.json' for record in records}
    for cell in cells:
        if len(links) == 1:
            cell.append(new_tag(soup, 'a', 'record', href=next(iter(links.values())), **{'class': 'record'}))
        else:
            cell.append(new_tag(soup, 'button', f'{len(links)} records', popovertarget=name, **{'class': 'record'}))
    if cells and len(links) > 1:
        box = new_tag(soup, 'div', '', id=name, popover='', **{'class': 'records'})
        box.extend(new_tag(soup, 'a', record, href=link) for record, link in links.items())
        soup.append(box)


def new_tag(soup: BeautifulSoup, tag: str, text: str, **attributes: str) -> Tag:
    new = soup.new_tag(tag, attrs=attributes)
    new.string = text
    return new
