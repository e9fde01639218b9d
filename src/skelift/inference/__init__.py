"""From files of any kind to files of poses: what ``predict``, ``demo`` and ``view`` share."""
