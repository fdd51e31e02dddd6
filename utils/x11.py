"""What OpenCV's windows keep for themselves on Linux, had back: Ctrl-Z as a key, and the wheel without a zoom.

The wheels of opencv-python draw with Qt, whose view zooms when the wheel is turned and swallows Ctrl-Z; no flag
turns that off (github.com/opencv/opencv/issues/11500). Xlib's passive grabs hand both to us before Qt sees
them. On macOS, Windows and without libX11 `open_grabs` gives nothing, and OpenCV's own events have to do.
"""

from __future__ import annotations

import ctypes

CONTROL, LOCKS = 4, (0, 2, 16, 18)  # masks: Ctrl, and Caps Lock and Num Lock in all combinations
KEY_PRESS, BUTTON_PRESS = 2, 4  # types of events
BUTTONS = {4: "wheel up", 5: "wheel down"}
BUTTON_MASK, ASYNCHRONOUS, ANY_MODIFIER = 4, 1, 1 << 15
Handler = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
IGNORE = Handler(lambda display, error: 0)  # a key that another program has grabbed is no reason to end


class Event(ctypes.Structure):
    """The common part of Xlib's XKeyEvent and XButtonEvent, as long as its union of events."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("windows", ctypes.c_ulong * 3),
        ("time", ctypes.c_ulong),
        ("places", ctypes.c_int * 4),
        ("state", ctypes.c_uint),
        ("code", ctypes.c_uint),
        ("rest", ctypes.c_long * 24),
    ]


class Grabs:
    """Ctrl-Z and the wheel of the window with this title, on a connection of its own to the display."""

    def __init__(self, x: ctypes.CDLL, title: str) -> None:
        self._x, self._display = x, x.XOpenDisplay(None)
        window = self._find(x.XDefaultRootWindow(self._display), title.encode()) if self._display else None
        if window is None:
            return
        key = x.XKeysymToKeycode(self._display, ord("z"))
        for lock in LOCKS:
            x.XGrabKey(self._display, key, CONTROL | lock, window, 0, ASYNCHRONOUS, ASYNCHRONOUS)
        for button in BUTTONS:
            modes = (ASYNCHRONOUS, ASYNCHRONOUS, 0, 0)
            x.XGrabButton(self._display, button, ANY_MODIFIER, window, 0, BUTTON_MASK, *modes)
        x.XSync(self._display, 0)

    def pressed(self) -> list[str]:
        """What came since the last call: "ctrl-z", "wheel up", "wheel down"."""
        found, event = [], Event()
        while self._display and self._x.XPending(self._display):
            self._x.XNextEvent(self._display, ctypes.byref(event))
            if event.type == KEY_PRESS:
                found.append("ctrl-z")
            elif event.type == BUTTON_PRESS:
                found.append(BUTTONS[event.code])
        return found

    def close(self) -> None:
        """End the connection, and with it the grabs."""
        if self._display:
            self._x.XCloseDisplay(self._display)
        self._display = None

    def _find(self, window: int, title: bytes) -> int | None:
        name = ctypes.c_char_p()
        if self._x.XFetchName(self._display, window, ctypes.byref(name)) and name.value == title:
            return window
        found = (self._find(child, title) for child in self._children(window))
        return next((child for child in found if child), None)

    def _children(self, window: int) -> list[int]:
        root, parent, count = ctypes.c_ulong(), ctypes.c_ulong(), ctypes.c_uint()
        children = ctypes.POINTER(ctypes.c_ulong)()
        results = map(ctypes.byref, (root, parent, children, count))
        if not self._x.XQueryTree(self._display, window, *results) or not count.value:
            return []
        found = children[: count.value]
        self._x.XFree(children)
        return found


def _library() -> ctypes.CDLL | None:
    try:
        x = ctypes.CDLL("libX11.so.6")
    except OSError:
        return None
    x.XOpenDisplay.restype, x.XOpenDisplay.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    x.XCloseDisplay.argtypes = [ctypes.c_void_p]
    return x


def reachable() -> bool:
    """Whether the display that $DISPLAY names answers; True where that cannot be asked."""
    x = _library()
    if x is None:
        return True
    display = x.XOpenDisplay(None)
    if display:
        x.XCloseDisplay(display)
    return bool(display)


def open_grabs(title: str) -> Grabs | None:
    """The grabs on the window with this title; None where there is no X11."""
    x = _library()
    if x is None:
        return None
    window, display = ctypes.c_ulong, ctypes.c_void_p
    x.XSetErrorHandler.argtypes = [Handler]
    x.XSetErrorHandler(IGNORE)
    x.XDefaultRootWindow.restype, x.XDefaultRootWindow.argtypes = window, [display]
    x.XFetchName.argtypes = [display, window, ctypes.c_void_p]
    x.XQueryTree.argtypes = [display, window, *[ctypes.c_void_p] * 4]
    x.XFree.argtypes = [ctypes.c_void_p]
    x.XKeysymToKeycode.restype, x.XKeysymToKeycode.argtypes = ctypes.c_ubyte, [display, window]
    x.XGrabKey.argtypes = [display, ctypes.c_int, ctypes.c_uint, window, *[ctypes.c_int] * 3]
    x.XGrabButton.argtypes = [
        display, *[ctypes.c_uint] * 2, window, ctypes.c_int, ctypes.c_uint, *[ctypes.c_int] * 2, window, window
    ]  # fmt: skip
    x.XNextEvent.argtypes = [display, ctypes.c_void_p]
    x.XPending.argtypes = [display]
    x.XSync.argtypes = [display, ctypes.c_int]
    return Grabs(x, title)
