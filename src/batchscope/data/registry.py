"""The data sets by name. Each is one file in sets/, which registers it here; what is known of it and how it is read.

A new set is one file in sets/ and its name in the package's list:

    @generated("noise", "generated: normal inputs, labels by a coin")
    def noise(*, seed: int = 0, num_examples: int = 1000) -> RawData: ...

or, for one that lives in files, a `FileSet` of facts (names, homes, checksums, sizes) and a function that reads it:

    @in_files(FileSet(name="mnist", ...))
    def read(*, name: str, data_dir: PathLike | None = None) -> RawData: ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from batchscope.data.dataset import RawData
from batchscope.errors import InputError, shown


@dataclass(frozen=True)
class FileLayout:
    """One way a set is stored: role -> file name without compression suffix, and how many examples that makes."""

    files: Mapping[str, str]
    num_examples: int
    num_heldout: int
    label: str = ""  # after the set's title, where it is not the whole set
    remark: str = ""  # said with the source wherever this layout was read


@dataclass(frozen=True)
class Download:
    """One file to fetch. file: its name once stored. checksum of the file at `urls`: sha256, or "md5:..." where only
    that was published.

    members: for an archive, the files to take out of it (by name, whatever their folder); it is deleted afterwards.
    """

    file: str
    urls: tuple[str, ...]
    checksum: str
    members: tuple[str, ...] = ()

    @property
    def stored(self) -> tuple[str, ...]:
        """The files this download leaves behind."""
        return self.members or (self.file,)


@dataclass(frozen=True)
class FileSet:
    """A data set in files. folders: subfolders of a data folder to look in, "" being the folder itself.

    layouts: in order of preference. downloads: empty where nothing can be fetched, with the reason in `no_download`.
    checksums: of files as distributed, file name -> sha256 or "md5:...".
    """

    name: str
    title: str
    citation: str
    shape: tuple[int, ...]
    num_classes: int
    folders: tuple[str, ...]
    layouts: tuple[FileLayout, ...]
    downloads: tuple[Download, ...] = ()
    checksums: Mapping[str, str] = field(default_factory=dict)
    no_download: str = ""

    @property
    def remedy(self) -> str:
        """What to do about missing files."""
        return f"`batchscope data get {self.name}`" if self.downloads else self.no_download

    @property
    def mend(self) -> str:
        """What to do about a damaged file."""
        return f"delete it and run {self.remedy}" if self.downloads else "restore it from where it came"


@dataclass(frozen=True)
class BuiltIn:
    """A set that needs no files. what: for lists. sized: made at the size asked for, not of a size of its own."""

    make: Callable[..., RawData]
    what: str
    sized: bool


Read = Callable[..., RawData]
BUILT_IN: dict[str, BuiltIn] = {}
FILE_SETS: dict[str, FileSet] = {}
READERS: dict[str, Read] = {}


def generated(name: str, what: str, sized: bool = True) -> Callable[[Read], Read]:
    """Register a function of (seed, num_examples if sized, options of its own) that makes a set in memory."""

    def register(make: Read) -> Read:
        BUILT_IN[name] = BuiltIn(make, what, sized)
        return make

    return register


# Numbers that a generated set may have, drawn in float64: 2 GiB. An assumption about the machine.
LARGEST_GENERATED = 2**28


def check_generated(name: str, numbers: int) -> None:
    """Raise InputError for a set of more numbers than are made in memory; called before any is drawn."""
    if numbers > LARGEST_GENERATED:
        raise InputError(
            f"{name}: a set of this size takes {shown(numbers)} numbers; expected at most {LARGEST_GENERATED}, as they "
            "are made in memory: fewer examples or inputs"
        )


def in_files(*entries: FileSet) -> Callable[[Read], Read]:
    """Register a function of (name, data_dir, options of its own) that reads these sets from their files."""

    def register(read: Read) -> Read:
        for entry in entries:
            FILE_SETS[entry.name] = entry
            READERS[entry.name] = read
        return read

    return register


def names() -> tuple[str, ...]:
    """Every data set that has a name."""
    return (*BUILT_IN, *FILE_SETS)


def mirrored(mirrors: tuple[str, ...], checksums: Mapping[str, str]) -> tuple[Download, ...]:
    """Downloads of single files that lie under the same name on every mirror."""
    return tuple(Download(name, tuple(mirror + name for mirror in mirrors), known) for name, known in checksums.items())
