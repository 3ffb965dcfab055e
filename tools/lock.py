"""Write requirements.lock and DEPENDENCIES.md (what `make lock` runs).

The lock holds what settings.ini asks for and all that this needs, in the versions installed, with the digests of the
files. The table gives the licence of each package.
"""

import json
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

root = Path(__file__).resolve().parent.parent
lock_header = """\
# Exact versions of all that settings.ini asks for and of what this needs in turn, written by `make lock`
# from the packages installed in .venv (Linux, Python 3.11, torch for CPUs). With each version stands the SHA-256
# of every file that the package index has of it, for all platforms; pip refuses a file that is none of these.
#
# Not covered: pip itself, which comes with Python; what a package needs only elsewhere, such as appnope on macOS,
# pywinpty on Windows and NVIDIA's libraries for torch on GPUs, which pip adds afterwards; and what pip fetches
# to build a package of which the index has no wheel for your platform.
# To move to newer versions, install them first (.venv/bin/pip install --upgrade NAME), then `make lock`.
"""
table_header = """\
# Dependencies and their licences

Written by `make lock` from `requirements.lock` and from what each package says of itself. None of them is contained in
trm_nbdev: pip fetches each from its authors, under its own licence. Those marked *package* come with `pip install .`;
those marked *book* serve only for reading, editing and testing the notebooks.

Some wheels bring compiled libraries with licences of their own, which are listed in the wheel: those of numpy, scipy
and torch for Linux the run-time libraries of GCC (GPL with an exception for programs that use them; libquadmath LGPL),
that of pulp the solver CBC (EPL), that of playwright Node.js (MIT). Of docutils, only files that do not serve here,
such as a mode for Emacs, are under the GPL.

| package | version | licence | for |
| --- | --- | --- | --- |
"""
build = ['setuptools', 'wheel']  # what pip needs to install the project itself when it is not to download anything


def asked(*keys: str) -> list[str]:
    "The requirements that stand in settings.ini under `keys`."
    cfg = ConfigParser(delimiters=['='])
    cfg.read(root / 'settings.ini', encoding='utf-8')
    return [requirement for key in keys for requirement in cfg['DEFAULT'][key].split()]


def closure(requirements: list[str]) -> dict[str, str]:
    "Name and installed version of each package in `requirements`, of those that it requires here, and so on."
    versions: dict[str, str] = {}
    visited = set()
    todo = [(Requirement(r), '') for r in requirements]
    while todo:
        req, wanted_by = todo.pop()  # the requirement, and the extra of its parent that it may belong to
        if req.marker and not req.marker.evaluate({'extra': wanted_by}):
            continue
        name, dist = canonicalize_name(req.name), distribution(req.name)
        versions[name] = dist.version.split('+')[0]  # 2.13.0+cpu is a build of 2.13.0
        for extra in {'', *req.extras}:
            if (name, extra) in visited:
                continue
            visited.add((name, extra))
            todo += [(Requirement(r), extra) for r in dist.requires or []]
    return dict(sorted(versions.items()))


def all_versions() -> dict[str, str]:
    "Name and version of each package that belongs into the lock."
    return closure(asked('requirements', 'dev_requirements') + build)


def output(*command: str, stdin: str = '') -> str:
    "What a Python module prints that is run as a command."
    return subprocess.run(
        [sys.executable, '-m', *command], input=stdin, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def hashed(versions: dict[str, str]) -> str:
    "The lines of the lock: each package with its version and the digest of each of its files."
    pins = [f'{name}=={version}' for name, version in versions.items()]
    options = '--quiet', '--no-deps', '--generate-hashes', '--no-header', '--no-annotate'
    text = output('uv', 'pip', 'compile', *options, '-', stdin='\n'.join(pins))
    for name, pin in zip(versions, pins, strict=True):
        if '+' in distribution(name).version:  # a build that comes from elsewhere; pip is set up to know where
            options = '--dry-run', '--ignore-installed', '--no-deps', '--quiet', '--report', '-'
            (item,) = json.loads(output('pip', 'install', *options, pin))['install']
            digest = item['download_info']['archive_info']['hashes']['sha256']
            text = text.replace(f'{pin} \\\n', f'{pin} \\\n    --hash=sha256:{digest} \\\n')
    return text


def licence(dist: Distribution) -> str:
    "What a package says of its licence: in an expression, in classifiers, in a word or in the first line of the text."
    classifiers = [c.split(' :: ')[-1] for c in dist.metadata.get_all('Classifier', []) if c.startswith('License ::')]
    said = dist.metadata.get('License-Expression') or '; '.join(classifiers) or dist.metadata.get('License')
    if not said:
        texts = [f for f in dist.files or [] if '.dist-info' in f.parts[0] and 'LICEN' in f.name]
        said = texts[0].read_text(encoding='utf-8') if texts else ''
    return said.strip().split('\n')[0]


def table(versions: dict[str, str]) -> str:
    "The rows of the table of licences."
    package = closure(asked('requirements'))
    rows = [(n, v, licence(distribution(n)), 'package' if n in package else 'book') for n, v in versions.items()]
    return ''.join(f'| {" | ".join(row)} |\n' for row in rows)


def main():
    versions = all_versions()
    (root / 'requirements.lock').write_text(lock_header + hashed(versions), encoding='utf-8')
    (root / 'DEPENDENCIES.md').write_text(table_header + table(versions), encoding='utf-8')


if __name__ == '__main__':
    main()
