"""Runs Autobahn's wstest from the folder that `setup.sh` installed it into: wstest.py FOLDER ARGUMENTS..."""

import site
import sys

folder = sys.argv.pop(1)
sys.path.insert(0, folder)
site.addsitedir(folder)  # for the .pth file of the zope namespace

from autobahntestsuite.wstest import run  # noqa: E402

run()
