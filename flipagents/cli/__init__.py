"""The command line."""

from flipagents.cli.parser import main

__all__ = ["main"]
