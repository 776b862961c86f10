"""The command line interface."""

from flipagents.cli.parser import main

__all__ = ["main"]
