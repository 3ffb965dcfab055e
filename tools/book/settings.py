"Where the book's sources lie, and what settings.ini says of the place where it is published."

import sys
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))  # the book's own package, whichever is installed
NBS = ROOT / 'nbs'
RESULTS = ROOT / 'results'
_ini = ConfigParser(delimiters=['='])
_ini.read(ROOT / 'settings.ini', encoding='utf-8')
SETTINGS = _ini['DEFAULT']


def on_code_host(path: Path) -> str:
    "The address of a file of the checkout at the code host; '' where settings.ini names none."
    host = SETTINGS['git_url'].rstrip('/')
    return f'{host}/blob/{SETTINGS["branch"]}/{path.relative_to(ROOT).as_posix()}' if host else ''
