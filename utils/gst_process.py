"""What runs in a Python that has PyGObject: python3 -I gst_process.py HEADER source|sink|serve ...

A process of its own, as PyGObject is a package of the system and not of a virtual environment, and a plug-in that crashes
takes nothing else down. It imports the standard library and GStreamer only. utils/gstreamer.py talks with it:

    source PIPELINE         writes pictures to standard output: HEADER, then RGB
    sink PIPELINE RATE      reads pictures from standard input in the same form
    serve HOST PORT /PATH   reads an MPEG transport stream from standard input and serves it by RTSP
"""

import os
import struct
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

HEADER = struct.Struct(sys.argv[1])  # height, width, bytes a row, seconds
RAW = "video/x-raw,format=RGB"
SILENT = 12  # pictures without sound after which there is none
LEAKY = (
    "max-bytes=0 max-time=2000000000 leaky-type=downstream"  # a client that is slow loses, it holds nobody up
)


def source(pipeline: str) -> None:
    """Pictures of a pipeline, the newest always, until it ends or standard input does: then nobody listens."""
    threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
    launched = Gst.parse_launch(
        f"{pipeline} ! videoconvert ! {RAW} ! appsink name=out max-buffers=2 drop=true sync=false"
    )
    try:
        started = launched.set_state(Gst.State.PLAYING)
        if started == Gst.StateChangeReturn.FAILURE:
            said(launched, Gst.SECOND)
            raise RuntimeError("cannot be started")
        send(launched, launched.get_by_name("out"))
        said(launched)
    finally:
        launched.set_state(Gst.State.NULL)  # else GStreamer complains for pages


def send(launched, sink) -> None:
    """Pictures to standard output until there are no more; an error of the pipeline is a RuntimeError."""
    while True:
        sample = sink.emit("try-pull-sample", Gst.SECOND // 4)
        if sample is None:  # over, broken, or only slow
            if sink.get_property("eos"):
                return
            failed(launched.get_bus().pop_filtered(Gst.MessageType.ERROR))
            continue
        shape = sample.get_caps().get_structure(0)
        height, width = shape.get_value("height"), shape.get_value("width")
        buffer = sample.get_buffer()
        data = buffer.extract_dup(0, buffer.get_size())
        head = HEADER.pack(height, width, len(data) // height, buffer.pts / Gst.SECOND)
        sys.stdout.buffer.write(head + data)
        sys.stdout.buffer.flush()


def sink(pipeline: str, rate: str) -> None:
    """Pictures into a pipeline; at the end of standard input the pipeline is told so and finishes."""
    launched = Gst.parse_launch(f"appsrc name=in format=time block=true ! videoconvert ! {pipeline}")
    feed = launched.get_by_name("in")
    caps = None
    while len(head := sys.stdin.buffer.read(HEADER.size)) == HEADER.size:
        height, width, row, seconds = HEADER.unpack(head)
        data = sys.stdin.buffer.read(height * row)
        if caps is None:
            caps = Gst.Caps.from_string(f"{RAW},width={width},height={height},framerate={rate}")
            feed.set_property("caps", caps)
            launched.set_state(Gst.State.PLAYING)
        buffer = Gst.Buffer.new_wrapped(data)
        buffer.pts = int(seconds * Gst.SECOND)
        if feed.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
            break
    if caps is not None:
        feed.emit("end-of-stream")
        said(launched, 20 * Gst.SECOND)


def said(launched, wait: int = 0) -> None:
    """Wait for a pipeline's end; an error is one line and code 1."""
    kinds = Gst.MessageType.EOS | Gst.MessageType.ERROR
    message = launched.get_bus().timed_pop_filtered(wait, kinds)
    launched.set_state(Gst.State.NULL)
    failed(message)


def failed(message) -> None:
    """Raise RuntimeError with the reason if the message is an error."""
    if message is not None and message.type == Gst.MessageType.ERROR:
        raise RuntimeError(message.parse_error()[0].message)


class Server:
    """One stream for any number of clients: each sees it from the next whole picture on."""

    def __init__(self, host: str, port: str, path: str) -> None:
        gi.require_version("GstRtspServer", "1.0")
        from gi.repository import GstRtspServer

        self.caps, self.feeds, self.lock = {}, {}, threading.Lock()
        self.waited = 0  # pictures that came before there is something to see
        self.loop = GLib.MainLoop()
        self.take = Gst.parse_launch(
            "fdsrc fd=0 ! tsdemux name=d "
            "d. ! queue ! h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au "
            "! appsink name=video emit-signals=true sync=false "
            "d. ! queue ! aacparse ! audio/mpeg,stream-format=raw ! appsink name=audio emit-signals=true sync=false async=false"
        )
        for name in ("video", "audio"):
            self.take.get_by_name(name).connect("new-sample", self.arrived, name)
        self.server = GstRtspServer.RTSPServer(address=host, service=port)
        server = self

        class Factory(GstRtspServer.RTSPMediaFactory):
            def do_create_element(self, url):
                parts = [
                    f"appsrc name=video format=time is-live=true {LEAKY} ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1"
                ]
                if "audio" in server.caps:
                    parts.append(
                        f"appsrc name=audio format=time is-live=true {LEAKY} ! rtpmp4gpay name=pay1 pt=97"
                    )
                return Gst.parse_launch(f"( {' '.join(parts)} )")

        self.factory = Factory()
        self.factory.set_shared(True)
        self.factory.connect("media-configure", lambda _, media: self.begin(media))
        self.path = path

    def run(self) -> None:
        bus = self.take.get_bus()
        bus.add_signal_watch()
        bus.connect("message::eos", lambda *_: self.loop.quit())
        bus.connect("message::error", self.failed)
        if not self.server.attach(None):
            raise RuntimeError("that port is taken")
        self.take.set_state(Gst.State.PLAYING)
        print("ready", flush=True)
        self.loop.run()
        self.take.set_state(Gst.State.NULL)

    def failed(self, bus, message) -> None:
        print(message.parse_error()[0].message, file=sys.stderr, flush=True)
        self.loop.quit()

    def begin(self, media) -> None:
        """The first client came: what arrives goes to it, too, from the next whole picture on."""
        element = media.get_element()
        feeds = {name: element.get_by_name(name) for name in self.caps}
        for name, feed in feeds.items():
            if feed is not None:
                feed.set_property("caps", self.caps[name])
        with self.lock:
            self.feeds, self.start, self.zero = feeds, None, None
        media.connect("unprepared", self.leave, feeds)

    def leave(self, media, feeds) -> None:
        with self.lock:
            if self.feeds is feeds:
                self.feeds = {}

    def arrived(self, sink, name):
        sample = sink.emit("pull-sample")
        self.caps[name] = sample.get_caps()
        buffer = sample.get_buffer()
        if (
            self.waited < SILENT and name == "video"
        ):  # who comes before it is known what there is would wait for ever
            self.waited = SILENT if "audio" in self.caps else self.waited + 1
            if self.waited == SILENT:
                self.server.get_mount_points().add_factory(self.path, self.factory)
        with self.lock:
            feed = self.feeds.get(name)
            if feed is None:
                return Gst.FlowReturn.OK
            whole = not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
            if self.start is None:
                if name != "video" or not whole:
                    return Gst.FlowReturn.OK
                self.start = buffer.pts
            if buffer.pts < self.start:
                return Gst.FlowReturn.OK
            if self.zero is None:
                clock = feed.get_clock()
                if clock is None:  # not playing yet
                    self.start = None
                    return Gst.FlowReturn.OK
                self.zero = clock.get_time() - feed.get_base_time()
            piece = buffer.copy_deep()
            piece.pts = piece.dts = buffer.pts - self.start + self.zero
            feed.emit("push-buffer", piece)
        return Gst.FlowReturn.OK


def main() -> int:
    Gst.init(None)
    kind, *words = sys.argv[2:]
    try:
        if kind == "serve":
            Server(*words).run()
        else:
            {"source": source, "sink": sink}[kind](*words)
    except BrokenPipeError:  # whoever listened is gone
        os._exit(0)
    except (GLib.Error, RuntimeError) as error:
        print(" ".join(str(getattr(error, "message", error)).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # the thread that waits for the end of standard input would not let Python end in peace
