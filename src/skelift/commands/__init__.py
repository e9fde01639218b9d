"""What the command line does beside the stages, one module per command.

A module's docstring is the command's ``--help``, ``add_arguments`` declares its options, and
``run`` takes them. Heavy imports stand in ``run``, so that ``--help`` is fast.
"""
