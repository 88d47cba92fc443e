"""Two contract types for import-linter: what a package may import, and where a framework may live.

import-linter's own types forbid by name; a package that nobody thought of would pass. These allow
by name, and look at direct imports only, since each package on the way has a contract of its own.
"""

import sys
from collections.abc import Collection, Iterator
from typing import cast

import grimp
from importlinter import Contract, ContractCheck, fields, output


def _names(**options: object) -> list[str]:
    """Declare a field of names; import-linter replaces it by its value in each contract."""
    return cast("list[str]", fields.ListField(subfield=fields.StringField(), **options))


class _DirectImportContract(Contract):
    """Judges each direct import by itself and lists the wrong ones."""

    def wrong_imports(self, graph: grimp.ImportGraph) -> Iterator[tuple[str, str]]:
        """Yield importer and imported module of each import that breaks the contract."""
        raise NotImplementedError

    def check(self, graph: grimp.ImportGraph, verbose: bool) -> ContractCheck:  # noqa: FBT001 - theirs
        """Collect the wrong imports."""
        del verbose
        wrong = sorted(set(self.wrong_imports(graph)))
        return ContractCheck(kept=not wrong, metadata={"graph": graph, "wrong": wrong})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each wrong import with its lines."""
        for importer, imported in check.metadata["wrong"]:
            details = check.metadata["graph"].get_import_details(
                importer=importer, imported=imported
            )
            lines = ", ".join(str(detail["line_number"]) for detail in details)
            output.print_error(f"- {importer} (line {lines}) must not import {imported}")
        output.new_line()


class AllowedContract(_DirectImportContract):
    """Every direct import of `packages`, less `excluding`, is inside themselves or in `allowed`.

    `stdlib` allows the standard library, `third-party` everything that is neither that nor ours.
    """

    packages = _names()
    excluding = _names(required=False, default=[])
    allowed = _names()

    def wrong_imports(self, graph: grimp.ImportGraph) -> Iterator[tuple[str, str]]:
        """Yield imports that are neither inside one package nor allowed."""
        ours = self.session_options["root_packages"]
        for package in self.packages:
            for importer in _inside(graph.modules, [package], excluding=self.excluding):
                for imported in graph.find_modules_directly_imported_by(importer):
                    kind = _kind(imported, ours=ours)
                    if kind not in self.allowed and not _within(imported, [package, *self.allowed]):
                        yield importer, imported


class RimContract(_DirectImportContract):
    """Only modules below `inside` import `frameworks`."""

    frameworks = _names()
    inside = _names()

    def wrong_imports(self, graph: grimp.ImportGraph) -> Iterator[tuple[str, str]]:
        """Yield imports of a framework from elsewhere."""
        for framework in _inside(graph.modules, self.frameworks):
            for importer in graph.find_modules_that_directly_import(framework):
                if not _within(importer, self.inside):
                    yield importer, framework


def _kind(module: str, *, ours: Collection[str]) -> str:
    root = module.partition(".")[0]
    if root in ours:
        return "ours"
    return "stdlib" if root in sys.stdlib_module_names else "third-party"


def _within(module: str, packages: Collection[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _inside(
    modules: Collection[str], packages: Collection[str], *, excluding: Collection[str] = ()
) -> list[str]:
    return [m for m in modules if _within(m, packages) and not _within(m, excluding)]
