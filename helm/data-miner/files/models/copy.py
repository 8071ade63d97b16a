"""Copies a volume of models onto the node's disk: content alone, as often as it is begun anew.

Modes and owners stay behind: this user may not change those of the disk's root, and a copy that
nobody may write could not be made anew.
"""

import shutil
import sys
from pathlib import Path


def copy(source, target):
    """A file, or a folder with all in it; of a link, what it leads to."""
    if source.is_dir():
        target.mkdir(exist_ok=True)
        for each in source.iterdir():
            copy(each, target / each.name)
    else:
        shutil.copyfile(source, target)


models, disk = map(Path, sys.argv[1:])
for each in models.iterdir():
    # What a file system keeps for itself there is no model.
    if each.name != "lost+found" and not each.name.startswith("."):
        copy(each, disk / each.name)
