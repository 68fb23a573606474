"""What the source of Python's standard library says without being run: definitions, and what names mean.

A name is resolved where the source leaves one meaning: imports, definitions of the module, attributes of modules and
classes, `self` and `super()` within a class. Where a name is bound twice with different meanings (an import with a
fallback, a definition that is assigned over), is a local variable, or comes out of an object, it is not resolved.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from jepakit.datasets.standard_library import parse_source, source_files

Function = ast.FunctionDef | ast.AsyncFunctionDef
#: Statements whose bodies belong to the scope that they stand in.
_BLOCKS = (ast.If, ast.Try, ast.With, ast.For, ast.While)


@dataclass(frozen=True)
class _Imported:
    """What an import binds a name to: a module, or a name in a module."""

    module: str
    name: str = ""


@dataclass
class Module:
    """A module: its tree and what its names are bound to; None for something that is not known."""

    name: str
    package: str
    tree: ast.Module
    bound: dict[str, set[str | _Imported | None]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Definition:
    """A class or function: its qualified name, its parts in the source, its module and the class that it stands in."""

    name: str
    nodes: list[ast.ClassDef | Function]
    module: Module
    owner: str | None

    @property
    def node(self) -> ast.ClassDef | Function:
        """Its first part; a property has several."""
        return self.nodes[0]


class Library:
    """All modules below a folder, and what is defined in them."""

    def __init__(self, root: Path, *, without: Sequence[str] = ()) -> None:
        self.modules: dict[str, Module] = {}
        self.definitions: dict[str, Definition] = {}
        for path, file in source_files(root):
            parts = path.split("/")
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            tree = None if parts[0] in without or not name else parse_source(file)
            if tree is not None:
                self.modules[name] = Module(name, name if is_package else name.rpartition(".")[0], tree)
        self.known = set(self.modules) | set(sys.stdlib_module_names)
        for module in self.modules.values():
            self._bind(module, module.tree.body, None)

    def _bind(self, module: Module, body: Sequence[ast.stmt], owner: str | None) -> None:
        """Notes definitions and, at the level of the module, what else names are bound to."""
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{owner or module.name}.{node.name}"
                if name not in self.modules:
                    known = self.definitions.setdefault(name, Definition(name, [], module, owner))
                    known.nodes.append(node)
                    if isinstance(node, ast.ClassDef) and len(known.nodes) == 1:
                        self._bind(module, node.body, name)
                if owner is None:
                    module.bound.setdefault(node.name, set()).add(name)
            elif isinstance(node, _BLOCKS):
                parts = [getattr(node, part, []) for part in ("body", "orelse", "finalbody")]
                parts += [handler.body for handler in getattr(node, "handlers", [])]
                for part in parts:
                    self._bind(module, part, owner)
            elif owner is None:
                self._bind_names(module, node)

    @staticmethod
    def _bind_names(module: Module, node: ast.stmt) -> None:
        """Notes the names that a statement of a module binds without defining something."""
        for name, imported in imports_of(node, module):
            if name == "*":
                module.stars.append(imported.module)
            else:
                module.bound.setdefault(name, set()).add(imported)
        for inner in ast.walk(node):
            if name := _stored(inner):
                module.bound.setdefault(name, set()).add(None)

    def symbol(self, module: str, name: str, seen: frozenset[tuple[str, str]] = frozenset()) -> str | None:
        """The qualified name of what ``name`` means in a module; None if that is not known."""
        if (module, name) in seen or module not in self.modules:
            return None
        found = self.modules[module]
        seen |= {(module, name)}
        if name in found.bound:
            (meaning, *others) = found.bound[name]
            if others or meaning is None:
                return None
            return meaning if isinstance(meaning, str) else self.imported(meaning, seen)
        if f"{module}.{name}" in self.modules:
            return f"{module}.{name}"
        targets = (self.symbol(star, name, seen) for star in found.stars if not name.startswith("_"))
        return next((target for target in targets if target), None)

    def imported(self, target: _Imported, seen: frozenset[tuple[str, str]] = frozenset()) -> str | None:
        """The qualified name of what an import gives."""
        if not target.name:
            return target.module if target.module in self.known else None
        return self.symbol(target.module, target.name, seen)

    def attribute(self, name: str, attribute: str) -> str | None:
        """The qualified name of an attribute of a module or class; that of a class may come from its bases."""
        if name in self.modules:
            return self.symbol(name, attribute)
        definition = self.definitions.get(name)
        if definition is None or not isinstance(definition.node, ast.ClassDef):
            return None
        if f"{name}.{attribute}" in self.definitions:
            return f"{name}.{attribute}"
        return self.inherited(name, attribute, frozenset())

    def inherited(self, name: str, attribute: str, seen: frozenset[str]) -> str | None:
        """The attribute that a class takes from its bases; None after a base that is not known."""
        for base in self.bases(name):
            if base is None or base in seen or base not in self.definitions:
                return None
            if f"{base}.{attribute}" in self.definitions:
                return f"{base}.{attribute}"
            if found := self.inherited(base, attribute, seen | {name}):
                return found
        return None

    def bases(self, name: str) -> list[str | None]:
        """The bases of a class as qualified names; None for one that is not known."""
        definition = self.definitions[name]
        if not isinstance(definition.node, ast.ClassDef):
            return []
        scope = Scope(self, definition.module, {}, None, "")
        return [scope.resolve(base) for base in definition.node.bases]


@dataclass(frozen=True)
class Scope:
    """Where an expression stands: its module, the names of its function, and its class with the name of `self`."""

    library: Library
    module: Module
    local: dict[str, _Imported | None]
    owner: str | None
    receiver: str

    @classmethod
    def of(cls, library: Library, definition: Definition, node: Function, body: Sequence[ast.AST]) -> Scope:
        """The scope of a function, of which ``body`` are all nodes below it; functions inside of it included."""
        local: dict[str, _Imported | None] = {}
        for inner in body:
            if name := _stored(inner):
                local[name] = None
            for name, target in imports_of(inner, definition.module):
                local[name] = None if name in local else target
        first = node.args.args[0].arg if definition.owner and node.args.args else ""
        static = any(isinstance(one, ast.Name) and one.id == "staticmethod" for one in node.decorator_list)
        return cls(library, definition.module, local, definition.owner, "" if static else first)

    def resolve(self, expression: ast.expr) -> str | None:
        """The qualified name of what an expression means; None if that is not known."""
        if isinstance(expression, ast.Name):
            return self._name(expression.id)
        if not isinstance(expression, ast.Attribute):
            return None
        value, attribute = expression.value, expression.attr
        if self.owner and isinstance(value, ast.Name) and value.id == self.receiver:
            return self.library.attribute(self.owner, attribute)
        if self.owner and _is_super(value):
            return self.library.inherited(self.owner, attribute, frozenset())
        base = self.resolve(value)
        return None if base is None else self.library.attribute(base, attribute)

    def _name(self, name: str) -> str | None:
        if name in self.local:
            target = self.local[name]
            return None if target is None else self.library.imported(target)
        found = self.library.symbol(self.module.name, name)
        # A star import of a module without source could bind any name.
        hidden = name in self.module.bound or any(star not in self.library.modules for star in self.module.stars)
        if found is None and not hidden and isinstance(getattr(builtins, name, None), type):
            return f"builtins.{name}"
        return found


def _is_super(value: ast.expr) -> bool:
    """Whether an expression is ``super()``."""
    match value:
        case ast.Call(func=ast.Name(id="super"), args=[], keywords=[]):
            return True
        case _:
            return False


def imports_of(node: ast.AST, module: Module) -> Iterator[tuple[str, _Imported]]:
    """The names that an import statement binds and to what; nothing for another statement."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name.partition(".")[0]
            yield (alias.asname, _Imported(alias.name)) if alias.asname else (top, _Imported(top))
    elif isinstance(node, ast.ImportFrom):
        above = module.package.split(".")
        parts = above[: len(above) - node.level + 1] if node.level else []
        origin = ".".join([*parts, node.module] if node.module else parts)
        for alias in node.names:
            yield alias.asname or alias.name, _Imported(origin, alias.name)


def imported_modules(node: ast.AST, module: Module, library: Library) -> Iterator[str]:
    """The known modules that an import statement names: the most precise, such as ``os`` of ``os.path``."""
    if isinstance(node, ast.Import):
        targets = [alias.name for alias in node.names]
    else:
        targets = [f"{one.module}.{one.name}" for _, one in imports_of(node, module)]
    for target in targets:
        parts = target.split(".")
        prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        yield from islice((prefix for prefix in prefixes if prefix in library.known), 1)


def _stored(node: ast.AST) -> str | None:
    """The name that a node binds to something that is not known: a variable, a parameter, an inner definition."""
    match node:
        case ast.Name(ctx=ast.Load()):
            return None
        case ast.Name(id=name) | ast.arg(arg=name) | ast.ExceptHandler(name=name) | ast.ClassDef(name=name):
            return name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return name
        case _:
            return None
