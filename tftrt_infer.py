"""python tftrt_infer.py exports/live_fp16.engine data/samples/backgrounds/launch.jpg

Stage 11: a network of tftrt_convert.py on a camera, a video or a stream, with the time of each frame; BACKGROUND as for
webcam.py, without it the person is laid over in a colour.

MODEL is an .engine, a TF-TRT SavedModel, or an .onnx for ONNX Runtime's TensorRT provider. A GPU that is not used is exit
code 2 rather than a slow run; --device cpu runs an .onnx anyway. Keys in the window: q quit, s snapshot, r record,
f times, ? all of them.
"""

from __future__ import annotations

import argparse

from utils import cli, live

WRAP = 0.3  # light of the background on the edge, as webcam.py has it


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("model", help="file or folder of tftrt_convert.py")
    parser.add_argument("background", nargs="?", help="picture, folder, video, colour, blur or transparent")
    parser.add_argument("--color", default="green", metavar="COLOUR", help="of the overlay")
    live.add_arguments(parser)
    parser.add_argument("--threads", type=cli.threads, default=1, help="threads where a CPU runs it")
    parser.add_argument(
        "--device", default="tensorrt", choices=("tensorrt", "gpu", "cpu"), help="what it must run on"
    )
    parser.add_argument("--temporal", default="off", choices=("off", "smooth", "flow"), help="steadying")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    from utils import blending, segmenter
    from utils.background import Background, parse_colour
    from utils.pipeline import Matting
    from utils.temporal import Temporal

    colour = parse_colour(args.color)
    background = Background(args.background) if args.background else None
    device = "gpu" if args.device == "tensorrt" and not args.model.endswith(".onnx") else args.device
    network = segmenter.open(args.model, args.threads, device, strict=True)
    print(f"{args.model}: {network}")
    network.warm_up()
    with live.Loop(args, "tftrt_infer", background is not None and background.transparent) as loop:
        if loop.viewer is not None:
            loop.viewer.lines = loop.lines()
        for frame, alpha in loop.matted(Matting(network, Temporal(args.temporal), loop.stages)):
            print(f"frame {loop.shown}: {network.milliseconds['network']:.1f} ms")
            with loop.stages("composite"):
                if background is None:
                    picture = blending.tint(frame.image, alpha, colour)
                else:
                    picture = background.compose_live(frame.image, alpha, frame.time, WRAP)
            loop.put(frame, picture, alpha)
    return 0


if __name__ == "__main__":
    cli.run(main)
