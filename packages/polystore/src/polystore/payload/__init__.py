"""How an array travels: shared memory on one machine (`arena`, `segment`), message frames beyond (`inline`).

Only `arena` and `segment` touch ``/dev/shm``.
"""
