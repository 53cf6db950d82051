"""Guards for the traps of packaging a twistd plugin."""

from __future__ import annotations

import ast
import configparser
import dataclasses
import os
from pathlib import Path
from unittest import SkipTest

from twisted.application.service import ServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

import fastcar_tw
from fastcar_tw.checks import CHECKS, option_name
from fastcar_tw.config import Config
from fastcar_tw.options import Options

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "twisted" / "plugins" / "fastcar_plugin.py"


def metadata() -> configparser.ConfigParser:
    """Return setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", "utf-8")
    return parser


class PluginTests(SynchronousTestCase):
    """What lies under twisted/."""

    def test_no_init_files(self) -> None:
        """An __init__.py here would shadow Twisted, or overwrite its own when installed."""
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])

    def test_plugin_imports_only_service_maker(self) -> None:
        """Every run of twistd and trial loads the plugin, so it imports nothing of ours."""
        tree = ast.parse(PLUGIN.read_text("utf-8"))
        imports = [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
        self.assertEqual(
            [ast.unparse(n) for n in imports],
            ["from twisted.application.service import ServiceMaker"],
        )

    def test_plugin_points_at_the_service_module(self) -> None:
        """``twistd fastcar`` resolves to fastcar_tw.service."""
        namespace: dict[str, object] = {}
        exec(compile(PLUGIN.read_text("utf-8"), str(PLUGIN), "exec"), namespace)
        makers = [value for value in namespace.values() if isinstance(value, ServiceMaker)]
        self.assertEqual(
            [(m.tapname, m.module) for m in makers], [("fastcar", "fastcar_tw.service")]
        )


class OptionTests(SynchronousTestCase):
    """Fields of Config and options of the command line are the same set."""

    def test_every_field_has_a_check(self) -> None:
        """No field enters a Config unchecked."""
        self.assertEqual(list(CHECKS), [field.name for field in dataclasses.fields(Config)])

    def test_every_field_has_an_option(self) -> None:
        """And every option a field; help and version aside."""
        fields = {option_name(field.name) for field in dataclasses.fields(Config)}
        options = {f"--{name.rstrip('=')}" for name in Options().longOpt}
        # Twisted adds each spelling with an underscore as well.
        dashed = {name.replace("_", "-") for name in options}
        self.assertEqual(dashed - {"--help", "--version"}, fields)


class MetadataTests(SynchronousTestCase):
    """setup.cfg, pyproject.toml and MANIFEST.in."""

    def test_plugin_is_found_after_an_editable_install(self) -> None:
        """Only with package_dir is the source directory put on sys.path."""
        options = metadata()["options"]
        self.assertEqual(options["package_dir"].split(), ["=", "."])
        self.assertEqual(options["packages"], "find_namespace:")
        include = metadata()["options.packages.find"]["include"].split()
        self.assertEqual(include, ["fastcar_tw*", "twisted.plugins"])

    def test_every_package_has_an_init(self) -> None:
        """find_namespace ships any folder; ours are regular packages."""
        folders = {path.parent for path in (ROOT / "fastcar_tw").rglob("*.py")}
        folders |= {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
        missing = [str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").is_file()]
        self.assertEqual(missing, [])

    def test_pyproject_names_only_the_build_system(self) -> None:
        """All other metadata has one place, setup.cfg."""
        lines = (ROOT / "pyproject.toml").read_text("utf-8").splitlines()
        self.assertEqual([x for x in lines if x.startswith("[")], ["[build-system]"])

    def test_manifest(self) -> None:
        """A source distribution holds the tests and the .tac files, and nothing generated."""
        lines = (ROOT / "MANIFEST.in").read_text("utf-8").splitlines()
        for line in (
            "graft tests",
            "graft tap",
            "prune _trial_temp",
            "global-exclude *.py[cod] dropin.cache",
        ):
            self.assertIn(line, lines)

    def test_typed(self) -> None:
        """The package tells type checkers that it has annotations (PEP 561)."""
        self.assertTrue((ROOT / "fastcar_tw" / "py.typed").is_file())
        self.assertEqual(metadata()["options.package_data"]["fastcar_tw"], "py.typed")

    def test_ci_script_can_be_run(self) -> None:
        """.ci/run is executable."""
        self.assertTrue(os.access(ROOT / ".ci" / "run", os.X_OK))

    def test_unknown_name_of_the_package(self) -> None:
        """Looking up __version__ lazily does not hide missing names."""
        with self.assertRaises(AttributeError):
            _ = fastcar_tw.no_such_name


class InstalledTests(SynchronousTestCase):
    """What holds once the package is installed."""

    def test_version(self) -> None:
        """__version__ is that of the installed metadata, and so of setup.cfg."""
        from importlib.metadata import PackageNotFoundError

        try:
            version = fastcar_tw.__version__
        except PackageNotFoundError:
            raise SkipTest("fastcar_tw is not installed here") from None
        self.assertEqual(version, metadata()["metadata"]["version"])

    def test_twisted_lists_the_plugin(self) -> None:
        """Twisted finds exactly one command called fastcar."""
        from twisted.application.service import IServiceMaker

        names = [maker.tapname for maker in getPlugins(IServiceMaker)]
        self.assertEqual(names.count("fastcar"), 1)
