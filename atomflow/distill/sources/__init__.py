"""Where configurations come from: one module for every kind of source.

A source gives a list of *jobs*, one for every system, each of which gives that system's frames when it is called.
What a job gives depends on the seed, the place of the source in the file and the number of the system, and on nothing
before it (``stream.py``). Crystals, packings, decorations and built cells also say what they start from
(``starts.py``), so that dynamics and relaxations can begin there.
"""
