"""Keep everything that a run writes away from the user's files, also what C code and child processes write.

Three ways, the first that the system allows:

* "mounts": a mount namespace of the run's own, in which every folder of the machine is an overlay. The run reads what is
  there and writes into a folder of the session; nothing outside changes, and the run sees its own writes.
* "landlock": the kernel refuses every write outside of the run's own folders (Linux 5.19 and later, also in containers).
* "hooks": neither is to be had. Python code is watched by the audit hook of `files`; C code and child processes are not.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import sys
from typing import Any

KINDS = ("mounts", "landlock", "hooks")
NEVER = ("/proc", "/sys", "/dev", "/run")  # made of no files; devices and shared memory stay as they are
MOST_OVERLAYS = 64

_NEWNS, _NEWUSER = 0x00020000, 0x10000000
_BIND, _REC, _PRIVATE, _DETACH = 0x1000, 0x4000, 0x40000, 2

# Landlock's rights that change files, by the version of its interface that knows them; reading is left alone.
_FOLDER_RIGHTS = sum(1 << bit for bit in (1, 4, 5, 6, 7, 8, 9, 10, 11, 12))  # write, remove, make
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_FILE_RIGHTS = (1 << 1) | _TRUNCATE
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_NO_NEW_PRIVS = 38


def enter(kind: str, places: list[str], store: str) -> tuple[str, str]:
    """Shut the process in. `places` are the run's own folders, `store` is where overlays keep what is written
    elsewhere. `kind` is where to begin trying. Returns (the way that was found, why no better one was)."""
    reasons = []
    if not sys.platform.startswith("linux"):
        return "hooks", f"no sandbox on {sys.platform}"
    places = [os.path.realpath(place) for place in places]
    if kind == "mounts":
        try:
            covered = _overlays(places, store)
        except OSError as error:
            reasons.append(f"no mount namespace ({_said(error)})")
        else:
            with contextlib.suppress(OSError):
                _landlock([*covered, *places])  # what no overlay covers stays read-only
            return "mounts", ""
    if kind in ("mounts", "landlock"):
        try:
            _landlock(places)
        except OSError as error:
            reasons.append(f"no Landlock ({_said(error)})")
        else:
            return "landlock", "; ".join(reasons)
    return "hooks", "; ".join(reasons)


def written(store: str) -> list[str]:
    """The absolute paths of what a run wrote through its overlays: new and changed files, links, deleted ones."""
    found = []
    for number in _numbers(store):
        with open(os.path.join(store, number, "of"), encoding="utf-8", errors="surrogateescape") as file:
            top = file.read()
        upper = os.path.join(store, number, "up")
        for folder, folders, names in os.walk(upper):
            inside = os.path.relpath(folder, upper)
            if not folders and not names and folder != upper:
                names = ["."]  # a new folder without anything in it
            names += [name for name in folders if os.path.islink(os.path.join(folder, name))]
            found += [os.path.normpath(os.path.join(top, inside, name)) for name in names]
    return sorted(found)


def discard(store: str) -> None:
    """Remove a store; the kernel leaves folders in it that nobody may enter."""
    import shutil

    for number in _numbers(store):
        for folder, _, _ in os.walk(os.path.join(store, number, "wk"), topdown=True):
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                if stat.S_ISDIR(os.lstat(path).st_mode):
                    os.chmod(path, 0o700)
    shutil.rmtree(store, ignore_errors=True)


def _numbers(store: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(store) if os.path.isfile(os.path.join(store, name, "of")))
    except OSError:
        return []


def _said(error: OSError) -> str:
    return error.strerror or str(error)


# -- overlays ---------------------------------------------------------------------------------------------------------


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    def raw(text: str | None) -> bytes | None:
        return None if text is None else os.fsencode(text)

    result = _libc().mount(raw(source), raw(target), raw(kind), ctypes.c_ulong(flags), raw(data))
    _checked(result, target)


def _overlays(places: list[str], store: str) -> list[str]:
    """Enter a mount namespace and cover the machine's folders. Raises OSError, before anything is mounted, where that
    is not allowed, and after it where a folder that the user may write could not be covered."""
    libc = _libc()
    user, group, root = os.getuid(), os.getgid(), os.geteuid() == 0
    targets = _targets(_mount_points())
    here = os.getcwd()
    if not root or libc.unshare(_NEWNS) != 0:
        _checked(libc.unshare(_NEWUSER | _NEWNS), "unshare")
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    # By its descriptor a folder is found also where an overlay lies above it by then.
    held = {place: os.open(place, os.O_PATH) for place in places if os.path.exists(place)}
    stored = os.open(store, os.O_PATH)
    try:
        _mount("none", "/", None, _REC | _PRIVATE)
        covered: list[str] = []
        try:
            for number, target in enumerate(targets):
                if _cover(target, f"/proc/self/fd/{stored}/{number}"):
                    covered.append(target)
        except OSError:
            for target in reversed(covered):
                libc.umount2(os.fsencode(target), _DETACH)
            raise
        for place, number in held.items():
            os.makedirs(place, exist_ok=True)
            _mount(f"/proc/self/fd/{number}", place, None, _BIND | _REC)
    finally:
        for number in (stored, *held.values()):
            os.close(number)
    os.chdir(here)  # the folder of before is below the overlays
    if not root:
        _drop_capabilities(libc)
    return covered


def _cover(target: str, store: str) -> bool:
    """Lay an overlay over a folder; False where that cannot be done to one that the user may not write anyway."""
    parts = {name: f"{store}/{name}" for name in ("up", "wk", "of")}
    os.makedirs(parts["up"])
    os.makedirs(parts["wk"])
    os.chmod(parts["up"], stat.S_IMODE(os.stat(target).st_mode))
    options = f"lowerdir={_escaped(target)},upperdir={parts['up']},workdir={parts['wk']},userxattr"
    try:
        _mount("overlay", target, "overlay", 0, options)
    except OSError:
        if os.access(target, os.W_OK):
            raise
        return False
    with open(parts["of"], "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(target)
    return True


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _mount_points() -> dict[str, bool]:
    """Every mount point, and whether it may be written."""
    found = {}
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            words = line.split()
            path = words[4].encode("utf-8", "surrogateescape").decode("unicode_escape").encode("latin-1")
            found[os.fsdecode(path)] = "rw" in words[5].split(",")
    return found


def _targets(mounts: dict[str, bool]) -> list[str]:
    """The folders to cover: the topmost ones that hold no other mount."""
    found: list[str] = []

    def cover(folder: str) -> None:
        if folder in NEVER or mounts.get(folder) is False:
            return
        below = folder.rstrip("/") + "/"
        if folder != "/" and not any(point.startswith(below) for point in mounts):
            found.append(folder)
            return
        try:
            with os.scandir(folder) as entries:
                names = sorted(e.path for e in entries if e.is_dir(follow_symlinks=False))
        except OSError:
            return
        for name in names:
            cover(name)

    cover("/")
    if len(found) > MOST_OVERLAYS:
        raise OSError(7, f"{len(found)} folders would have to be covered")
    return found


def _drop_capabilities(libc: Any) -> None:
    """The namespace made the run its root; the user's script is not to have more rights than without it."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))


# -- Landlock ---------------------------------------------------------------------------------------------------------


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def _landlock(places: list[str]) -> None:
    """Let this process and its children write below `places`, into devices and into /proc, and nowhere else.
    Raises OSError where the kernel has no Landlock, or only its first version, which forbids moving files at all."""
    libc = _libc()
    version = _checked(libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1)), "landlock")
    if version < 2:
        raise OSError(95, "only its first version")
    rights = _FOLDER_RIGHTS | _REFER | (_TRUNCATE if version >= 3 else 0)
    handled = ctypes.c_uint64(rights)
    ruleset = _checked(libc.syscall(_CREATE, ctypes.byref(handled), ctypes.c_size_t(8), ctypes.c_uint32(0)), "landlock")
    try:
        for place in (*places, "/dev", "/proc"):
            try:
                folder = os.open(place, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                allowed = rights if stat.S_ISDIR(os.fstat(folder).st_mode) else rights & _FILE_RIGHTS
                rule = _Beneath(allowed, folder)
                added = libc.syscall(_ADD, ruleset, 1, ctypes.byref(rule), ctypes.c_uint32(0))
                _checked(added, place)
            finally:
                os.close(folder)
        _checked(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
        _checked(libc.syscall(_RESTRICT, ruleset, ctypes.c_uint32(0)), "landlock")
    finally:
        os.close(ruleset)
