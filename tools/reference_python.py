"""The public Python API, from its docstrings and signatures: docs/reference/python-api.md."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import maildir_safe
from tools.docstrings import items, markdown, sections

INTRODUCTION = """\
# Python API

What stands here is public: it follows the [compatibility policy](../development/compatibility.md). Names
that begin with an underscore, and modules that are not listed, may change in any release. The package has
type annotations (`py.typed`).

Each name of the first section is imported from `maildir_safe` itself: `from maildir_safe import Maildir`.
"""
MODULES = {
    "maildir_safe.mailbox": ("Maildir",),
    "maildir_safe.testing.smtp_fixture": ("MaildirSmtp", "ReceivedMessage"),
    "maildir_safe.testing.simfs": ("SimServer", "SimHost", "Fault"),
    "maildir_safe.testing.faultmount": ("FaultMount",),
    "maildir_safe.contrib.aiosmtpd": ("MaildirHandler",),
    "maildir_safe.contrib.django": ("QueueBackend",),
}
NOT_CONSTRUCTED = {"Claim", "Message", "QueueEntry", "Receipt"}
"""Classes whose objects this package makes: how is nobody's business."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


def page() -> str:
    """The page in Markdown."""
    parts = [INTRODUCTION, "\n## maildir_safe\n"]
    parts += [_object(found, name) for name, found in _public()]
    for name, members in MODULES.items():
        module = import_module(name)
        parts.append(f"\n## {name}\n\n{_prose(inspect.getdoc(module) or '')}")
        parts += [_object(getattr(module, member), member) for member in members]
    return "".join(parts)


def _public() -> list[tuple[str, object]]:
    """What the package exports, errors last."""
    names = getattr(maildir_safe, "__all__", None) or maildir_safe._HOMES
    found = [(name, getattr(maildir_safe, name)) for name in sorted(names) if name != "__version__"]
    return sorted(found, key=lambda pair: isinstance(pair[1], type) and issubclass(pair[1], Exception))


def _object(found: object, name: str) -> str:
    module = import_module(getattr(found, "__module__", "maildir_safe"))
    node = _definition(module, getattr(found, "__name__", name))
    if isinstance(node, ast.ClassDef):
        return _class(node, name)
    if isinstance(node, Function):
        return f"\n### {name}\n\n```python\n{_signature(node, node.name)}\n```\n\n{_documented(node)}"
    text = _prose(inspect.getdoc(found) or "") if callable(found) else f"Value: `{found!r}`\n"
    return f"\n### {name}\n\n{text}"


@cache
def _tree(module: ModuleType) -> ast.Module:
    return ast.parse(Path(inspect.getsourcefile(module) or "").read_text())


def _definition(module: ModuleType, name: str) -> ast.AST | None:
    return next((node for node in _tree(module).body if getattr(node, "name", None) == name), None)


def _class(node: ast.ClassDef, name: str) -> str:
    methods = [member for member in node.body if isinstance(member, Function)]
    text = f"\n### {name}\n\n```python\n{_head(node, name, methods)}\n```\n\n{_documented(node)}"
    for method in methods:
        if (not method.name.startswith("_") or _is_protocol(node)) and ast.get_docstring(method):
            text += _method(method, name)
    return text


def _head(node: ast.ClassDef, name: str, methods: list[Function]) -> str:
    """How an object is made; of errors and of what the package makes, what kind of thing it is."""
    constructor = next((method for method in methods if method.name == "__init__"), None)
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    fields = [member for member in node.body if isinstance(member, ast.AnnAssign)]
    if name in NOT_CONSTRUCTED or _is_protocol(node) or "Error" in bases or "Outcome" in bases:
        return f"class {name}({bases})" if bases else f"class {name}"
    if constructor is not None:
        return _signature(constructor, name)
    return _call(
        "", name, [ast.unparse(field).replace("=", " = ", 1).replace("  ", " ") for field in fields], ""
    )


def _is_protocol(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base) == "Protocol" for base in node.bases)


def _method(method: Function, owner: str) -> str:
    decorators = {ast.unparse(decorator) for decorator in method.decorator_list}
    if decorators & {"property", "cached_property"}:
        returns = f": {ast.unparse(method.returns)}" if method.returns else ""
        signature = f"{method.name}{returns}"
    else:
        signature = _signature(method, method.name)
    title = owner if method.name == "__call__" else f"{owner}.{method.name}"
    title += " as a call" * (title == owner)
    return f"\n#### {title}\n\n```python\n{signature}\n```\n\n{_documented(method)}"


def _signature(node: Function, name: str) -> str:
    arguments = node.args
    if arguments.args and arguments.args[0].arg in ("self", "cls"):
        arguments = ast.arguments(
            posonlyargs=arguments.posonlyargs,
            args=arguments.args[1:],
            vararg=arguments.vararg,
            kwonlyargs=arguments.kwonlyargs,
            kw_defaults=arguments.kw_defaults,
            kwarg=arguments.kwarg,
            defaults=arguments.defaults,
        )
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
    start = "async def " if isinstance(node, ast.AsyncFunctionDef) else ""
    parts = [re.sub(r"^(\*{0,2}\w+: [^=]+)=", r"\1 = ", part) for part in _split(ast.unparse(arguments))]
    return _call(start, name, parts, returns)


def _call(start: str, name: str, parts: list[str], returns: str) -> str:
    """A call with its arguments on one line, or on one each."""
    line = f"{start}{name}({', '.join(parts)}){returns}"
    if len(line) <= 100:
        return line
    inner = ",\n".join(textwrap.indent(part, "    ") for part in parts)
    return f"{start}{name}(\n{inner},\n){returns}"


def _split(text: str) -> list[str]:
    """Arguments, at the commas that are in no bracket."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _documented(node: ast.ClassDef | Function) -> str:
    found = sections(inspect.cleandoc(ast.get_docstring(node) or ""))
    text = _prose(found.pop(""))
    for heading, body in found.items():
        if heading in ("Returns", "Yields"):
            text += f"\n**{heading}**\n\n{_prose(body)}"
            continue
        text += f"\n**{ {'Args': 'Arguments'}.get(heading, heading) }**\n\n"
        for names, words in items(body):
            head = ", ".join(f"`{name}`" for name in names)
            text += f"- {head}{': ' * bool(names)}{markdown(words)}\n"
    return text


def _prose(text: str) -> str:
    return markdown(text).strip() + "\n"
