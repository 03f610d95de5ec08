"""The `archiver` command, and `python -m archiver`."""

import sys

from archiver.worker.signals import exit_on_signal, stop_signals


def main() -> None:
    """Run the command. Signal handlers are installed first, because the imports take about a second."""
    if sys.argv[1:2] in ([], ["run"]):
        stop_signals.listen()
    else:
        exit_on_signal()
    from archiver.cli import main as command  # noqa: PLC0415 - after the signal handlers

    command()


if __name__ == "__main__":
    main()
