"""A whole campaign re-checked from its own record, for somebody who does not believe it.

    findings     what was checked, and what is wrong
    evidence     what lies in a campaign's directory, read once
    chain        the journal: whole, in order, nothing after the end
    frozen       experiments, programs and node code: each is what its name says
    results      every result.json against its experiment, the journal and the probes
    physics      what no program can have done: counts, clocks, arithmetic
    decisions    crowns and certificates, decided anew
    campaign     all of it

Reads only, also while a controller is at work: what is not finished is no complaint. It finds what
was changed, lost or miscounted; a record forged as a whole, every hash anew, it cannot tell apart:
for that, `autoresearch replay`.
"""
