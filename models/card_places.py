"""Where a card lies in files that are not zips: ONNX metadata, OpenVINO run-time facts, a SavedModel's extras.

None of it needs the runtime that the file is for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

KEY = "portrait_segmentation_card"
METADATA = 14  # ModelProto.metadata_props in onnx.proto: entries of key (1) and value (2)
EXTRA = Path("assets.extra") / "card.json"  # where TensorFlow leaves files of others alone


def read_onnx(path: Path) -> str:
    """The card's text; raises ValueError or IndexError where there is none or the file is damaged."""
    for number, value in _fields(path.read_bytes()):
        if number == METADATA:
            entry = dict(_fields(value))
            if bytes(entry.get(1, b"")).decode() == KEY:
                return bytes(entry[2]).decode()
    raise ValueError("no card")


def write_onnx(path: Path, text: str) -> None:
    """Append the card: a protocol buffer's repeated fields may follow each other anywhere."""
    with path.open("ab") as file:
        file.write(_field(METADATA, _field(1, KEY.encode()) + _field(2, text.encode())))


def read_xml(path: Path) -> str:
    """The card in an OpenVINO .xml."""
    node = ElementTree.parse(path).find(f"rt_info/{KEY}")
    if node is None:
        raise ValueError("no card")
    return node.attrib["value"]


def write_xml(path: Path, text: str) -> None:
    """Add the card to an OpenVINO .xml."""
    tree = ElementTree.parse(path)
    facts = tree.find("rt_info")
    if facts is None:
        facts = ElementTree.SubElement(tree.getroot(), "rt_info")
    ElementTree.SubElement(facts, KEY, value=text)
    tree.write(path, encoding="utf-8", xml_declaration=True)


def read_folder(path: Path) -> str:
    """The card of a SavedModel folder."""
    return (path / EXTRA).read_text(encoding="utf-8")


def write_folder(path: Path, text: str) -> None:
    """Lay the card into a SavedModel folder."""
    (path / EXTRA).parent.mkdir(exist_ok=True)
    (path / EXTRA).write_text(text, encoding="utf-8")


def _fields(data: bytes | memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of a protocol buffer message, as (number, content)."""
    data, at = memoryview(data), 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("cut off")
            yield tag >> 3, data[at : at + size]
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("no protocol buffer")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _field(number: int, content: bytes) -> bytes:
    return _as_varint(number << 3 | 2) + _as_varint(len(content)) + content


def _as_varint(value: int) -> bytes:
    encoded = b""
    while value > 127:
        encoded, value = encoded + bytes([value & 127 | 128]), value >> 7
    return encoded + bytes([value])
