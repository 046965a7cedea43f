"""XML as a tree that knows its lines. Document types and entities are refused, whatever they would expand to.

Knows elements and text, no meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from foveal.errors import DataError


@dataclass
class Element:
    """tag: without its namespace; text: stripped; line: from 1."""

    tag: str
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, tag: str) -> Iterator[Element]:
        return (child for child in self.children if child.tag == tag)

    def first(self, tag: str) -> Element | None:
        return next(self.all(tag), None)

    def says(self, tag: str) -> str:
        """The text of the first child of this tag; empty where there is none."""
        child = self.first(tag)
        return "" if child is None else child.text


def read_xml(path: Path) -> Element:
    """The root element. Raises DataError with file and line where it is no XML, or declares a document type."""
    parser = expat.ParserCreate(namespace_separator=" ")
    around, texts = [Element("", 0)], [list[str]()]

    def begin(name: str, _attributes: dict[str, str]) -> None:
        around.append(Element(name.rpartition(" ")[2], parser.CurrentLineNumber))
        texts.append([])

    def end(_name: str) -> None:
        element = around.pop()
        element.text = "".join(texts.pop()).strip()
        around[-1].children.append(element)

    def refuse(*_: object) -> None:
        raise DataError(
            f"{path}, line {parser.CurrentLineNumber}: declares a document type, which is not read; expected plain "
            "elements only. Remove the <!DOCTYPE ...> part."
        )

    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler = lambda text: texts[-1].append(text)
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise DataError(f"{path}, line {error.lineno}: not XML: {expat.ErrorString(error.code)}.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror}.") from None
    return around[0].children[0]
