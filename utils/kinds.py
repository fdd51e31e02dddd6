"""The kinds of faults that the doctor knows: what each is called, why it hurts, what to do."""

from __future__ import annotations

from typing import NamedTuple

WRONG, UNTIDY, NOTE = LEVELS = ("wrong", "untidy", "note")


class Kind(NamedTuple):
    """`level`: "wrong" (training would learn it), "untidy" (this toolkit copes, others do not) or "note"."""

    level: str
    title: str
    why: str
    remedy: str


FIX = "--fix "
KINDS = {
    "unreadable": Kind(WRONG, "file cannot be read", "training would stop at it.", FIX + "leaves the pair out."),
    "unpaired": Kind(
        WRONG, "file without a partner of the same name", "it cannot be used.",
        "Add the partner, or let " + FIX + "leave it out.",
    ),
    "twice": Kind(
        WRONG, "second file of the same name", "nothing says which of them belongs to its partner.",
        FIX + "leaves the second out.",
    ),
    "turned": Kind(
        WRONG, "photo and mask turned differently (EXIF)", "the mask lies across the person.", FIX + "turns the mask.",
    ),
    "size": Kind(
        WRONG, "mask of another size than its photo", "training refuses it.",
        FIX + "resizes the mask where the aspect is the same, and leaves out the rest.",
    ),
    "ignore": Kind(
        WRONG, "person is 1, and 255 is an outline to be ignored", "read as 0 to 255 only the outline is left.",
        FIX + "gives each pixel of the outline to the nearer side.",
    ),
    "channel": Kind(
        WRONG, "mask in colour or in one channel", "read as grey the person is dim or lost.",
        FIX + "writes grey where it is clear which colour is the person.",
    ),
    "labels": Kind(
        WRONG, "mask of class numbers", "read as 0 to 255 everything is background.",
        FIX + "keeps the class that the network sees as the person.",
    ),
    "palette_misread": Kind(
        WRONG, "palette PNG whose colours do not read as 0 and 255", "the person comes out grey.",
        FIX + "writes grey where it is clear which label is the person.",
    ),
    "inverted": Kind(
        WRONG, "inverted mask", "it teaches that the wall is the person.",
        FIX + "turns it back where shape and network agree, and leaves out the rest.",
    ),
    "empty": Kind(
        WRONG, "empty mask", "if somebody is in the photo it teaches to miss people.",
        FIX + "leaves out those on whose photo the network sees somebody.",
    ),
    "full": Kind(
        WRONG, "mask that covers the whole photo", "it teaches that everything is the person.", FIX + "leaves it out.",
    ),
    "off": Kind(
        WRONG, "mask not on the person", "mask and network hardly overlap: another photo's mask, or nobody's.",
        "Look at each; " + FIX + "leaves them out.",
    ),
    "same_mask": Kind(
        WRONG, "one mask for several photos", "it can fit only one of them.",
        FIX + "keeps those that the network agrees with.",
    ),
    "copies_across": Kind(
        WRONG, "same photo in two parts", "the validation score rewards knowing it by heart.",
        FIX + "keeps it in the held-out part only.",
    ),
    "leak": Kind(
        WRONG, "nearly the same photo in two parts", "the validation score rewards knowing it by heart.",
        FIX + "keeps it in the held-out part only.",
    ),
    "copies": Kind(
        UNTIDY, "same photo twice", "it counts double, and if the masks differ one of them is wrong.",
        FIX + "keeps one.",
    ),
    "zero_one": Kind(
        UNTIDY, "mask 0/1 instead of 0/255", "read right here, black everywhere else.", FIX + "writes 0/255.",
    ),
    "palette": Kind(
        UNTIDY, "palette PNG", "read right here; other tools read label numbers or colours.", FIX + "writes grey.",
    ),
    "alpha": Kind(
        UNTIDY, "mask in the alpha channel", "read right here; other tools read the colours.", FIX + "writes grey.",
    ),
    "turn_unsure": Kind(
        NOTE, "photo turned by EXIF, and the sizes do not tell whether the mask is", "it may lie upside down.",
        "Look at one, or run with the network.",
    ),
    "near": Kind(
        NOTE, "nearly the same photo within a part", "fine for training; it counts double.",
        "Without a val folder, train.py may put one on either side: make one.",
    ),
    "disputed": Kind(
        NOTE, "mask that the network disputes", "one of them errs: a poor mask, or a hard photo.",
        "Look at the worst; nothing to do where the mask is right.",
    ),
    "nobody": Kind(NOTE, "empty mask, and the network sees nobody", "fine against false alarms.", "Nothing to do."),
    "tiny": Kind(
        NOTE, "person smaller than 0.5 % of the photo", "the network sees it as a few pixels.",
        "Crop (utils/face_crop.py) or leave out, unless you want such.",
    ),
    "mixed": Kind(
        NOTE, "soft and hard masks mixed", "the edges teach two habits; these are the rarer kind.",
        "Nothing to do if the kinds come from different sources.",
    ),
    "beside": Kind(
        NOTE, "source whose masks are drawn beside the photos' edges",
        "outside gives halos; sources that differ teach two edges, and the network learns neither.",
        "utils/remask.py --grow moves them by parts of a pixel; photos they are measured on should keep theirs.",
    ),
    "same_name": Kind(
        NOTE, "one name for different photos in two parts", "harmless, but confusing in reports.", "Rename one.",
    ),
}  # fmt: skip
