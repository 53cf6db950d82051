"""Many clients and origins that do not behave, for as long as FASTCAR_SOAK_SECONDS says; those of
the relay with 100,000 requests if that is 30 or more, else with a tenth of them.

What goes wrong is drawn from a seed, which is printed; FASTCAR_SOAK_SEED draws the same again. The
order of events is the machine's, so a seed does not repeat a run, only what is asked of it.
"""
