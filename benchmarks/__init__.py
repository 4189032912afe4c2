"""Measurements of what this project promises: ``nox -s bench -- [GROUP ...] [--out DIR] [--peers] [--quick]``.

Each group is one module with a function ``run(options)`` that returns rows; `benchmarks.__main__` lists them.
Adding a group is adding a module and a line there. See ``README.md`` beside this file for how to read the rows.
"""
