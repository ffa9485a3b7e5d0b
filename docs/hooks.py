"""What the site adds to the pages of docs/: those at the root of the repository, the commands, links out of docs/."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from batchscope.cli.main import COMMANDS, build_parser

ROOT = Path(__file__).parent.parent
# Page of the site -> file at the root.
AT_ROOT = {"index.md": "README.md"} | {name: name for name in ("REPRODUCTION.md", "CHANGELOG.md", "CONTRIBUTING.md")}
_LINK = re.compile(r"(!?)\[([^\]]+)\]\(([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Pages at the root of the repository are pages of the site, and so is what every command says of itself."""
    for page, name in AT_ROOT.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    files.append(File.generated(config, "commands.md", content=_commands()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to pages become links within the site; links to other files of the repository become their paths."""
    here = page.file.src_uri
    folder = "" if here in AT_ROOT else posixpath.join("docs", posixpath.dirname(here))
    pages = {f"docs/{file.src_uri}": file.src_uri for file in files} | {name: uri for uri, name in AT_ROOT.items()}

    def mended(match: re.Match[str]) -> str:
        image, text, target, anchor = (group or "" for group in match.groups())
        path = posixpath.normpath(posixpath.join(folder, target))
        if "://" in target:
            return match.group(0)
        if path not in pages:
            return f"{text} (`{path}`)"
        back = posixpath.relpath(pages[path], posixpath.dirname(here) or ".")
        return f"{image}[{text}]({back}{anchor})"

    return _LINK.sub(mended, markdown)


def _commands() -> str:
    """The help of every command, as a page."""
    parts = ["# Command line\n\nWhat `batchscope COMMAND --help` prints. Every command takes `--json`."]
    for command, summary in COMMANDS.items():
        actions = build_parser(command)._subparsers._group_actions[0]  # type: ignore[union-attr]
        text = actions.choices[command].format_help()  # type: ignore[index, call-overload]
        parts.append(f"## {command}\n\n{summary[0].upper()}{summary[1:]}.\n\n```text\n{text}```")
    return "\n\n".join(parts)
