"""The page itself, in Gradio. It needs no network: fonts and scripts are Gradio's own."""

import os
import socket
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from skelift.data.static_camera import PERSON
from skelift.demo.figure import pose_figure
from skelift.demo.session import Shown, show
from skelift.errors import InputError, RunError
from skelift.inference.cropping import BACK, FRONT, KEEP, REMOVE, WHOLE_IMAGE, Facing
from skelift.inference.engines import Engine
from skelift.reporting.draw import SIDES

if TYPE_CHECKING:
    from gradio import Blocks

LARGEST_UPLOAD = "200mb"
STATIC = "median"
BACKGROUNDS = [
    ("Ordinary photo or clip of a person", PERSON),
    ("Black already", KEEP),
    ("Plain: cut the body out by its colours", REMOVE),
    ("Static camera, the body moves (clips)", STATIC),
]
FACINGS = [("The model tells", ""), ("Front", FRONT), ("Back", BACK)]
HEAD = "# skelift\nDrop an image or a short clip of one body and see its pose in 3D."
LIMITS = (
    "One image gives no scale: millimetres are those of a typical body. Show one person, "
    "whole; without cutting out, the body must be alone on **black**."
)


def build_page(engine: Engine, about: str) -> "Blocks":
    """The page, ready for ``serve``; ``about`` is one line that says what finds the poses.

    Raises:
        InputError: Gradio or plotly is not installed.
    """
    gr = import_gradio()
    with gr.Blocks(title="skelift", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        shown = gr.State()
        gr.Markdown(HEAD, elem_id="head")
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                file, background, facing, button, facts, download = _controls(gr, about)
            with gr.Column(scale=3):
                image, figure, number, video, problem = _drawings(gr)
        outputs = [shown, image, figure, number, video, download, facts, problem]
        find = _finder(gr, engine)
        for event in (button.click, file.upload):
            event(find, [file, background, facing], outputs, concurrency_limit=1)
        file.clear(lambda: _nothing(gr), None, outputs)
        # Poses are drawn here already, so the queue would only slow the slider down.
        number.change(_pick, [shown, number], [image, figure], queue=False, show_progress="hidden")
    return page


def _controls(gr: Any, about: str) -> tuple[Any, ...]:
    file = gr.File(label="Image or clip", file_types=["image", "video"], elem_id="file")
    background = gr.Radio(BACKGROUNDS, value=PERSON, label="Background")
    facing = gr.Radio(FACINGS, value="", label="The camera sees the body's", elem_id="facing")
    button = gr.Button("Find the pose", variant="primary", elem_id="go")
    facts = gr.Markdown(LIMITS, elem_id="facts")
    download = gr.DownloadButton("Download JSON", visible=False, elem_id="json")
    gr.Markdown(f"<small>{about}</small>")
    return file, background, facing, button, facts, download


def _drawings(gr: Any) -> tuple[Any, ...]:
    problem = gr.Markdown(visible=False, elem_id="problem")
    with gr.Row():
        large = {"interactive": False, "height": 440, "buttons": ["fullscreen"]}
        image = gr.Image(label="2D pose", elem_id="pose-2d", **large)
        figure = gr.Plot(label="3D pose", elem_id="pose-3d")
    number = gr.Slider(0, 1, 0, step=1, label="Frame", visible=False, elem_id="frame", buttons=[])
    with gr.Row(equal_height=True):
        gr.HTML(_legend(), elem_id="legend")
        gr.Checkbox(True, label="turn the skeleton", elem_id="turn", container=False)
    video = gr.Video(label="2D pose over the clip", visible=False, elem_id="clip", height=320)
    return image, figure, number, video, problem


def serve(page: "Blocks", host: str, port: int) -> None:
    """Serve the page until a signal ends it; RunError where the address cannot be listened on.

    Gradio's own ``launch`` gives up where the machine is too busy to answer it within seconds.
    """
    import uvicorn
    from fastapi import FastAPI

    gr = import_gradio()
    here = files("skelift.demo")
    app = gr.mount_gradio_app(
        FastAPI(),
        page,
        path="/",
        max_file_size=LARGEST_UPLOAD,
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        footer_links=[],
        theme=gr.themes.Soft(primary_hue="blue", neutral_hue="slate"),
        css=(here / "page.css").read_text(),
        js=(here / "page.js").read_text(),
    )
    try:
        listening = socket.create_server((host, port))
    except OSError as error:
        raise RunError(f"{host} port {port}: {error.strerror}; choose another --port") from None
    with listening:
        address = f"http://{host}:{listening.getsockname()[1]}"
        print(f"the page is at {address} (Ctrl-C ends it)", file=sys.stderr, flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([listening])


def import_gradio() -> Any:
    """Import Gradio with its analytics off; InputError where it is not installed."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
        import plotly  # noqa: F401  # Gradio shows its figures
    except ImportError:
        raise InputError(
            "the page needs Gradio; install it with: pip install 'skelift[demo]'"
        ) from None
    return gradio


def _finder(gr: Any, engine: Engine) -> Callable[..., list[Any]]:
    def find(
        file: str | None,
        background: str,
        facing: Facing | Literal[""],
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> list[Any]:
        if file is None:
            return _problem(gr, "No file yet", "Drop an image or a clip first.")
        path = Path(file)
        try:
            found = show(
                path,
                engine,
                background,
                lambda done: progress(done, desc="Looking"),
                facing or None,
            )
        except InputError as error:
            return _problem(gr, "This file cannot be used", _friendly(path, error))
        except RunError as error:
            return _problem(gr, "The model does not answer", str(error))
        last = len(found.entries) - 1
        return [
            found,
            *_pick(found, 0),
            gr.Slider(0, max(last, 1), 0, step=1, visible=last > 0),
            gr.Video(str(found.video) if found.video else None, visible=found.video is not None),
            gr.DownloadButton(value=str(found.json), visible=True),
            _facts(found),
            gr.Markdown(visible=False),
        ]

    return find


def _problem(gr: Any, title: str, text: str) -> list[Any]:
    return [*_nothing(gr)[:-1], gr.Markdown(f"**{title}.** {text}", visible=True)]


def _nothing(gr: Any) -> list[Any]:
    hidden = [gr.Slider(visible=False), gr.Video(None, visible=False)]
    rest = [gr.DownloadButton(visible=False), LIMITS, gr.Markdown(visible=False)]
    return [None, None, None, *hidden, *rest]


def _pick(shown: Shown | None, number: int) -> tuple[Any, Any]:
    if shown is None or not 0 <= number < len(shown.entries):
        return None, None
    joints = shown.entries[number]["joints_3d_mm"]
    return shown.overlay(number), pose_figure(joints, shown.skeleton)


def _facts(shown: Shown) -> str:
    entry = shown.entries[0]
    width, height = entry["image_size"]
    lines = [f"**{width} x {height}** pixels, mask of the body from: **{entry['mask']}**."]
    if shown.video:
        thinned = f", one in {shown.every} of the clip" if shown.every > 1 else ""
        lines.insert(0, f"**{len(shown.entries)} frames**{thinned}.")
    if entry["crop"]["from"] == WHOLE_IMAGE:
        lines.append(
            "Nothing marks the body here: expect a poor pose. Choose another background, or give "
            "an image whose background is black."
        )
    return "\n\n".join([*lines, LIMITS])


def _friendly(path: Path, error: InputError) -> str:
    """The message without the server's folders."""
    text = str(error).replace(str(path), path.name).replace(f"{path.parent}/", "")
    return f"{text}. The page takes images (PNG, JPEG, WebP) and clips (MP4, WebM)."


def _legend() -> str:
    dots = (
        f'<span class="dot" style="background:rgb{colour}"></span>{side}'
        for side, colour in SIDES.items()
    )
    return f"<span>The body's{''.join(dots).replace('centre', 'middle')}</span>"
