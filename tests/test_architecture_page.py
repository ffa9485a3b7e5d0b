"""Every file and folder that docs/architecture.md names exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
NAMED = re.compile(r"(?<![\w/.])(?:\w+/)+(?:\w+\.py)?|(?<![\w/.])\w+\.py")


def test_every_path_on_the_page_exists():
    named = [(room, path) for room, text in _texts() for path in NAMED.findall(text)]
    missing = [path for room, path in named if not any((top / path).exists() for top in _places(room))]
    assert len(named) > 40
    assert not missing, f"docs/architecture.md names what is not there: {missing}"


def _texts():
    """Each line with the room that it is about: on the map, the last one that began a line."""
    room = ""
    for line in PAGE.splitlines():
        room = (re.match(r"(\w+)/ ", line) or [None, room if line.startswith(" ") else ""])[1]
        yield room, line


def _places(room):
    return (ROOT, ROOT / "src" / "batchscope", ROOT / "src" / "batchscope" / room)
