"""A group of commands, each imported when it is run: `--help` should not load SQLAlchemy."""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module

import click
from click.shell_completion import CompletionItem


@dataclass(frozen=True, slots=True)
class Entry:
    """A command that is not imported yet: its module here, and its help in one line."""

    module: str
    summary: str


class LazyCommands(MutableMapping[str, click.Command]):
    """Commands by name; getting one imports its module, listing the names does not."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.entries = entries
        self._added: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._added:
            module = import_module(f"webhook.cli.commands.{self.entries[name].module}")
            self._added |= {one.name: one for one in module.COMMANDS}
        return self._added[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._added[name] = command

    def __delitem__(self, name: str) -> None:
        del self._added[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self.entries, **self._added})

    def __len__(self) -> int:
        return len({**self.entries, **self._added})


class LazyGroup(click.Group):
    """Lists its commands without importing them; click would import each for its help."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands and their summaries."""
        with formatter.section("Commands"):
            formatter.write_dl(self._summaries())

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name, or an option."""
        found = [
            CompletionItem(name, help=summary)
            for name, summary in self._summaries()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def _summaries(self) -> list[tuple[str, str]]:
        entries = self.commands.entries if isinstance(self.commands, LazyCommands) else {}
        return [(name, entries[name].summary) for name in sorted(entries)]
