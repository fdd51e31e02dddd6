"""Videos in: upright RGB frames in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

EXTENSIONS = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"}


class VideoError(ValueError):
    """A video that cannot be read; the message names the file and the reason."""


def read_video(path: str | Path) -> Iterator[np.ndarray]:
    """Frames uint8 RGB [H, W, 3], turned upright as the container says. Raises VideoError."""
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError(f"{path}: holds no video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                # Quarter turns counted against the clock, as NumPy counts them
                turns = round((getattr(frame, "rotation", 0) or 0) / 90) % 4
                yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path}: cannot be read as a video") from error


def list_videos(path: str | Path) -> list[Path]:
    """The video itself, or all videos directly in a folder, sorted by name."""
    path = Path(path)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file for file in files if file.suffix.lower() in EXTENSIONS and file.name[0] != "."]
