"""What a request target leads to below the document root."""

from __future__ import annotations

import os
import shutil
import tempfile
from urllib.parse import quote_from_bytes

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from fastcar_tw.fastcgi.documents import (
    BELIEF_TIME,
    MAX_KNOWN,
    Document,
    DocumentRoot,
    NotFoundError,
    Redirect,
    Script,
    StaticFile,
)
from fastcar_tw.http.errors import FastcarError, MessageError


class TreeTestCase(SynchronousTestCase):
    """Has a directory with a document root C{public} and things beside it."""

    def setUp(self) -> None:
        """Make the directory and a clock."""
        self.top = os.path.realpath(tempfile.mkdtemp(prefix="fc", dir="/tmp")).encode()
        self.addCleanup(shutil.rmtree, self.top)
        self.public = self.top + b"/public"
        os.mkdir(self.public)
        self.clock = Clock()

    def write(self, *paths: bytes) -> None:
        """Write files below the root that hold their own path."""
        for path in paths:
            os.makedirs(os.path.dirname(self.public + b"/" + path), exist_ok=True)
            with open(self.public + b"/" + path, "wb") as file:
                file.write(path)

    def link(self, path: bytes, to: bytes) -> None:
        """Make a symbolic link below the root."""
        os.makedirs(os.path.dirname(self.public + b"/" + path), exist_ok=True)
        os.symlink(to, self.public + b"/" + path)

    def root(
        self,
        *,
        index: tuple[str, ...] = ("index.php",),
        front_controller: str | None = None,
        split: str = ".php",
        static: bool = True,
        symlinks_to: tuple[str, ...] = (),
        fpm_root: str | None = None,
    ) -> DocumentRoot:
        """Make what is tested, for C{public}."""
        return DocumentRoot(
            os.fsdecode(self.public),
            index=index,
            front_controller=front_controller,
            split=split,
            static=static,
            symlinks_to=symlinks_to,
            fpm_root=fpm_root,
            now=self.clock.seconds,
        )

    def script(self, name: bytes, path_info: bytes = b"") -> Script:
        """The script that is expected."""
        return Script(self.public + name, name, path_info, self.public)

    def file(self, path: bytes) -> StaticFile:
        """The static file that is expected."""
        return StaticFile(self.public + path)

    def assert_not_found(self, root: DocumentRoot, *targets: bytes) -> None:
        """There is nothing, and the text for the client does not tell why."""
        for target in targets:
            error = self.assertRaises(NotFoundError, root.find, target)
            self.assertEqual((error.status, error.text), (404, "not found"), target)

    def assert_invalid(self, root: DocumentRoot, *targets: bytes) -> None:
        """The targets are no valid ones."""
        for target in targets:
            error = self.assertRaises(MessageError, root.find, target)
            self.assertEqual(error.status, 400, target)
            self.assertNotIn(os.fsdecode(self.top), error.text)


class ScriptTests(TreeTestCase):
    """Scripts, and what is behind them in the path."""

    def test_script(self) -> None:
        """A script is told by its file, its path, and the root."""
        self.write(b"app/run.php")
        self.assertEqual(self.root().find(b"/app/run.php?a=/b.php"), self.script(b"/app/run.php"))

    def test_path_info(self) -> None:
        """What follows a script is PATH_INFO, decoded and mapped below the root."""
        self.write(b"foo.php")
        for target, path_info in (
            (b"/foo.php/bar/baz?q", b"/bar/baz"),
            (b"/foo.php/", b"/"),
            (b"/foo.php/a%20b/", b"/a b/"),
            (b"/foo.php/%e4/.hidden", b"/\xe4/.hidden"),
            (b"/foo.php/x.php/y.php", b"/x.php/y.php"),
            (b"/foo.php/a%2Fb%5cc", b"/a/b\\c"),
            (b"/foo.php//a/./b/../c", b"/a/c"),
            (b"/foo.php/a/..", b"/"),
        ):
            self.assertEqual(self.root().find(target), self.script(b"/foo.php", path_info), target)

    def test_directory_named_like_a_script(self) -> None:
        """The path is split at a file, not at a directory whose name ends in the suffix."""
        self.write(b"lib.php/run.php", b"lib.php/logo.png")
        root = self.root()
        self.assertEqual(root.find(b"/lib.php/run.php/x"), self.script(b"/lib.php/run.php", b"/x"))
        self.assertEqual(root.find(b"/lib.php/logo.png"), self.file(b"/lib.php/logo.png"))

    def test_no_script_behind_a_file(self) -> None:
        """A file that is no script never runs, whatever is written behind it."""
        self.write(b"x.jpg", b"upload.txt")
        self.assert_not_found(
            self.root(),
            b"/x.jpg/foo.php",
            b"/x.jpg/.php",
            b"/x.jpg%2ffoo.php",
            b"/upload.txt/a.php/b",
        )

    def test_suffix_as_bytes(self) -> None:
        """The suffix counts exactly: no other case, nothing after it, no character like it."""
        names = (b"a.PHP", b"a.Php", b"a.php.", b"a.php ", b"a.php5", b"aphp", b"a.p\xc4\xa5p")
        self.write(*names)
        found = {name: self.kind(b"/" + quote_from_bytes(name).encode()) for name in names}
        self.assertNotIn(Script, found.values())

    def kind(self, target: bytes) -> type[object]:
        """What sort of thing a target leads to."""
        try:
            return type(self.root().find(target))
        except FastcarError as error:
            return type(error)

    def test_other_suffix(self) -> None:
        """With another suffix PHP sources neither run nor are shown."""
        self.write(b"a.phtml", b"a.php", b"a.hh")
        root = self.root(split=".hh")
        self.assertEqual(root.find(b"/a.hh"), self.script(b"/a.hh"))
        self.assert_not_found(root, b"/a.php", b"/a.phtml", b"/a.hh.bak", b"/a.HH")

    def test_any_bytes(self) -> None:
        """A name may be of any bytes."""
        self.write(b"\xff\xfe 100%41.php", b"a?b.png")
        root = self.root()
        for target in (b"/%ff%FE%20100%2541.php", b"/\xff\xfe%20100%2541.php"):
            self.assertEqual(root.find(target), self.script(b"/\xff\xfe 100%41.php"))
        self.assertEqual(root.find(b"/a%3Fb.png"), self.file(b"/a?b.png"))

    def test_fpm_root(self) -> None:
        """Scripts are told as php-fpm sees them, static files as they lie here."""
        self.write(b"a.php", b"a.png")
        for fpm_root, told in (("/srv/app/", b"/srv/app"), ("/", b"")):
            root = self.root(fpm_root=fpm_root)
            document_root = told or b"/"
            self.assertEqual(
                root.find(b"/a.php/x"),
                Script(told + b"/a.php", b"/a.php", b"/x", document_root),
            )
            self.assertEqual(root.find(b"/a.png"), self.file(b"/a.png"))

    def test_not_regular(self) -> None:
        """Pipes and directories are no scripts and no static files."""
        os.mkfifo(self.public + b"/a.php")
        os.mkfifo(self.public + b"/a.png")
        os.mkdir(self.public + b"/b.php")
        self.assert_not_found(self.root(), b"/a.php", b"/a.png", b"/b.php", b"/b.php/")


class DirectoryTests(TreeTestCase):
    """Directories and their index."""

    def test_index(self) -> None:
        """A directory stands for the first index that is there."""
        self.write(b"index.php", b"doc/index.html", b"both/index.html", b"both/index.php")
        root = self.root(index=("index.php", "index.html"))
        self.assertEqual(root.find(b"/"), self.script(b"/index.php"))
        self.assertEqual(root.find(b"/?a=b"), self.script(b"/index.php"))
        self.assertEqual(root.find(b"/doc/"), self.file(b"/doc/index.html"))
        self.assertEqual(root.find(b"/both/"), self.script(b"/both/index.php"))

    def test_no_listing(self) -> None:
        """A directory without index is not found, with or without its slash."""
        self.write(b"img/a.png")
        self.assert_not_found(self.root(), b"/img", b"/img/", b"/")

    def test_redirect(self) -> None:
        """A directory with an index is sent to its path with the slash; the query stays."""
        self.write(b"app/index.php", b"a b\\c/index.php")
        root = self.root()
        for target, location in (
            (b"/app", b"/app/"),
            (b"/app?", b"/app/?"),
            (b"/app?a=/b?&c=%0d%0a", b"/app/?a=/b?&c=%0d%0a"),
            (b"/app?\xe4\r\n", b"/app/?%E4%0D%0A"),
            (b"//x/..//app", b"/app/"),
        ):
            self.assertEqual(root.find(target), Redirect(location))

    def test_redirect_keeps_the_authority(self) -> None:
        """A redirect never leads to another host."""
        self.write(b"evil.test/index.php", b"a:b/index.php")
        root = self.root()
        self.assertEqual(root.find(b"//evil.test"), Redirect(b"/evil.test/"))
        self.assertEqual(root.find(b"/a:b"), Redirect(b"/a:b/"))
        self.assert_not_found(root, b"/%2fevil.test", b"/\\evil.test", b"/%5cevil.test")

    def test_slash_behind_a_file(self) -> None:
        """A static file is no directory."""
        self.write(b"a.png")
        self.assert_not_found(self.root(), b"/a.png/", b"/a.png/.", b"/a.png/x/..")


class FrontControllerTests(TreeTestCase):
    """What is not there goes to the front controller."""

    def setUp(self) -> None:
        """There is one."""
        super().setUp()
        self.write(b"index.php", b"img/a.png")

    def test_fallback(self) -> None:
        """It gets what is no file and no directory with an index, PATH_INFO empty."""
        root = self.root(front_controller="index.php")
        for target in (
            b"/articles/1?page=2",
            b"/articles/",
            b"/img",
            b"/img/",
            b"/projects/a%2Fb",
            b"/a\\b",
            b"/missing.php",
            b"/missing.php/x",
            b"/img/a.png/x.php",
            b"/" + b"x" * 300,
            b"/x" * 3000,
        ):
            self.assertEqual(root.find(target), self.script(b"/index.php"), target)
        self.assertEqual(root.find(b"/img/a.png"), self.file(b"/img/a.png"))

    def test_refused_is_not_there(self) -> None:
        """It gets the paths of hidden files and sources too, whether they exist or not."""
        self.write(b".env", b"old.php~")
        root = self.root(front_controller="/index.php")
        for target in (b"/.env", b"/.git/config", b"/old.php~", b"/other.php~"):
            self.assertEqual(root.find(target), self.script(b"/index.php"), target)

    def test_called_by_name(self) -> None:
        """Called by its own name it has PATH_INFO as any script."""
        root = self.root(front_controller="index.php")
        self.assertEqual(root.find(b"/index.php/a"), self.script(b"/index.php", b"/a"))

    def test_below_a_directory(self) -> None:
        """It may lie deeper."""
        self.write(b"app/front.php")
        root = self.root(front_controller="app/front.php")
        self.assertEqual(root.find(b"/nothing"), self.script(b"/app/front.php"))

    def test_not_there(self) -> None:
        """Without its file, nothing is found."""
        self.assert_not_found(self.root(front_controller="front.php"), b"/nothing")

    def test_invalid_targets(self) -> None:
        """It does not get what is no valid target."""
        self.assert_invalid(self.root(front_controller="index.php"), b"/a%00", b"/..", b"/%")

    def test_new_file(self) -> None:
        """A new file is there at once."""
        root = self.root(front_controller="index.php")
        self.assertEqual(root.find(b"/new.png"), self.script(b"/index.php"))
        self.write(b"new.png")
        self.assertEqual(root.find(b"/new.png"), self.file(b"/new.png"))


class StaticTests(TreeTestCase):
    """Which files are shown as they are."""

    def test_file(self) -> None:
        """Other files than scripts are static."""
        names = (b"a.png", b"b", b"c.tar.gz", b"js/app.min.js", b"incl.txt", b"x.include", b"php")
        self.write(*names, b"deep/a.pharmacy.png")
        for name in (*names, b"deep/a.pharmacy.png"):
            self.assertEqual(self.root().find(b"/" + name), self.file(b"/" + name))

    def test_hidden(self) -> None:
        """Nothing hidden is had, script or not, and nothing in a hidden directory."""
        names = (
            b".env",
            b".git/config",
            b"a/.htaccess",
            b".x.php",
            b".svn/a.php",
            b".a/.well-known/b",
        )
        self.write(*names, b"a/.well-known/x")
        self.assert_not_found(self.root(), *(b"/" + name for name in names))
        self.assert_not_found(
            self.root(),
            b"/%2eenv",
            b"/a/.well-known/x",
            b"/...",
            b"/.git%2fconfig",
            b"/.",
            b"/.php",
        )

    def test_well_known(self) -> None:
        """The directory /.well-known/ is had; what is hidden in it is not."""
        self.write(b".well-known/acme/x", b".well-known/a.php", b".well-known/.x", b".well-knownx")
        root = self.root()
        for target in (b"/.well-known/acme/x", b"/%2ewell-known/acme/x"):
            self.assertEqual(root.find(target), self.file(b"/.well-known/acme/x"))
        self.assertEqual(root.find(b"/.well-known/a.php"), self.script(b"/.well-known/a.php"))
        self.assert_not_found(root, b"/.well-known/.x", b"/.well-knownx", b"/.well-known%2facme/x")

    def test_sources(self) -> None:
        """Nothing is shown that may hold the source of a script."""
        names = [
            b"x" + end
            for end in (
                b".php.", b".php..", b".PHP", b".pHp5", b".phps", b".phtml", b".PHTML", b".pht",
                b".phar", b".phar.gz", b".php~", b".php.bak", b".php_old", b".php-", b".php ",
                b".php.swp", b".php.1", b".php.txt", b".inc", b".INC", b".inc~", b".class.inc",
                b".php\xff", b".php::$DATA", b".php\\",
            )
        ]  # fmt: skip
        names += [b"#x.php#", b"inc/x.inc", b"_x.php.orig"]
        self.write(*names)
        self.assert_not_found(self.root(), *(b"/" + quote_from_bytes(n).encode() for n in names))

    def test_no_static(self) -> None:
        """Without static files only scripts are found."""
        self.write(b"a.png", b"a.php", b"doc/index.html")
        root = self.root(static=False, index=("index.php", "index.html"))
        self.assertEqual(root.find(b"/a.php"), self.script(b"/a.php"))
        self.assert_not_found(root, b"/a.png", b"/doc", b"/doc/")


class TraversalTests(TreeTestCase):
    """Ways out of the root, and targets that are none."""

    def setUp(self) -> None:
        """There is something to get outside the root."""
        super().setUp()
        self.write(b"a/b.png", b"a/b.php", b"../secret.txt", b"../secret.php")
        # Its name begins as the root's does.
        self.write(b"../public2/x.php", b"../public2/x.png")

    def test_dot_segments(self) -> None:
        """Dot segments are removed, encoded or not, and empty ones."""
        for target in (
            b"/a/b.png",
            b"//a///b.png",
            b"/./a/./b.png",
            b"/x/../a/b.png",
            b"/x/%2e%2E/a/%2e/b.png",
            b"/a/b.png/../b.png",
        ):
            self.assertEqual(self.root().find(target), self.file(b"/a/b.png"), target)

    def test_above_the_root(self) -> None:
        """Nothing leads above the root, not even for a while."""
        self.assert_invalid(
            self.root(),
            b"/../secret.txt",
            b"/../public/a/b.png",
            b"/a/../../secret.php",
            b"/%2e%2e/secret.txt",
            b"/.%2e/secret.txt",
            b"//../secret.txt",
            b"/a/b.php/../../../secret.php",
        )

    def test_encoded_separators(self) -> None:
        """An encoded slash or a backslash separates nothing, and climbs nowhere."""
        root = self.root()
        self.assert_not_found(
            root,
            b"/a%2fb.png",
            b"/a%2Fb.php",
            b"/a\\b.png",
            b"/a%5cb.php",
            b"/a%2f",
            b"/%2fetc/passwd",
            b"/%252e%252e/secret.txt",
        )
        self.assert_invalid(
            root,
            b"/..%2fsecret.txt",
            b"/a/..%2f..%2fsecret.php",
            b"/..\\secret.txt",
            b"/..%5csecret.txt",
            b"/a%2f..",
            b"/a/b.php/..%2f..%2fx",
            b"/a/b.php/x%5c..",
            b"/a/b.php/x\\..\\y",
        )

    def test_backslash_in_a_name(self) -> None:
        """A file whose name holds a backslash is not had."""
        self.write(b"a\\c.png", b"a\\c.php", b"d\\e/c.png", b"d\\e/index.php")
        for backslash in (b"\\", b"%5c"):
            targets = (b"/a*c.png", b"/a*c.php", b"/d*e/c.png", b"/d*e", b"/d*e/")
            self.assert_not_found(self.root(), *(t.replace(b"*", backslash) for t in targets))

    def test_invalid(self) -> None:
        """Broken escapes, NUL, CR and LF are refused wherever they stand in the path."""
        self.assert_invalid(
            self.root(),
            b"/%",
            b"/a%2",
            b"/a%zz",
            b"/a%%41",
            b"/a/b.png%00",
            b"/a/b.php%00.png",
            b"/a/b.php/%0a",
            b"/a/b.php/%0D",
            b"/%00/../a/b.png",
            b"/a/b.png\x00",
            b"/a\r\n",
            b"a/b.png",
            b"",
            b"*",
            b"?a",
            b"http://a.test/a/b.png",
        )

    def test_query_is_free(self) -> None:
        """The query may hold what the path may not."""
        root = self.root()
        for query in (b"%", b"%00", b"/../..", b"%0d%0a", b"?"):
            self.assertEqual(root.find(b"/a/b.php?" + query), self.script(b"/a/b.php"))

    def test_percent_is_decoded_once(self) -> None:
        """A name that holds a percent sign is not taken for an encoded one."""
        self.write(b"x%20y.png", b"x y.png")
        root = self.root()
        for _ in range(2):
            self.assertEqual(root.find(b"/x%2520y.png"), self.file(b"/x%20y.png"))
            self.assertEqual(root.find(b"/x%20y.png"), self.file(b"/x y.png"))


class LinkTests(TreeTestCase):
    """Symbolic links."""

    def test_inside(self) -> None:
        """A link inside the root is followed; the script keeps its name, the file does not."""
        self.write(b"real/a.php", b"real/a.png")
        self.link(b"b.php", b"real/a.php")
        self.link(b"dir", b"real")
        root = self.root()
        self.assertEqual(root.find(b"/b.php"), self.script(b"/b.php"))
        self.assertEqual(root.find(b"/dir/a.php"), self.script(b"/dir/a.php"))
        self.assertEqual(root.find(b"/dir/a.png"), self.file(b"/real/a.png"))

    def test_outside(self) -> None:
        """A link that leads outside is not followed, and the log can tell which."""
        self.write(b"../public2/a.php", b"../public2/a.png", b"../public2/index.php")
        self.link(b"a.php", b"../public2/a.php")
        self.link(b"a.png", self.top + b"/public2/a.png")
        self.link(b"dir", b"../public2")
        targets = (b"/a.php", b"/a.png", b"/dir/a.php", b"/dir/a.png", b"/dir", b"/dir/")
        self.assert_not_found(self.root(), *targets)
        error = self.assertRaises(NotFoundError, self.root().find, b"/a.png")
        self.assertIn("a link leads outside the root", error.reason)
        self.assertIn("/public2/a.png", error.reason)

    def test_symlinks_to(self) -> None:
        """Links to static files may lead to the named directories, links to scripts may not."""
        self.write(*(b"../storage/" + name for name in (b"a.png", b"a.php", b".env", b"x.inc")))
        self.write(b"../storage2/a.png")
        self.link(b"storage", b"../storage")
        self.link(b"storage2", b"../storage2")
        self.link(b"b.png", b"../storage/.env")
        root = self.root(symlinks_to=(os.fsdecode(self.top + b"/storage/"),))
        self.assertEqual(root.find(b"/storage/a.png"), StaticFile(self.top + b"/storage/a.png"))
        self.assert_not_found(
            root,
            b"/storage/a.php",
            b"/storage/.env",
            b"/storage/x.inc",
            b"/storage2/a.png",
            b"/b.png",
        )

    def test_disguise(self) -> None:
        """A link makes no script of another file, no picture of a script or a hidden file."""
        self.write(b"upload.jpg", b"config.php", b".env", b".git/a.php", b".git/a.png")
        self.link(b"run.php", b"upload.jpg")
        self.link(b"logo.png", b"config.php")
        self.link(b"env.txt", b".env")
        self.link(b"git", b".git")
        self.assert_not_found(
            self.root(), b"/run.php", b"/logo.png", b"/env.txt", b"/git/a.php", b"/git/a.png"
        )

    def test_loop(self) -> None:
        """A loop of links is not found; the log is told."""
        self.link(b"a.php", b"a.php")
        self.assert_not_found(self.root(), b"/a.php", b"/a.php/x")
        error = self.assertRaises(NotFoundError, self.root().find, b"/a.php")
        self.assertIn("symbolic links", error.reason)

    def test_dangling(self) -> None:
        """A link to nothing is not found."""
        self.link(b"a.php", b"missing.php")
        self.link(b"a.png", b"missing.png")
        self.assert_not_found(self.root(), b"/a.php", b"/a.png")

    def test_root_is_told_resolved(self) -> None:
        """php-fpm gets paths without the links above the root."""
        self.write(b"index.php")
        os.rename(self.public, self.top + b"/release")
        os.symlink(b"release", self.public)
        real = self.top + b"/release"
        script = Script(real + b"/index.php", b"/index.php", b"/x", real)
        self.assertEqual(self.root().find(b"/index.php/x"), script)

    def test_switch(self) -> None:
        """When the root is switched to another release, that one serves within the second."""
        self.write(b"../1/a.php", b"../2/a.php", b"../1/index.php", b"../2/index.php")
        os.rmdir(self.public)
        os.symlink(b"1", self.public)
        root = self.root(front_controller="index.php")
        targets = (b"/a.php", b"/a.php/x", b"/nothing")
        self.assertEqual({self.release(root.find(t)) for t in targets}, {b"1"})
        os.symlink(b"2", self.top + b"/next")
        os.rename(self.top + b"/next", self.public)
        self.clock.advance(BELIEF_TIME)
        self.assertEqual({self.release(root.find(t)) for t in targets}, {b"2"})

    def release(self, document: Document) -> bytes:
        """The directory that both the script and its root are told to be in."""
        assert isinstance(document, Script)
        self.assertTrue(document.filename.startswith(document.document_root + b"/"))
        return os.path.basename(document.document_root)

    def test_root_slash(self) -> None:
        """The root may be the whole file system."""
        self.write(b"a.php", b"a.png")
        root = DocumentRoot("/", now=self.clock.seconds)
        path = self.public + b"/a.php"
        self.assertEqual(root.find(path), Script(path, path, b"", b"/"))
        self.assertEqual(root.find(self.public + b"/a.png"), self.file(b"/a.png"))


class TroubleTests(TreeTestCase):
    """File systems that do not answer as they should."""

    def test_no_permission(self) -> None:
        """A directory that may not be searched is not there; the log is told which."""
        if os.geteuid() == 0:
            raise SkipTest("root may search any directory")
        self.write(b"closed/a.php")
        os.chmod(self.public + b"/closed", 0)
        self.addCleanup(os.chmod, self.public + b"/closed", 0o700)
        error = self.assertRaises(NotFoundError, self.root().find, b"/closed/a.php")
        self.assertIn("Permission denied", error.reason)
        self.assertIn("closed/a.php", error.reason)

    def test_long_names(self) -> None:
        """Names and paths that are too long are not there."""
        self.assert_not_found(self.root(), b"/" + b"a" * 300, b"/a.php" * 2000, b"/" + b"a/" * 4000)

    def test_plain_miss(self) -> None:
        """Where there is just nothing, there is no reason to log."""
        self.write(b"a.png")
        for target in (b"/nothing", b"/a.png/x.php", b"/nothing/x.php", b"/" + b"a" * 300):
            error = self.assertRaises(NotFoundError, self.root().find, target)
            self.assertEqual(error.reason, "")

    def test_reason_is_forgotten(self) -> None:
        """The reason of one search is not that of the next."""
        self.link(b"a.php", b"a.php")
        root = self.root()
        self.assertRaises(NotFoundError, root.find, b"/a.php")
        self.assertEqual(self.assertRaises(NotFoundError, root.find, b"/nothing").reason, "")

    def test_no_root(self) -> None:
        """While the root is missing, nothing is found."""
        os.rmdir(self.public)
        root = self.root(front_controller="index.php")
        self.assert_not_found(root, b"/", b"/index.php")
        self.write(b"index.php")
        self.assertEqual(root.find(b"/"), self.script(b"/index.php"))


class BeliefTests(TreeTestCase):
    """What is known for a second."""

    def test_deleted(self) -> None:
        """A deleted file is gone after a second at most, however often it was asked for."""
        self.write(b"a.php", b"a.png", b"index.php")
        root = self.root()
        targets = (b"/a.php", b"/a.png", b"/", b"/a.php/x", b"/%61.php")
        for target in targets:
            root.find(target)
        for name in (b"a.php", b"a.png", b"index.php"):
            os.remove(self.public + b"/" + name)
        self.clock.advance(BELIEF_TIME * 0.9)
        for target in targets:
            root.find(target)
        self.clock.advance(BELIEF_TIME * 0.1)
        self.assert_not_found(root, *targets)

    def test_believed(self) -> None:
        """Within the second the file system is not asked about a file that was found."""
        self.write(b"a.php", b"a.png")
        root = self.root()
        before = [root.find(b"/a.php"), root.find(b"/a.png")]
        shutil.rmtree(self.public)
        self.assertEqual([root.find(b"/a.php?q"), root.find(b"/a.png")], before)

    def test_bounded(self) -> None:
        """However many files are asked for, only so many are known at a time."""
        self.write(*(b"%d.png" % i for i in range(MAX_KNOWN + 10)))
        root = self.root()
        for i in range(MAX_KNOWN + 10):
            root.find(b"/%d.png" % i)
        os.remove(self.public + b"/0.png")
        self.assert_not_found(root, b"/0.png")

    def test_path_info_is_not_kept(self) -> None:
        """Endless paths behind a script do not push out what is known."""
        self.write(b"a.php", b"b.png")
        root = self.root(front_controller="a.php")
        root.find(b"/b.png")
        os.remove(self.public + b"/b.png")
        for i in range(MAX_KNOWN + 10):
            root.find(b"/a.php/%d" % i)
            root.find(b"/%d" % i)
        self.assertEqual(root.find(b"/b.png"), self.file(b"/b.png"))


class OptionTests(TreeTestCase):
    """What a document root may be made of."""

    def test_split(self) -> None:
        """The suffix begins with a dot and is in ASCII."""
        for split in ("", ".", "php", ".php/", ".ph\N{LATIN SMALL LETTER P WITH ACUTE}", ".a\n"):
            with self.assertRaisesRegex(ValueError, "--split"):
                self.root(split=split)

    def test_front_controller(self) -> None:
        """The front controller is a script below the root."""
        for path in ("", "index.html", "../index.php", "/", ".x.php", "a//b.php", "index.php/"):
            with self.assertRaisesRegex(ValueError, "--front-controller"):
                self.root(front_controller=path)

    def test_index(self) -> None:
        """An index is a name."""
        for name in ("", "../x.php", ".x.php", "/index.php"):
            with self.assertRaisesRegex(ValueError, "--index"):
                self.root(index=(name,))


PIECES = [
    *(
        b"/",
        b"/",
        b"/",
        b"//",
        b".",
        b"..",
        b"\\",
        b"%2f",
        b"%2e",
        b"%2e%2e",
        b"%5C",
        b"%00",
        b"%25",
    ),
    *(b".php", b".PHP", b"%2ephp", b".jpg", b"~", b".bak", b"%20", b"?", b"\xff", b"%0a", b"%"),
    *(
        b"index.php",
        b"a.php",
        b"a.jpg",
        b"dir",
        b"d.php",
        b".env",
        b".git",
        b".well-known",
        b"x.inc",
    ),
    *(
        b"out",
        b"out.php",
        b"out.jpg",
        b"fake.php",
        b"fake.jpg",
        b"secret.php",
        b"public",
        b"storage",
    ),
]
TARGETS = st.lists(st.sampled_from(PIECES) | st.binary(max_size=2), max_size=12).map(b"".join)


class PropertyTests(TreeTestCase):
    """Whatever the target."""

    def setUp(self) -> None:
        """A tree with everything that must not be had."""
        super().setUp()
        self.write(b"index.php", b"a.php", b"a.jpg", b"dir/a.php", b"dir/a.jpg", b"dir/index.php")
        self.write(
            b".env", b".git/a.php", b".git/a.jpg", b"x.inc", b"a.php~", b"a.PHP", b"a.php.bak"
        )
        self.write(
            b".well-known/a.jpg", b"d.php/a.php", b"d.php/a.jpg", b"a.php.jpg", b"dir\\a.php"
        )
        self.write(b"../secret.php", b"../out/a.php", b"../out/a.jpg", b"../out/index.php")
        self.write(b"../storage/a.jpg", b"../storage/a.php", b"../storage/.env")
        for name, to in (
            (b"out", b"../out"),
            (b"out.php", b"../secret.php"),
            (b"out.jpg", b"../out/a.jpg"),
            (b"fake.php", b"a.jpg"),
            (b"fake.jpg", b"a.php"),
            (b"storage", b"../storage"),
        ):
            self.link(name, to)
        self.storage = self.top + b"/storage"
        self.roots = [
            self.root(
                index=("index.php", "a.jpg"),
                front_controller=front,
                static=static,
                symlinks_to=(os.fsdecode(self.storage),),
            )
            for front in (None, "index.php")
            for static in (True, False)
        ]

    def test_nothing_else(self) -> None:
        """No target leads outside the root, to a hidden file, or to a script that is none."""

        @settings(max_examples=400, deadline=None)
        @given(TARGETS, st.sampled_from(self.roots), st.booleans())
        def check(rest: bytes, root: DocumentRoot, later: bool) -> None:
            if later:
                self.clock.advance(BELIEF_TIME)
            try:
                document = root.find(b"/" + rest)
            except FastcarError as error:
                self.assertIn(error.status, (400, 404))
                self.assertNotIn(os.fsdecode(self.top), error.text)
            else:
                self.check(document)

        check()

    def test_any_bytes(self) -> None:
        """No sequence of bytes makes anything but an answer or one of its errors."""

        @settings(max_examples=200, deadline=None)
        @given(st.binary(max_size=40), st.sampled_from(self.roots))
        def check(target: bytes, root: DocumentRoot) -> None:
            try:
                self.check(root.find(target))
            except FastcarError as error:
                self.assertIn(error.status, (400, 404))

        check()

    def check(self, document: Document) -> None:
        """Judge what was found."""
        if isinstance(document, Redirect):
            self.assertRegex(document.location, rb"\A/(?!/)[^\\?]*/(\?.*)?\Z")
            self.assertNotRegex(document.location, rb"[^\x21-\x7e]")
        elif isinstance(document, Script):
            self.assertEqual(document.filename, self.public + document.name)
            self.check_file(document.filename, self.public)
            self.assertTrue(os.path.realpath(document.filename).endswith(b".php"))
            self.assertRegex(document.path_info, rb"(?s)\A(/.*)?\Z")
            for separator in (b"/", b"\\"):
                self.assertNotIn(b"..", document.path_info.split(separator))
        else:
            base = self.storage if document.path.startswith(self.storage) else self.public
            self.check_file(document.path, base)
            self.assertNotRegex(document.path[len(base) :].lower(), rb"\.php[^/]*\Z|\.inc")

    def check_file(self, path: bytes, base: bytes) -> None:
        """It is a regular file below the base, and nothing above it is hidden."""
        self.assertTrue(os.path.isfile(path))
        real = os.path.realpath(path)
        self.assertTrue(real.startswith(base + b"/"), real)
        names = real[len(base) + 1 :].split(b"/")
        self.assertEqual([n for n in names if n[:1] == b"." and n != b".well-known"], [])
