"""Why a version cannot be loaded or run, in words for a person."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import numpy as np

from router.control import artefact


def explain(error: Exception, directory: Path) -> str:
    """The runtime's error on loading, for a person: what is wrong, without paths and the places in its source."""
    if isinstance(error, UnicodeDecodeError):
        return "a name in the model is not UTF-8 text"
    text = plain(str(error), directory)
    if found := re.search(r"Error No Op registered for (\S+) with domain_version of (\d+)", text):
        return f"unknown operator `{found[1]}` (opset {found[2]})"
    if found := re.search(r"([\w.-]*):(\S+?)\(-?\d+\) is not a registered function/op", text):
        domain = f" of domain `{found[1]}`" if found[1] else ""
        return f"unknown operator `{found[2]}`{domain}; operators from custom libraries are not loaded"
    if found := re.search(r"Opset (\d+) is under development.*?for domain (\S+) is till opset (\d+)", text, re.DOTALL):
        return f"opset {found[1]} of {found[2]} is not supported; this runtime knows opsets up to {found[3]}"
    if found := re.search(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)", text):
        return (
            f"IR version {found[1]} of the ONNX format is not supported; this runtime knows versions up to {found[2]}"
        )
    if found := re.search(
        r"Could not find an implementation for ([^(\s]+)\((\d+)\)(?: node with name '([^']*)')?", text
    ):
        where = f" (node `{found[3]}`)" if found[3] else ""
        return f"operator `{found[1]}`, version {found[2]}, has no implementation for these types on the CPU{where}"
    if "Protobuf parsing failed" in text:
        return "the file is not an ONNX model, or it was cut short"
    return f"the runtime cannot load it: {text}"


def plain(text: str, directory: Path | None) -> str:
    """One line without the runtime's code, its places in the source, and paths of this machine."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"Load model from .*? failed:", "", text)
    text = _without_source(text)
    places = [str(directory), os.path.realpath(directory)] if directory else []
    for place in sorted({*places, os.getcwd(), sys.prefix, os.path.dirname(np.__file__)}, key=len, reverse=True):
        if len(place) > 1:
            text = text.replace(place + "/", "").replace(place, "")
    return artefact.shown(" ".join(text.split()), 400)


def _without_source(text: str) -> str:
    """Takes out `/place/in/source.cc:123 signature(of, the(function))` wherever it stands."""
    while found := re.search(r"/\S+\.(?:cc|h|cpp):\d+ ", text):
        depth, end = 0, found.end()
        for end in range(found.end(), len(text)):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            if depth == 0 and text[end] == ")":
                break
        else:
            end = found.end() - 1  # no signature follows
        text = text[: found.start()] + text[end + 1 :].lstrip()
    return text
