"""Writes the run card with its pictures, from the files of a finished run."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from lit_mlfund.atomic import write_bytes, write_text
from lit_mlfund.reports.holes import Holes
from lit_mlfund.reports.page import Picture, page
from lit_mlfund.reports.run_files import read_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_card(run_dir: Path) -> Holes:
    """Write `report.html` and the pictures from the files of a finished run; return the parts that are missing.

    The pictures are also written to `pictures/*.png`, for slides and for TensorBoard.
    """
    holes = Holes()
    with holes.leave("report.html"):
        result = read_json(run_dir / "result.json")
        metrics = read_json(run_dir / "metrics.json")
        drawn: list[Picture] = []
        if metrics:
            with holes.leave("pictures"):
                drawn = _draw(run_dir, result, metrics, holes)
        write_text(run_dir / "report.html", page(run_dir, result, metrics, drawn, holes))
    return holes


def _draw(run_dir: Path, result: dict[str, Any], metrics: dict[str, Any], holes: Holes) -> list[Picture]:
    # matplotlib: too slow for the start of a run
    from lit_mlfund.reports.pictures import pictures

    names = read_json(run_dir / "provenance.json")["figures"]
    predictions = pl.read_parquet(run_dir / "predictions" / "test.parquet", glob=False)
    metric = result["objective"]["name"].removeprefix("val/")
    return save_pictures(pictures(names, predictions, metrics, metric, holes), run_dir / "pictures", holes)


def save_pictures(figures: Mapping[str, Figure], folder: Path, holes: Holes) -> list[Picture]:
    """Write every figure as PNG and return the pictures; the figures are cleared for reuse."""
    from lit_mlfund.reports.figures import caption, recycle

    folder.mkdir(exist_ok=True)
    drawn = []
    for name, figure in figures.items():
        with holes.leave(f"picture {name}"):
            drawn.append(Picture(name, png(figure), caption(figure)))
            write_bytes(folder / f"{name}.png", drawn[-1].png)
            recycle(figure)
    return drawn


def png(figure: Figure) -> bytes:
    """Render the same picture as `figure.savefig`, which would draw twice: for the layout and for the file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # the figure is opaque
    buffer = io.BytesIO()
    image.save(buffer, "png", dpi=(figure.dpi, figure.dpi), compress_level=3)
    return buffer.getvalue()
