"""Speed and memory claims, as ratios within one process: ``python -m benchmarks.NAME``.

They have the threads of training by the command line, settled here before torch is loaded.
"""

from skelift import threads

threads.settle(spin=True)
