"""What a model expects is known without the libraries that run it."""

from __future__ import annotations

import subprocess
import sys


def test_a_patch_size_is_known_without_torch_and_safetensors() -> None:
    program = (
        "import sys; from bpr_cli.network import config, zoo; assert config.ModelConfig().patch_size == 64;"
        "assert zoo.zoo_names(); assert not {'torch', 'safetensors'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
