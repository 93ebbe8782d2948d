"""Why a job waits: squeue's words for it → a plain sentence, and whether waiting helps at all."""

import re

from autoresearch.cluster.site import Site

LIMIT = re.compile(
    r"(?P<owner>QOS|Assoc)?(?P<kind>Grp|Max|Min)"
    r"(?P<what>Cpu|GRES|Memory|Mem|Node|Billing|Energy|License|BB|Unknown|SubmitJobs?|Jobs?|Wall)(?:Duration)?"
    r"(?P<minutes>RunMinutes|RunMins|Minutes|Mins)?(?:Per(?P<per>Job|User|Account|Node))?"
    r"(?:Limit|NotSatisfied)?",
    re.IGNORECASE,
)
COUNTED = {"jobs": "running jobs", "submit": "jobs in the queue"}
MINUTES = {"minutes": " minutes in all", "runminutes": " minutes of running jobs in all"}
RESOURCES = {"memory": "mem", "gres": "gres/", "license": "license/", "bb": "bb/", "unknown": ""}

# Kind, what and per of a limit → our field for it, and sacctmgr's name.
FIELDS = {
    ("grp", "jobs", ""): ("grp_jobs", "GrpJobs"),
    ("grp", "submit", ""): ("grp_submit", "GrpSubmitJobs"),
    ("grp", "wall", ""): ("grp_minutes", "GrpWall"),
    ("grp", "tres", ""): ("grp_tres", "GrpTRES"),
    ("grp", "minutes", ""): ("grp_tres_minutes", "GrpTRESMins"),
    ("grp", "runminutes", ""): ("grp_tres_run_minutes", "GrpTRESRunMins"),
    ("max", "jobs", ""): ("max_jobs", "MaxJobs"),
    ("max", "jobs", "user"): ("max_jobs_per_user", "MaxJobsPerUser"),
    ("max", "jobs", "account"): ("max_jobs_per_account", "MaxJobsPerAccount"),
    ("max", "submit", ""): ("max_submit", "MaxSubmitJobs"),
    ("max", "submit", "user"): ("max_submit_per_user", "MaxSubmitJobsPerUser"),
    ("max", "submit", "account"): ("max_submit_per_account", "MaxSubmitJobsPerAccount"),
    ("max", "wall", "job"): ("max_minutes", "MaxWallDurationPerJob"),
    ("max", "tres", "job"): ("max_tres", "MaxTRESPerJob"),
    ("max", "tres", "node"): ("max_tres_per_node", "MaxTRESPerNode"),
    ("max", "tres", "user"): ("max_tres_per_user", "MaxTRESPerUser"),
    ("max", "tres", "account"): ("max_tres_per_account", "MaxTRESPerAccount"),
    ("max", "minutes", "job"): ("max_tres_minutes", "MaxTRESMinsPerJob"),
    ("min", "tres", ""): ("min_tres", "MinTRESPerJob"),
}

HELD = "it is held; let it go with: scontrol release JOB, or cancel it"
REQUEUED = "it could not be started or failed, and is held; look at its node, then scontrol release"
DOWN = "partition {partition} takes jobs but starts none for now"

PASSING = {
    "none": "Slurm has not looked at it yet",
    "null": "Slurm has not looked at it yet",
    "resources": "it is next, as soon as what it asks for is free",
    "priority": "jobs of higher priority come first",
    "dependency": "another job must end first",
    "begintime": "it may not start yet; Slurm lets a requeued job wait for about two minutes",
    "partitiondown": DOWN,
    "partitioninactive": "partition {partition} starts nothing until the site opens it again",
    "partitionconfig": "partition {partition} cannot give it what it asks for, as it is now",
    "reservation": "its reservation has not begun",
    "reqnodenotavail": "nodes it needs are down, drained or reserved{more}",
    "nodesrequiredforjobaredown": "nodes it needs are down, drained or reserved",
    "nodedown": "a node it needs is down",
    "licenses": "licences it asks for are taken",
    "jobarraytasklimit": "its array has as many tasks at work as it may",
    "cleaning": "its last run is still being cleared away",
    "prolog": "its node is being prepared",
    "scheddefer": "it could not start at once",
    "accountingpolicy": "a limit of account {account} or of its QOS is reached",
    "associationjoblimit": "account {account} has as many jobs at work as it may",
    "associationresourcelimit": "account {account} holds as much as it may",
    "associationtimelimit": "account {account} has used up its time",
    "qosjoblimit": "QOS {qos} has as many jobs at work as it may",
    "qosresourcelimit": "jobs of QOS {qos} hold as much as they may",
    "qostimelimit": "QOS {qos} has used up its time",
    "qosusagethreshold": "account {account} has used more than QOS {qos} lets it",
    "burstbufferresources": "burst buffers it asks for are taken",
    "frontenddown": "the front end is down",
}
LASTING = {
    "partitiontimelimit": "partition {partition} lets no job ask for more than {time} (MaxTime)",
    "partitionnodelimit": "partition {partition} cannot give so many nodes (MinNodes, MaxNodes)",
    "jobheldadmin": "an administrator holds it; ask them",
    "jobhelduser": HELD,
    "jobholdmaxrequeue": "it was requeued too often and is held; scontrol release, or cancel it",
    "launchfailedrequeuedheld": REQUEUED,
    "jobrequeuedinheldstate": REQUEUED,
    "userenvretrievalfailedrequeuedheld": REQUEUED,
    "invalidaccount": "account {account} is not one it may use; set cluster.account",
    "accountnotallowed": "partition {partition} is not open to account {account}",
    "invalidqos": "QOS {qos} is not one account {account} may use; set cluster.qos",
    "qosnotallowed": "partition {partition} is not open to QOS {qos}",
    "badconstraints": "no node has what it asks for",
    "constraints": "no node has what it asks for",
    "dependencyneversatisfied": "the job it should follow did not end as it should",
    "reservationdeleted": "its reservation is gone",
    "reservationinvalid": "its reservation is not one it may use",
    "maxmemperlimit": "it asks for more memory than partition {partition} gives (MaxMemPerNode)",
    "deadline": "it cannot end before its deadline",
    "burstbufferoperation": "its burst buffer failed",
}
PLAIN = PASSING | LASTING


def plain(reason: str) -> str:
    """The key of a reason in our tables: "ReqNodeNotAvail, UnavailableNodes:n1" has one too."""
    whole, first = (
        re.sub(r"[^a-z]", "", t.lower()) for t in (reason, re.split("[,:(]", reason)[0])
    )
    return whole if whole in PLAIN else first


def is_forever(reason: str) -> bool:
    """Whether a reason never passes by itself.

    A limit on one job does not; a limit on many passes when others end, or their use is forgotten.
    """
    limit = LIMIT.fullmatch(reason.strip(" ()"))
    if limit:
        per = (limit["per"] or "").lower()
        return per in ("job", "node") or limit["kind"].lower() == "min"
    return plain(reason) in LASTING


def describe(site: Site, reason: str, account: str = "", qos: str = "", partition: str = "") -> str:
    """A short sentence, with the limit's name and value where we know them; else the reason."""
    reason = reason.strip(" ()")
    account = account or site.default_account
    limit = LIMIT.fullmatch(reason)
    if limit:
        return describe_limit(site, limit, account, qos, partition)
    key = plain(reason or "None")
    if key not in PLAIN:
        return reason
    queue = site.partition(partition)
    minutes = queue.max_minutes if queue else None
    nodes = re.search(r"UnavailableNodes:([^\s)]+)", reason)
    return PLAIN[key].format(
        account=account or "(none)",
        qos=site.qos_in_use(account, qos, partition) or "(none)",
        partition=partition or "(none)",
        time="its MaxTime" if minutes is None else clock(minutes),
        more=f" ({nodes[1]})" if nodes else "",
    )


def describe_limit(site: Site, limit: re.Match[str], account: str, qos: str, partition: str) -> str:
    """Whose limit it is, and how much it allows: of all who may have set one, the first that has.

    Slurm does not say whether a QOS is the job's or the partition's.
    """
    kind, what, per = (part(limit, name) for name in ("kind", "what", "per"))
    what = "submit" if what.startswith("submit") else "jobs" if what.startswith("job") else what
    counted = what if what in ("jobs", "submit", "wall") else part(limit, "minutes") or "tres"
    counted = counted.replace("mins", "minutes")
    field, name = FIELDS.get((kind, counted, per), ("", limit[0]))
    owner = "account" if part(limit, "owner") == "assoc" else "QOS"
    whose = f" per {per}" if per else ""
    for holder, bounds in site.holders(account, qos, partition):
        value = amount(getattr(bounds, field, None), what) if holder.startswith(owner) else ""
        if value:
            verb = "wants at least" if kind == "min" else "allows"
            return f"{holder} {verb} {value}{MINUTES.get(counted, '')}{whose} ({name})"
    return f"a limit of the {owner} is reached{whose} ({name})"


def part(limit: re.Match[str], name: str) -> str:
    return (limit[name] or "").lower()


def amount(value: object, what: str) -> str:
    """A limit's value as sacctmgr writes it; "" if there is none for this."""
    if isinstance(value, dict):
        resource = RESOURCES.get(what, what)
        return ", ".join(tres(name, n) for name, n in value.items() if name.startswith(resource))
    if not isinstance(value, int):
        return ""
    return clock(value) if what == "wall" else f"{value} {COUNTED.get(what, what)}"


def tres(name: str, amount: int) -> str:
    return f"{name}={gigabytes(amount)}" if name in ("mem", "vmem") else f"{name}={amount}"


def gigabytes(megabytes: int) -> str:
    """As Slurm writes memory: "64G", or "500M" where that is not whole."""
    return f"{megabytes // 1024}G" if megabytes % 1024 == 0 else f"{megabytes}M"


def clock(minutes: int) -> str:
    """As Slurm writes times: "1-00:00:00"."""
    days, rest = divmod(minutes, 24 * 60)
    return (f"{days}-" if days else "") + f"{rest // 60:02}:{rest % 60:02}:00"
