"""`python -m bpr_cli`: the same as `bpr`, for torchrun and for environments without scripts on the path."""

from bpr_cli.app import main

if __name__ == "__main__":
    main()
