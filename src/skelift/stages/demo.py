"""Stage: the page in a browser."""

from pathlib import Path

from skelift.demo.page import build_page, import_gradio, serve
from skelift.inference.engines import choose_engine


def run(model: Path | None, endpoint: str | None, host: str, port: int) -> str:
    """Serve the page until Ctrl-C.

    Args:
        model: folder of a trained model; None takes the quickstart's.
        endpoint: address of a server to ask instead.
        host: address to listen on.
        port: port to listen on.

    Raises:
        InputError: the model or Gradio is not there.
        RunError: the port is taken.
    """
    import_gradio()
    engine, about = choose_engine(model, endpoint)
    serve(build_page(engine, about), host, port)
    return "the page is closed"
