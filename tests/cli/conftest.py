"""Commands run in this process: a new one would take longer to start than to work."""

import sys

import pytest


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Give a function that runs a command line in an empty folder, and returns its exit code and what it prints."""
    app = pytest.importorskip("itron_core.cli.app", reason="no typer: pip install 'itron-core[cli]'")
    monkeypatch.chdir(tmp_path)

    def called(line):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["itron-core", *line.split()])
        code = app.run()
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return called
