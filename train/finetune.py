"""The torchrun entry of training, one code path with `mgie train`.

torchrun --standalone --nproc_per_node=2 train/finetune.py CONFIG.yaml [--set key=value ...]
"""

import sys

from mgie.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
