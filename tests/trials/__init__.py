"""Reliability trials: what becomes of outputs when processes are killed, disks fill up and inputs are broken.

`make trial` runs them; pytest does not collect them. Each module is one trial; `__main__` runs them and writes the page
examples/RELIABILITY.md from what they found.
"""
