"""Open a page that shows the pose of a dropped image or video.

Needs pip install 'skelift[demo]'.
"""

from argparse import ArgumentParser
from pathlib import Path

from skelift.commands.options import add_model
from skelift.numbers import port as tcp_port


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options that ``run`` takes."""
    add_model(parser)
    parser.add_argument("--host", default="127.0.0.1", help="(default: 127.0.0.1, loopback)")
    parser.add_argument("--port", type=tcp_port, default=7860, help="(default: 7860)")


def run(model: Path | None, endpoint: str | None, host: str, port: int) -> str:
    """Serve the page until Ctrl-C.

    Raises:
        InputError: the model or Gradio is not found.
        RunError: the port is taken.
    """
    from skelift.demo.page import build_page, import_gradio, serve
    from skelift.inference.engines import choose_engine

    import_gradio()
    engine, about = choose_engine(model, endpoint)
    serve(build_page(engine, about), host, port)
    return "the page is closed"
