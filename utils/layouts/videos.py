"""Videos with matte videos: `fgr/NAME.mp4` and `pha/NAME.mp4`, or folders of frames of these names.

The folders may be called fgr, video(s) and pha, matte(s); the two of a name must have equally many frames. Each
frame is a pair, all frames of a video are one group: no split separates them. As VideoMatte240K has them.
Source: https://grail.cs.washington.edu/projects/background-matting-v2/#/datasets
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from utils.images import Stored, list_images
from utils.layouts.base import DatasetError, How, Pair, by_stem, layout, leave_out, named, partners, source_of
from utils.layouts.film import Film
from utils.sources import list_videos

VIDEOS, MATTES = ("fgr", "video", "videos"), ("pha", "matte", "mattes")


class VideoFrame(Stored):
    """Frame `number` of a film, RGB."""

    lossy = True

    def __init__(self, film: Film, number: int) -> None:
        self.film, self.path, self.number = film, film.path, number

    def __str__(self) -> str:
        return f"{self.path}[{self.number}]"

    def size(self) -> tuple[int, int]:
        return self.film.size

    def read(self) -> np.ndarray:
        return self.film.read(self.number)


class MatteFrame(VideoFrame):
    """The same as alpha: a matte video is grey from 0 to 255."""

    def read(self) -> np.ndarray:
        return self.film.read(self.number)[..., 1].astype(np.float32) / 255


def sees(folder: Path) -> bool:
    return all(place is not None and _films(place) for place in _places(folder))


def read(folder: Path, how: How) -> list[Pair]:
    """A pair a frame, by the videos' and the frames' names. Raises DatasetError, VideoError."""
    videos, mattes = _places(folder)
    if videos is None or mattes is None:
        raise DatasetError(f"{folder}: needs a folder fgr (or video) and a folder pha (or matte)")
    videos, mattes = _films(videos), _films(mattes)
    pairs, uneven = [], []
    for name in partners(folder, videos, mattes, how):
        if videos[name].is_dir() and mattes[name].is_dir():
            pairs += _pictures(name, videos[name], mattes[name], how)
            continue
        film, matte = Film(videos[name]), Film(mattes[name])
        if len(film) == len(matte):
            pairs += _frames(name, film, matte)
        else:
            uneven.append(f"{film.path.name} has {len(film)} frames and its matte {len(matte)}")
    leave_out(folder, uneven, "do not match their matte", how)
    if not pairs:
        raise DatasetError(f"{folder}: holds no video with a matte of the same name")
    return pairs


def _frames(name: str, film: Film, matte: Film) -> list[Pair]:
    source = source_of(name)
    return [
        Pair(f"{name}_{n:05}", VideoFrame(film, n), MatteFrame(matte, n), source=source, group=name)
        for n in range(len(film))
    ]


def _pictures(name: str, video: Path, matte: Path, how: How) -> list[Pair]:
    photos, mattes, source = by_stem(video), by_stem(matte), source_of(name)
    return [
        Pair(f"{name}_{stem}", photos[stem], mattes[stem], source=source, group=name)
        for stem in partners(video, photos, mattes, how)
    ]


def _places(folder: Path) -> tuple[Path | None, Path | None]:
    found = (
        next((folder / name for name in names if (folder / name).is_dir()), None)
        for names in (VIDEOS, MATTES)
    )
    return tuple(found)


def _films(folder: Path) -> dict[str, Path]:
    """Videos, and folders of pictures, by name."""
    frames = [path for path in sorted(folder.glob("[!.]*")) if path.is_dir() and list_images(path)]
    return named((path.name if path in frames else path.stem, path) for path in list_videos(folder) + frames)


LAYOUT = layout("videos", "fgr/ (video/) and pha/ (matte/)", sees, read)
