"""Names and texts that nobody should give, and messages that hold nothing else."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor

MARKUP = "[bold red]x[/] [link=file:///y]y[/link] [/no] :bomb:"
HOSTILE = f"{MARKUP}\x1b[2J\x1b]0;t\x07\r\nnext\x00\x7f\x85\u202e\u200f\u2028</script>\"'\\ %s {{x}}"


def filled(made: Any, words: str = HOSTILE, depth: int = 0) -> Any:
    """A message in which every text is hostile, and every number is one."""
    for field in made.DESCRIPTOR.fields:
        many = field.is_repeated
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            entries = getattr(made, field.name)
            if value.message_type is not None:
                filled(entries[words] if depth < 4 else type(entries[words])(), words, depth + 1)
            else:
                entries[
                    words if field.message_type.fields_by_name["key"].type == FieldDescriptor.TYPE_STRING else 1
                ] = scalar(value, words)
        elif field.message_type is not None:
            if depth < 4:
                filled(getattr(made, field.name).add() if many else getattr(made, field.name), words, depth + 1)
                if not many:
                    getattr(made, field.name).SetInParent()
        elif field.containing_oneof is not None and field.containing_oneof.fields[0] is not field:
            continue
        elif many:
            getattr(made, field.name).append(scalar(field, words))
        else:
            setattr(made, field.name, scalar(field, words))
    return made


def scalar(field: FieldDescriptor, words: str) -> Any:
    """A value of its kind."""
    if field.type == FieldDescriptor.TYPE_STRING:
        return words
    if field.type == FieldDescriptor.TYPE_BYTES:
        return words.encode()
    return field.type == FieldDescriptor.TYPE_BOOL or 1


def harmless(told: str) -> bool:
    """Nothing in it acts on a terminal."""
    return all(c.isprintable() or c == "\n" for c in told)
