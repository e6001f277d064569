"""Run the commands of a JSON file (each a list of words) as one of several processes, and write their exit codes."""

import json
import os
import sys
from pathlib import Path

from numclip_lightning.cli import main

if __name__ == "__main__":
    file = Path(sys.argv[1])
    codes = [main(words) for words in json.loads(file.read_text(encoding="utf-8"))]
    file.with_suffix(f".codes{os.environ['RANK']}").write_text(json.dumps(codes), encoding="utf-8")
