"""Whether a campaign would work here, found out before the first GPU hour is spent.

Reading order: examine (the story), login, jobs, checkup (what the job runs), verdict, advice.
"""
