"""Scenarios in which real processes and a real server are killed, frozen, and fed with nonsense.

`make chaos` runs all of them, `make chaos CHAOS=kills` one, and `make chaos CHAOS="kills outages"` two. A scenario is a
module `test_NAME.py` of this folder. Its docstring says what is set up, what is done, and what must hold.

What is random comes from the fixture `chance`, whose seed is printed: `CHAOS_SEED=7 make chaos`. With the same seed the
same is done in the same order, although not at the same instruction. `CHAOS_FACTOR=40` does everything forty times as
often (`settings.times`). docs/reliability.md lists the scenarios, and what each of them proves.

The whole stage takes less than twelve minutes in CI, so a scenario takes a minute.
"""
