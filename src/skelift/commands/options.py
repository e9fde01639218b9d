"""Options that several commands have."""

from argparse import ArgumentParser
from pathlib import Path

from skelift.numbers import port
from skelift.weights import model_folder


def add_model(parser: ArgumentParser) -> None:
    """Who predicts: a model in this process, or an endpoint."""
    who = parser.add_mutually_exclusive_group()
    who.add_argument(
        "--model",
        type=model_folder,
        metavar="DIR",
        help="a trained model, or one that ships with skelift by its name: person (the default) or "
        "mouse",
    )
    who.add_argument(
        "--endpoint",
        metavar="URL",
        help="ask the server there instead, e.g. http://127.0.0.1:8080 of `skelift serve`",
    )


def add_server(parser: ArgumentParser) -> None:
    """Which server of this machine."""
    parser.add_argument(
        "--port",
        type=port,
        default=8080,
        help="of predictions; the server takes the next four as well (default: 8080)",
    )
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="the server's folder (default: by its port)"
    )
