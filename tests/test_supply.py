"The packages in requirements.lock: every file has a digest, every package a licence, none a known advisory."

import json
import os
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name, canonicalize_version
from packaging.version import Version
from test_packaging import REFERENCE, lock

FREE = (
    r'(3-Clause )?BSD( License|-[23]-Clause)?|0BSD|MIT( License|-0|-CMU)?|Zlib|CC0-1\.0|BSL-1\.0|Public Domain'
    r'|Apache([- ]2\.0| Software License| License, Version 2\.0)( WITH LLVM-exception)?|ISC( License \(ISCL\))?'
    r'|PSF-2\.0|Python Software Foundation License'
)
PER_FILE = r'MPL-2\.0|Mozilla Public License 2\.0 \(MPL 2\.0\)'  # copyleft for the package's own files alone
GPL = {'docutils'}  # only for files that do not serve here, such as a mode for Emacs


def advisories(path: Path) -> Iterator[dict]:
    "The records in OSV format in a JSON file, or in those of a folder."
    for file in sorted(path.rglob('*.json')) if path.is_dir() else [path]:
        found = json.loads(file.read_text(encoding='utf-8'))
        yield from found if isinstance(found, list) else [found]


def within(version: Version, events: list[dict[str, str]]) -> bool:
    "Whether the events of an OSV range, put in order, leave `version` affected."

    def at(event: dict[str, str]) -> Version:
        return Version(next(iter(event.values())))

    affected = False
    for event in sorted(events, key=at):
        if 'introduced' in event:
            affected |= event['introduced'] == '0' or version >= at(event)
        elif 'fixed' in event:
            affected &= version < at(event)
        elif 'last_affected' in event:
            affected &= version <= at(event)
    return affected


def affected(locked: dict[str, str], records: Iterator[dict]) -> list[str]:
    "The packages of the lock for which a record that was not withdrawn names their version."
    found = []
    for record in records:
        for item in record.get('affected', []) if 'withdrawn' not in record else []:
            package = item.get('package', {})
            version = locked.get(canonicalize_name(package.get('name', '')))
            if package.get('ecosystem', '').split(':')[0] != 'PyPI' or not version:
                continue
            ranges = [r['events'] for r in item.get('ranges', []) if r['type'] == 'ECOSYSTEM']
            listed = canonicalize_version(version) in map(canonicalize_version, item.get('versions', []))
            if listed or any(within(Version(version), events) for events in ranges):
                found.append(f'{package["name"]} {version}: {record["id"]}')
    return found


def record(events=(), versions=(), ecosystem='PyPI', **more) -> dict:
    package = {'ecosystem': ecosystem, 'name': 'Some_Package'}
    ranges = [{'type': 'ECOSYSTEM', 'events': list(events)}]
    return {'id': 'X-1', 'affected': [{'package': package, 'ranges': ranges, 'versions': list(versions)}], **more}


START = {'introduced': '0'}


@pytest.mark.parametrize(
    'found, advisory',
    [
        (True, record([START])),
        (True, record([START, {'fixed': '2.10'}])),
        (False, record([START, {'fixed': '2.9'}])),
        (True, record([START, {'last_affected': '2.9.0'}])),
        (False, record([START, {'last_affected': '2.8'}])),
        (True, record([{'fixed': '2.1'}, {'introduced': '2.5'}, START])),
        (False, record([{'introduced': '2.10'}])),
        (True, record(versions=['2.8', '2.9.0'])),
        (False, record(versions=['2.8', '2.9.1'])),
        (False, record([START], ecosystem='npm')),
        (False, record([START], withdrawn='2026-01-01T00:00:00Z')),
    ],
)
def test_advisory_is_found_where_it_affects_the_version(found, advisory, tmp_path):
    (tmp_path / 'one.json').write_text(json.dumps(advisory), encoding='utf-8')
    (tmp_path / 'all.json').write_text(json.dumps([advisory]), encoding='utf-8')
    for path, times in (tmp_path, 2), (tmp_path / 'one.json', 1):
        assert affected({'some-package': '2.9'}, advisories(path)) == ['Some_Package 2.9: X-1'] * found * times


@pytest.mark.skipif('TRM_ADVISORIES' not in os.environ, reason='TRM_ADVISORIES names no file or folder in OSV format')
def test_nothing_in_the_lock_has_a_known_advisory(root):
    assert affected(lock(root), advisories(Path(os.environ['TRM_ADVISORIES']))) == []


def test_every_package_in_the_lock_has_digests(root):
    text = re.sub(r'^#.*\n', '', (root / 'requirements.lock').read_text(encoding='utf-8'), flags=re.MULTILINE)
    for entry in text.replace('\\\n', '').splitlines():
        assert re.fullmatch(r'[a-z0-9-]+==[^ ]+( +--hash=sha256:[0-9a-f]{64})+', entry), entry[:60]


def test_table_of_licences_has_the_packages_of_the_lock(root):
    assert {n: v for n, v, _, _ in rows(root)} == lock(root)


@pytest.mark.skipif(not REFERENCE, reason='elsewhere packages may need others')
def test_table_of_licences_says_what_the_packages_say(root):
    tool = runpy.run_path(str(root / 'tools' / 'lock.py'))
    written = (root / 'DEPENDENCIES.md').read_text(encoding='utf-8')
    assert written == tool['table_header'] + tool['table'](tool['all_versions']()), 'run `make lock`'


def test_no_licence_stands_in_the_way_of_ours(root):
    for name, _, licence, _ in rows(root):
        kinds = [kind for kind in re.split(' AND | OR |; ', licence) if not (name in GPL and 'GPL' in kind)]
        assert all(re.fullmatch(f'{FREE}|{PER_FILE}', kind) for kind in kinds), f'{name}: {licence!r}'


def rows(root: Path) -> list[list[str]]:
    "Name, version, licence and use of each package in DEPENDENCIES.md."
    lines = (root / 'DEPENDENCIES.md').read_text(encoding='utf-8').splitlines()
    return [line.strip('| ').split(' | ') for line in lines if line.startswith('| ')][2:]
